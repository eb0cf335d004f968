-- no-transaction
-- Serves the cases of the help desk: few scans are checks. Made beside the scanning that goes on.
create index concurrently if not exists scans_checked on scans ((festival_id::bigint), decided_at) where verdict = 'check';

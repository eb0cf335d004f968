-- no-transaction
-- Serves the history of a ticket while reports are merged: its exits and undos. Entries stand in admissions, so most scans do not touch it.
create index concurrently if not exists scans_of_ticket on scans (festival_id, ticket_id) where kind in ('exit', 'undo');

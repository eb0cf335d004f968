-- A table that was looked at when it had ten rows seems to have ten rows a festival, and goes on to seem so while a rush makes a hundred thousand:
-- a plan then reads a whole festival where it should look up ten orders (measured: a third of the machine). A festival is taken for a third of
-- its table, whatever a look finds.
do $$
declare
    target text;
begin
    foreach target in array array['orders', 'lines', 'allocations', 'payments', 'refunds', 'provider_events', 'simulated_intents', 'tickets',
        'entitlements', 'claims', 'scans', 'admissions', 'emails', 'webhook_events', 'journals', 'journal_entries', 'audit']
    loop
        execute format('alter table %I alter column festival_id set (n_distinct = 3)', target);
    end loop;
end $$;

-- Gathers statistics of one table that grew beyond twice of what is known of it, and says how many it looked at: none when all are known well.
--
-- Plans are made from statistics, and are made anew when these change. Autovacuum looks once a minute, in which the tables of a rush grow from
-- nothing to a hundred thousand rows; until then each batch read a whole festival where it should have looked up ten orders. Doubling makes the
-- looks few. Only the owner of the tables may look.
create function gatefold_know_tables() returns integer
language plpgsql security definer set search_path = public as $$
declare
    grown regclass;
begin
    select c.oid into grown from pg_class c
    where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and c.relowner = current_user::regrole
      and pg_relation_size(c.oid) > (2 * c.relpages + 8) * current_setting('block_size')::bigint
    order by pg_relation_size(c.oid) limit 1;
    if grown is null then
        return 0;
    end if;
    -- Somebody who changes the table, or looks already, is not waited for.
    execute format('analyze (skip_locked) %s', grown);
    return (select (pg_relation_size(grown) <= (2 * relpages + 8) * current_setting('block_size')::bigint)::integer from pg_class where oid = grown);
end $$;
revoke execute on function gatefold_know_tables() from public;
grant execute on function gatefold_know_tables() to gatefold_app;

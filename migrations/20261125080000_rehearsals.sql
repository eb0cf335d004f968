-- A rehearsal: a copy of a festival on which its promoter plays an opening. It is listed nowhere, its emails are never due, and it is removed
-- with all its rows but the audit, whose chain stays whole.
alter table festivals add column rehearsal_of integer
    constraint festivals_rehearsal_of references festivals;

-- A table that others still refer to is tried again until none is left. The owner alone may call it, and only for a rehearsal.
create function gatefold_remove_rehearsal(rehearsal integer) returns void
language plpgsql as $$
declare
    target text;
    refused boolean := true;
begin
    if not exists (select from festivals where festival_id = rehearsal and rehearsal_of is not null) then
        raise exception 'festival % is no rehearsal', rehearsal using errcode = 'raise_exception';
    end if;
    for pass in 1..30 loop
        exit when not refused;
        refused := false;
        for target in
            select c.relname from pg_class c
            join pg_attribute a on a.attrelid = c.oid and a.attname = 'festival_id' and not a.attisdropped
            where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace and c.relname not in ('audit', 'audit_seals')
            order by c.oid desc
        loop
            begin
                execute format('delete from %I where festival_id = $1', target) using rehearsal;
            exception when foreign_key_violation then
                refused := true;
            end;
        end loop;
    end loop;
    if refused then
        raise exception 'something still refers to rehearsal %', rehearsal;
    end if;
end $$;
revoke execute on function gatefold_remove_rehearsal(integer) from public;

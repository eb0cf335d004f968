-- A rehearsal: a copy of a festival on which its promoter plays an opening. It is listed nowhere, its emails are never due, and it is removed
-- with all its rows but the audit, whose chain stays whole.
alter table festivals add column rehearsal_of integer
    constraint festivals_rehearsal_of references festivals;

-- Tables are made after what they refer to, so the youngest go first. The owner alone may call it, and only for a rehearsal.
create function gatefold_remove_rehearsal(rehearsal integer) returns void
language plpgsql as $$
declare
    target text;
begin
    if not exists (select from festivals where festival_id = rehearsal and rehearsal_of is not null) then
        raise exception 'festival % is no rehearsal', rehearsal using errcode = 'raise_exception';
    end if;
    for target in
        select c.relname from pg_class c
        join pg_attribute a on a.attrelid = c.oid and a.attname = 'festival_id' and not a.attisdropped
        where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace and c.relname not in ('audit', 'audit_seals')
        order by c.oid desc
    loop
        execute format('delete from %I where festival_id = $1', target) using rehearsal;
    end loop;
end $$;
revoke execute on function gatefold_remove_rehearsal(integer) from public;

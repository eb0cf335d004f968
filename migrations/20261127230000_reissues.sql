-- Tickets that a leaked key signed are re-issued by a worker, in the order of their ids.
create table key_reissues (
    festival_id integer not null references festivals,
    key_id smallint not null,
    asked_at timestamptz not null,
    -- The last ticket that was looked at.
    after_id uuid,
    done integer not null default 0,
    ended_at timestamptz,
    constraint key_reissues_pkey primary key (festival_id, key_id)
);
grant select, insert, update on key_reissues to gatefold_app;
grant select on key_reissues to gatefold_promoter;

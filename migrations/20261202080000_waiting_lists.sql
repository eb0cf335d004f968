-- What waiting lists ask for, by offer: so many units that become free are promised to them. A row is made when somebody joins or the promoter says
-- something about the list; without one people may join, and an invitation lasts a day.
create table waiting_lists (
    festival_id integer not null,
    offer_id uuid not null,
    is_open boolean not null,
    invitation_hours integer not null constraint waiting_lists_hours check (invitation_hours between 1 and 168),
    units integer not null constraint waiting_lists_units check (units >= 0),
    people integer not null constraint waiting_lists_people check (people between 0 and 100000),
    constraint waiting_lists_pkey primary key (festival_id, offer_id)
);
grant select, insert, update on waiting_lists to gatefold_app;
grant select, insert, update on waiting_lists to gatefold_promoter;

-- Who waits, in the order of coming: ids begin with the moment. Invited, an order is held for them.
create table waits (
    festival_id integer not null,
    wait_id uuid not null,
    offer_id uuid not null,
    quantity integer not null constraint waits_quantity check (quantity between 1 and 100),
    status text not null constraint waits_known_status check (status in ('waiting', 'invited', 'left', 'dropped')),
    email text not null,
    email_key text not null,
    name text not null,
    language text not null,
    joined_at timestamptz not null,
    ended_at timestamptz,
    order_id uuid,
    -- Why it was dropped.
    reason text,
    constraint waits_pkey primary key (festival_id, wait_id),
    constraint waits_end check ((status = 'waiting') = (ended_at is null)),
    constraint waits_order check ((status = 'invited') = (order_id is not null))
);
-- Serves the line of an offer.
create index waits_in_line on waits (offer_id, wait_id, festival_id) where status = 'waiting';
-- One place of an address in a line, so that joining twice is joining once.
create unique index waits_once on waits (offer_id, email_key, festival_id) where status = 'waiting';
-- Serves the page of an order that somebody was invited to.
create index waits_by_order on waits (order_id, festival_id) where order_id is not null;
-- Serves what became of invitations to an offer.
create index waits_invited on waits (offer_id, order_id, festival_id) where order_id is not null;
-- Serves the retention of addresses.
create index waits_to_forget on waits (ended_at, festival_id) where email <> '';
grant select, insert, update on waits to gatefold_app;
grant select on waits to gatefold_promoter;
alter table waits alter column festival_id set (n_distinct = 3), alter column offer_id set (n_distinct = 20), alter column email_key set (n_distinct = -0.5);

-- Orders that are held for longer than ten minutes: invitations, and what is paid without a provider. Expiry walks by the moment of placing, and these would
-- hold it up: they are ended by their own walk. A row goes when its moment has come.
create table deadlines (
    festival_id integer not null,
    order_id uuid not null,
    kind text not null constraint deadlines_known_kind check (kind in ('invitation', 'bank_transfer', 'on_site')),
    due_at timestamptz not null,
    -- No foreign key: servers of before end and forget orders and know nothing of deadlines.
    constraint deadlines_pkey primary key (festival_id, order_id)
);
-- Serves the walk over what is due.
create index deadlines_due on deadlines (due_at, festival_id);
grant select, insert, update, delete on deadlines to gatefold_app;
grant select on deadlines to gatefold_promoter;
alter table deadlines alter column festival_id set (n_distinct = 3);

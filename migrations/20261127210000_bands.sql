-- Wristbands: what a ticket becomes at an exchange desk. Its picture opens nothing from then on; the band does, where it carries something that can be
-- scanned, until it is lost or given back.
alter table devices drop constraint devices_known_profile;
alter table devices add constraint devices_known_profile check (profile in ('scan', 'supervisor', 'exchange'));
alter table pairings drop constraint pairings_known_profile;
alter table pairings add constraint pairings_known_profile check (profile in ('scan', 'supervisor', 'exchange'));

create table bands (
    festival_id integer not null,
    -- The id that the device gave its exchange.
    band_id uuid not null,
    ticket_id uuid not null,
    -- The only generation of the ticket that it opens a gate with.
    generation smallint not null,
    color text not null,
    -- Eight bytes of a keyed hash of what it carries; none on a plain one.
    band_hash bytea constraint bands_hash_is_short check (octet_length(band_hash) = 8),
    band_end text constraint bands_end_is_short check (length(band_end) <= 4),
    device_id uuid not null,
    given_at timestamptz not null,
    ended_at timestamptz,
    ended_why text constraint bands_known_end check (ended_why in ('lost', 'returned')),
    -- In the feed of tickets.
    position bigint not null,
    constraint bands_pkey primary key (festival_id, band_id),
    constraint bands_ticket foreign key (festival_id, ticket_id) references tickets,
    constraint bands_end_has_a_cause check ((ended_at is null) = (ended_why is null)),
    constraint bands_end_of_a_code check ((band_hash is null) = (band_end is null))
);
-- A ticket is on one wrist.
create unique index bands_one_a_ticket on bands (ticket_id, festival_id) where ended_at is null;
-- A band is on one wrist, and on none any more once it was lost.
create unique index bands_one_a_wrist on bands (band_hash, festival_id) where ended_why is distinct from 'returned';
-- Serves what was on which wrist when.
create index bands_by_hash on bands (band_hash, festival_id);
-- Serves the feed that gates follow.
create index bands_by_position on bands ((festival_id::bigint), position);
alter table bands alter column festival_id set (n_distinct = 3);
grant select, insert, update on bands to gatefold_app;
grant select on bands to gatefold_promoter;

-- How many bands of a color there are, and how many were given; those that were lost among them.
create table band_stocks (
    festival_id integer not null references festivals,
    color text not null constraint band_stocks_color check (color ~ '^#[0-9a-f]{6}$'),
    delivered integer constraint band_stocks_delivered check (delivered >= 0),
    given integer not null default 0 constraint band_stocks_given check (given >= 0),
    lost integer not null default 0 constraint band_stocks_lost check (lost >= 0 and lost <= given),
    constraint band_stocks_pkey primary key (festival_id, color)
);
grant select, insert, update on band_stocks to gatefold_app;
grant select on band_stocks to gatefold_promoter;
grant insert (festival_id, color, delivered), update (delivered) on band_stocks to gatefold_promoter;

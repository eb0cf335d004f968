-- Editions of festivals. The identity is the festival number of ids and ticket codes; 0 is the house.
create table festivals (
    festival_id integer generated always as identity,
    promoter_id uuid not null references promoters,
    slug text not null,
    kind text not null constraint festivals_known_kind check (kind in ('festival', 'concert', 'shop')),
    name jsonb not null,
    lead jsonb not null,
    place jsonb not null,
    currency text not null,
    time_zone text not null,
    spot text not null,
    language text not null,
    poster_hash bytea,
    created_at timestamptz not null,
    published_at timestamptz,
    version integer not null,
    constraint festivals_pkey primary key (festival_id),
    constraint festivals_slug unique (slug),
    constraint festivals_of_promoter unique (promoter_id, festival_id),
    constraint festivals_slug_shape check (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$' and length(slug) <= 60),
    constraint festivals_spot_shape check (spot ~ '^#[0-9a-f]{6}$')
);

insert into promoters (promoter_id, name, created_at)
values ('00000000-0000-8000-8000-000000000000', 'Gatefold', '2026-01-01 00:00:00+00');
insert into festivals (festival_id, promoter_id, slug, kind, name, lead, place, currency, time_zone, spot, language, created_at, version)
    overriding system value
values (0, '00000000-0000-8000-8000-000000000000', 'house', 'shop', '{"en": "Gatefold"}', '{}', '{}', 'EUR', 'UTC', '#c9cac4', 'en',
        '2026-01-01 00:00:00+00', 1);

-- Explicit ranges of time, never calendar dates. An index is never reused: the day mask of a ticket code is made of them.
create table days (
    festival_id integer not null references festivals,
    day_index smallint not null constraint days_index_in_mask check (day_index between 0 and 15),
    name jsonb not null,
    opens_at timestamptz not null,
    closes_at timestamptz not null,
    cancelled_at timestamptz,
    constraint days_pkey primary key (festival_id, day_index),
    constraint days_forward check (opens_at < closes_at),
    constraint days_apart exclude using gist (festival_id with =, tstzrange(opens_at, closes_at) with &&)
);

create table zones (
    festival_id integer not null references festivals,
    zone_id uuid not null,
    name jsonb not null,
    capacity integer constraint zones_capacity_positive check (capacity > 0),
    constraint zones_pkey primary key (festival_id, zone_id)
);

create table stages (
    festival_id integer not null references festivals,
    stage_id uuid not null,
    zone_id uuid,
    name jsonb not null,
    sort smallint not null,
    constraint stages_pkey primary key (festival_id, stage_id),
    constraint stages_zone foreign key (festival_id, zone_id) references zones
);

create table gates (
    festival_id integer not null references festivals,
    gate_id uuid not null,
    zone_id uuid,
    name jsonb not null,
    constraint gates_pkey primary key (festival_id, gate_id),
    constraint gates_zone foreign key (festival_id, zone_id) references zones
);

-- Where readers of a feed are: a writer takes its positions by an update of this row as its last lock (10-rules 26).
create table feeds (
    festival_id integer not null references festivals,
    kind text not null constraint feeds_known_kind check (kind in ('tickets', 'admissions')),
    position bigint not null,
    constraint feeds_pkey primary key (festival_id, kind)
) with (fillfactor = 10);

grant select on festivals, days, zones, stages, gates, feeds to gatefold_app, gatefold_promoter;
grant insert, update on festivals, days, zones, stages, gates to gatefold_promoter;
grant delete on zones, stages, gates to gatefold_promoter;
grant insert on feeds to gatefold_promoter;
grant update on feeds to gatefold_app;

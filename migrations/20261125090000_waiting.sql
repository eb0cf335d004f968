-- Waiting rooms of offers that open at a moment. A place is signed and kept by its fan, so a visitor writes nothing here.
create table waiting_rooms (
    festival_id integer not null,
    offer_id uuid not null,
    gathers_at timestamptz not null,
    ended_at timestamptz,
    constraint waiting_rooms_pkey primary key (festival_id, offer_id),
    constraint waiting_rooms_offer foreign key (festival_id, offer_id) references offers,
    constraint waiting_rooms_moments check (ended_at >= gathers_at)
);

-- How many came in a second, as each server counted them: one row a server and second, whatever the crowd.
create table waiting_joins (
    festival_id integer not null,
    offer_id uuid not null,
    at timestamptz not null,
    server uuid not null,
    joined integer not null constraint waiting_joins_count check (joined > 0),
    constraint waiting_joins_pkey primary key (festival_id, offer_id, at, server),
    constraint waiting_joins_room foreign key (festival_id, offer_id) references waiting_rooms
);

-- How far a room has been admitted, once a second by one server: of those who gathered everybody with a rank below `drawn`, then everybody
-- who came before `joined_before`. The log of it tells when the turn of a place began.
create table waiting_steps (
    festival_id integer not null,
    offer_id uuid not null,
    at timestamptz not null,
    -- The opening that it belongs to: when the opening moves, everybody who came before it is drawn again.
    draws_at timestamptz not null,
    gathered bigint not null,
    drawn double precision not null constraint waiting_steps_share check (drawn between 0 and 1),
    joined_before timestamptz not null,
    admitted bigint not null,
    placed bigint not null,
    waiting bigint not null,
    per_second double precision not null,
    free bigint,
    availability text not null,
    constraint waiting_steps_pkey primary key (festival_id, offer_id, at),
    constraint waiting_steps_room foreign key (festival_id, offer_id) references waiting_rooms
);

grant select on waiting_rooms, waiting_joins, waiting_steps to gatefold_app, gatefold_promoter;
grant insert, update on waiting_rooms to gatefold_promoter;
grant insert, update, delete on waiting_joins to gatefold_app;
grant insert, delete on waiting_steps to gatefold_app;

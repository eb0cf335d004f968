-- A member's time at the gates: whoever types its six digits on a paired device is that member there until it ends. The digits are derived from the id.
create table shifts (
    festival_id integer not null references festivals,
    shift_id uuid not null,
    member_id uuid not null references members,
    began_at timestamptz not null,
    ends_at timestamptz not null,
    ended_at timestamptz,
    constraint shifts_pkey primary key (festival_id, shift_id),
    constraint shifts_forward check (ends_at > began_at and ended_at >= began_at)
);

create unique index shifts_one_a_member on shifts (member_id, festival_id) where ended_at is null;

-- Who supervises on a device, from when until when. Kept, because devices report late.
create table device_shifts (
    festival_id integer not null,
    device_id uuid not null,
    shift_no integer not null,
    shift_id uuid not null,
    began_at timestamptz not null,
    ended_at timestamptz,
    constraint device_shifts_pkey primary key (festival_id, device_id, shift_no),
    constraint device_shifts_device foreign key (festival_id, device_id) references devices,
    constraint device_shifts_shift foreign key (festival_id, shift_id) references shifts,
    constraint device_shifts_forward check (ended_at >= began_at)
);

create unique index device_shifts_one_a_device on device_shifts (device_id, festival_id) where ended_at is null;

-- Wrong digits on a device, since when.
alter table devices add column code_tries smallint not null default 0 constraint devices_few_tries check (code_tries between 0 and 10);
alter table devices add column code_tried_at timestamptz;

-- A pairing may be a sheet for several devices: its code is a link then, derived from the id as the letters are.
alter table pairings add column most_devices smallint not null default 1 constraint pairings_some_devices check (most_devices between 1 and 500);
alter table pairings add column devices smallint not null default 0 constraint pairings_no_more_devices check (devices between 0 and most_devices);
alter table pairings add column revoked_at timestamptz;

-- A supervisor's card: a signed code for a person and a festival day, which lets gates without network check an override. The code is a function of the row.
create table supervisor_cards (
    festival_id integer not null references festivals,
    card_number bigint not null,
    name text not null,
    day_index smallint not null,
    -- The most overrides of its day. Devices without network cannot count together, so it may have been used more often.
    overrides smallint not null constraint supervisor_cards_some_overrides check (overrides between 1 and 255),
    used integer not null default 0,
    key_id smallint not null,
    not_after timestamptz not null,
    issued_at timestamptz not null,
    revoked_at timestamptz,
    constraint supervisor_cards_pkey primary key (festival_id, card_number)
);

-- What a supervisor let in although the rules refused. Beside its scan, with the rules that it overrode, as the device showed them.
create table overrides (
    festival_id integer not null,
    scan_id uuid not null,
    ticket_id uuid not null,
    gate_id uuid not null,
    device_id uuid not null,
    reasons text[] not null,
    because text not null constraint overrides_known_because check (because in ('left_unscanned', 'our_mistake', 'promoters_word', 'hardship', 'other')),
    note text not null,
    member_id uuid,
    card_number bigint,
    made_at timestamptz not null,
    constraint overrides_pkey primary key (festival_id, scan_id),
    constraint overrides_by_somebody check ((member_id is null) <> (card_number is null))
);

-- Serves the latest overrides of the control room; an expression for the reason that stands at orders_key.
create index overrides_by_time on overrides ((festival_id::bigint), made_at);

-- Why a supervisor let somebody in whom the rules refused; null where they did not. And whether they knew that somebody had come in on it before.
alter table admissions add column because text;
alter table admissions add column is_again boolean not null default false;

grant select on shifts, device_shifts, supervisor_cards, overrides to gatefold_app, gatefold_promoter;
grant insert on device_shifts, overrides to gatefold_app;
grant update (ended_at) on device_shifts to gatefold_app;
grant update (used) on supervisor_cards to gatefold_app;
grant insert, update (ended_at) on shifts to gatefold_promoter;
grant insert, update (revoked_at) on supervisor_cards to gatefold_promoter;

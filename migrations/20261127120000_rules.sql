-- Rules of the gates as data. Of a pass: windows of entry, so many entries a day, company. Of a gate: the passes it takes. Of a zone: whether its gates stand inside the site.
alter table passes drop constraint passes_known_reentry;
alter table passes add constraint passes_known_reentry check (reentry in ('never', 'after_exit', 'times_a_day'));
alter table passes add column entries_a_day smallint constraint passes_several_entries check (entries_a_day between 2 and 50);
alter table passes add constraint passes_entries_are_counted check ((reentry = 'times_a_day') = (entries_a_day is not null));
-- [{day_index, from_at, until_at, gate_ids}]: ranges of time, never times of a clock.
alter table passes add column windows jsonb not null default '[]';
alter table passes add column companion_pass_ids uuid[] not null default '{}';
alter table gates add column pass_ids uuid[] not null default '{}';
alter table zones add column is_inner boolean not null default false;

-- A hold of a gate, of the gates into a zone, or of all: nobody comes in while it lasts. Kept, because devices report late.
create table gate_holds (
    festival_id integer not null references festivals,
    hold_id uuid not null,
    gate_id uuid,
    zone_id uuid,
    note text not null,
    began_at timestamptz not null,
    ended_at timestamptz,
    constraint gate_holds_pkey primary key (festival_id, hold_id),
    constraint gate_holds_of_one_thing check (gate_id is null or zone_id is null),
    constraint gate_holds_forward check (ended_at >= began_at),
    constraint gate_holds_gate foreign key (festival_id, gate_id) references gates,
    constraint gate_holds_zone foreign key (festival_id, zone_id) references zones
);

-- A moment when a zone, or the site with all its zones, is empty: everybody out, in an incident or at an hour that was known before.
create table clearings (
    festival_id integer not null references festivals,
    clearing_id uuid not null,
    zone_id uuid,
    clears_at timestamptz not null,
    -- Until then whoever was in before may come back, whatever their pass says.
    readmits_until timestamptz,
    note text not null,
    made_at timestamptz not null,
    constraint clearings_pkey primary key (festival_id, clearing_id),
    constraint clearings_not_before check (clears_at >= made_at),
    constraint clearings_forward check (readmits_until > clears_at),
    constraint clearings_zone foreign key (festival_id, zone_id) references zones
);

-- How many are in a zone on a day since it was cleared last; counted on under the lock of its row. Null: to be counted by whoever locks it first.
create table zone_counts (
    festival_id integer not null,
    zone_id uuid not null,
    day_index smallint not null,
    inside integer not null,
    cleared_at timestamptz,
    -- Counted anew now and then: a server of the version before did not count.
    counted_at timestamptz,
    constraint zone_counts_pkey primary key (festival_id, zone_id, day_index),
    constraint zone_counts_zone foreign key (festival_id, zone_id) references zones
) with (fillfactor = 10);

-- Serves the count of who is in.
create index admissions_open on admissions (day_index, festival_id, entered_at) where left_at is null and undone_at is null;

grant select, insert, update on zone_counts to gatefold_app;
grant select on gate_holds, clearings to gatefold_app;
grant select on zone_counts to gatefold_promoter;
grant select, insert, update, delete on gate_holds, clearings to gatefold_promoter;

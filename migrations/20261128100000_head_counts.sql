-- People whom staff counted by hand: where nobody scans, in an incident, at an exit without a scanner, or behind a stretcher. Facts, as scans are.
create table head_counts (
    festival_id integer not null,
    -- The device's own id: a repeat counts once.
    count_id uuid not null,
    device_id uuid not null,
    gate_id uuid not null,
    day_index smallint not null,
    kind text not null constraint head_counts_known_kind check (kind in ('entry', 'exit', 'medical_exit')),
    -- Below zero it takes back what was counted before.
    people smallint not null constraint head_counts_some check (people <> 0 and people between -500 and 500),
    counted_at timestamptz not null,
    received_at timestamptz not null,
    constraint head_counts_pkey primary key (festival_id, count_id)
);
-- Serves the sums of a day.
create index head_counts_of_day on head_counts (day_index, festival_id, counted_at);
alter table head_counts alter column festival_id set (n_distinct = 3);

grant select, insert on head_counts to gatefold_app;
grant select on head_counts to gatefold_promoter;

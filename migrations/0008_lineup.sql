-- Who performs. A name is set as the act writes it; `latin_name` helps readers of other scripts.
create table acts (
    festival_id integer not null references festivals,
    act_id uuid not null,
    name text not null,
    latin_name text,
    name_key text not null,
    billing smallint not null constraint acts_billing_row check (billing between 1 and 3),
    mbid uuid,
    created_at timestamptz not null,
    constraint acts_pkey primary key (festival_id, act_id),
    constraint acts_name unique (festival_id, name_key)
);

-- One act on one stage from-to; act, stage and times may be unknown at first.
create table sets (
    festival_id integer not null references festivals,
    set_id uuid not null,
    act_id uuid,
    stage_id uuid,
    day_index smallint,
    starts_at timestamptz,
    ends_at timestamptz,
    constraint sets_pkey primary key (festival_id, set_id),
    constraint sets_act foreign key (festival_id, act_id) references acts,
    constraint sets_stage foreign key (festival_id, stage_id) references stages,
    constraint sets_day foreign key (festival_id, day_index) references days,
    constraint sets_forward check (starts_at < ends_at)
);

-- Serves the line-up page and clashes.
create index sets_by_time on sets (festival_id, starts_at);

-- One import of a line-up with its report, line by line.
create table lineup_imports (
    festival_id integer not null references festivals,
    import_id uuid not null,
    imported_at timestamptz not null,
    report jsonb not null,
    constraint lineup_imports_pkey primary key (festival_id, import_id)
);

-- Numbered published versions, each a whole document.
create table lineup_versions (
    festival_id integer not null references festivals,
    version_no integer not null,
    published_at timestamptz not null,
    document jsonb not null,
    constraint lineup_versions_pkey primary key (festival_id, version_no)
);

grant select on acts, sets, lineup_imports, lineup_versions to gatefold_app, gatefold_promoter;
grant insert, update, delete on acts, sets to gatefold_promoter;
grant insert on lineup_imports, lineup_versions to gatefold_promoter;

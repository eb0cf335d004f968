-- One presentation of a code at a gate: always recorded, append-only. An undo is a scan of its own.
create table scans (
    festival_id integer not null,
    scan_id uuid not null,
    kind text not null constraint scans_known_kind check (kind in ('entry', 'exit', 'look', 'undo')),
    gate_id uuid not null,
    device_id uuid not null,
    ticket_id uuid,
    day_index smallint,
    verdict text not null constraint scans_known_verdict check (verdict in ('admitted', 'check', 'refused')),
    reason text constraint scans_known_reason check (reason in ('unknown', 'forged', 'revoked', 'suspended', 'exchanged', 'wrong_festival',
        'wrong_day', 'cancelled_day', 'wrong_gate', 'wrong_zone', 'gate_on_hold', 'too_early', 'too_late', 'already_inside', 'no_reentry',
        'needs_companion', 'live_code_required', 'typed_code_off', 'zone_full', 'key_retired')),
    instruction text,
    after_scan_id uuid,
    checked text constraint scans_known_answer check (checked in ('yes', 'help_desk')),
    scanned_at timestamptz not null,
    decided_at timestamptz not null,
    first_scan_id uuid,
    constraint scans_pkey primary key (festival_id, scan_id),
    constraint scans_refused_has_reason check ((verdict = 'refused') = (reason is not null))
);

-- Serves the latest scans of the dashboard; an expression for the reason that stands at orders_key.
create index scans_by_time on scans ((festival_id::bigint), decided_at);

-- An entry that happened. The number of the entry is given under the lock of the ticket's row.
create table admissions (
    festival_id integer not null,
    ticket_id uuid not null,
    day_index smallint not null,
    entry_no smallint not null,
    scan_id uuid not null,
    gate_id uuid not null,
    entered_at timestamptz not null,
    left_at timestamptz,
    undone_at timestamptz,
    position bigint not null,
    constraint admissions_pkey primary key (festival_id, ticket_id, day_index, entry_no),
    constraint admissions_ticket foreign key (festival_id, ticket_id) references tickets
);

-- Serves the feed of admissions that gates follow, and the count of who is in.
create index admissions_by_position on admissions ((festival_id::bigint), position);

grant select, insert on scans to gatefold_app;
grant select, insert, update on admissions to gatefold_app;
grant select on scans, admissions to gatefold_promoter;

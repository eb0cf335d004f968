-- What a device showed without the server, as it reported it later: append-only, beside the scan of the same id. Merging reports is commutative and
-- idempotent: who is in and what the ledger says are functions of the facts, whatever their order of coming.
create table scan_reports (
    festival_id integer not null,
    scan_id uuid not null,
    device_id uuid not null,
    gate_id uuid not null,
    kind text not null constraint scan_reports_known_kind check (kind in ('entry', 'exit', 'look', 'undo')),
    ticket_id uuid,
    day_index smallint,
    verdict text not null constraint scan_reports_known_verdict check (verdict in ('admitted', 'check', 'refused')),
    reason text,
    -- What the rules said of that moment, apart from who was in.
    ruled text not null constraint scan_reports_known_rule check (ruled in ('admitted', 'check', 'refused')),
    ruled_reason text,
    -- By the clock of the house: the time of the device and the offset that it knew.
    happened_at timestamptz not null,
    scanned_at timestamptz not null,
    offset_ms bigint not null,
    is_doubtful boolean not null,
    received_at timestamptz not null,
    constraint scan_reports_pkey primary key (festival_id, scan_id),
    constraint scan_reports_refused_has_reason check ((verdict = 'refused') = (reason is not null))
);

-- Serves the history of a ticket while reports are merged.
create index scan_reports_of_ticket on scan_reports (ticket_id, festival_id) where ticket_id is not null;

-- Serves the same history: the exits and undos of a ticket. Entries stand in admissions, so most scans do not touch it.
create index scans_of_ticket on scans (ticket_id, festival_id) where kind in ('exit', 'undo');

-- What a ticket and its code were until a moment: a row at each change of its state or generation. Its own row says what they are.
create table ticket_changes (
    festival_id integer not null,
    ticket_id uuid not null,
    change_no integer not null,
    before_generation smallint not null,
    before_status text not null constraint ticket_changes_known_status check (before_status in ('valid', 'suspended', 'exchanged', 'void')),
    why text not null constraint ticket_changes_known_cause check (why in ('reissued', 'voided', 'suspended', 'reinstated', 'refunded', 'transferred', 'exchanged', 'bound')),
    note text not null,
    changed_at timestamptz not null,
    constraint ticket_changes_pkey primary key (festival_id, ticket_id, change_no)
);

-- The ledger: what happened at the gates that the server would not have let happen. Derived from the facts; what they explain later is withdrawn.
create table discrepancies (
    festival_id integer not null,
    discrepancy_id uuid not null,
    scan_id uuid not null,
    kind text not null constraint discrepancies_known_kind check (kind in ('surplus_admission', 'revoked_admission', 'admitted_otherwise', 'refused_otherwise',
        'clock_off')),
    ticket_id uuid,
    gate_id uuid not null,
    device_id uuid not null,
    happened_at timestamptz not null,
    reason text,
    first_scan_id uuid,
    first_gate_id uuid,
    first_device_id uuid,
    first_at timestamptz,
    found_at timestamptz not null,
    withdrawn_at timestamptz,
    -- In the feed of admissions, whose row is locked anyway.
    position bigint not null,
    constraint discrepancies_pkey primary key (festival_id, discrepancy_id),
    -- Ids of devices begin with their time, so this grows at its end; few rows.
    constraint discrepancies_one_a_scan unique (festival_id, scan_id, kind)
);

-- Serves those who follow the ledger.
create index discrepancies_by_position on discrepancies ((festival_id::bigint), position);

-- Serves the ledger of a ticket while reports are merged.
create index discrepancies_of_ticket on discrepancies (ticket_id, festival_id) where ticket_id is not null;

-- What somebody made of a discrepancy: append-only, the latest holds.
create table discrepancy_decisions (
    festival_id integer not null,
    discrepancy_id uuid not null,
    decision_no integer not null,
    decision text not null constraint discrepancy_decisions_known_decision check (decision in ('explained', 'staff_mistake', 'fraud', 'open')),
    note text not null,
    decided_by uuid not null,
    decided_at timestamptz not null,
    constraint discrepancy_decisions_pkey primary key (festival_id, discrepancy_id, decision_no),
    constraint discrepancy_decisions_discrepancy foreign key (festival_id, discrepancy_id) references discrepancies
);

-- How a device stands, as it said last: written once a minute.
alter table devices add column waiting integer, add column battery smallint, add column is_charging boolean;

-- Whether gates without network let in a ticket that is newer than their list; and when a key was revoked.
alter table festivals add column list_only boolean not null default false;
alter table signing_keys add column revoked_at timestamptz;

-- The gates that a device may be moved to by whoever holds it; null: only its own.
alter table pairings add column gate_ids uuid[];
alter table devices add column gate_ids uuid[];

-- As for every table that grows with a festival: see plans.sql.
alter table scan_reports alter column festival_id set (n_distinct = 3);
alter table ticket_changes alter column festival_id set (n_distinct = 3);
alter table discrepancies alter column festival_id set (n_distinct = 3);

grant select, insert on scan_reports, ticket_changes to gatefold_app;
grant select, insert, update on discrepancies to gatefold_app;
grant select on discrepancy_decisions to gatefold_app;
grant select on scan_reports, ticket_changes, discrepancies to gatefold_promoter;
grant select, insert on discrepancy_decisions to gatefold_promoter;
-- A decision is news of the ledger, so it takes a position.
grant update (position) on discrepancies, feeds to gatefold_promoter;

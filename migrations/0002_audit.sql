-- Who did what. Append-only: ids, never names, addresses or IPs.
create table audit (
    festival_id integer not null,
    audit_id uuid not null,
    at timestamptz not null,
    actor_kind text not null constraint audit_known_actor check (actor_kind in ('house', 'fan', 'member', 'token', 'device', 'provider')),
    actor_id text not null,
    action text not null,
    object_kind text not null,
    object_id text not null,
    before jsonb,
    after jsonb,
    request_id text,
    constraint audit_pkey primary key (festival_id, audit_id)
);

-- Seals chain the rows: each is SHA-256 over the seal before it and the rows it covers. Made behind, by one worker.
create table audit_seals (
    festival_id integer not null,
    seal_no bigint not null,
    last_audit_id uuid not null,
    rows_covered integer not null,
    hash bytea not null,
    sealed_at timestamptz not null,
    constraint audit_seals_pkey primary key (festival_id, seal_no)
);

grant select, insert on audit, audit_seals to gatefold_app, gatefold_promoter;

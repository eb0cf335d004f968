-- Endpoints of promoters. The secret is sealed under the master key.
create table webhook_endpoints (
    festival_id integer not null,
    endpoint_id uuid not null,
    url text not null,
    kinds text[] not null,
    secret_sealed bytea not null,
    created_at timestamptz not null,
    disabled_at timestamptz,
    constraint webhook_endpoints_pkey primary key (festival_id, endpoint_id)
);

-- One row an event and subscribed endpoint: written only where somebody listens.
create table webhook_events (
    festival_id integer not null,
    event_id uuid not null,
    endpoint_id uuid not null,
    kind text not null,
    thing_id uuid not null,
    happened_at timestamptz not null,
    status text not null constraint webhook_events_known_status check (status in ('queued', 'sent', 'failed')),
    due_at timestamptz not null,
    attempts smallint not null,
    constraint webhook_events_pkey primary key (festival_id, event_id, endpoint_id)
);

-- Serves the claim of due events.
create index webhook_events_due on webhook_events (due_at) where status = 'queued';

grant select, insert, update on webhook_events to gatefold_app;
grant select on webhook_endpoints to gatefold_app;
grant select, insert, update on webhook_endpoints to gatefold_promoter;
grant select on webhook_events to gatefold_promoter;

-- The outbox. A row holds kind, language, recipient and the id of its thing; it is rendered when it is sent.
-- The thing and the kind are the key, so that there is exactly one confirmation of an order.
create table emails (
    festival_id integer not null,
    thing_id uuid not null,
    kind text not null,
    lane smallint not null,
    language text not null,
    recipient text not null,
    status text not null constraint emails_known_status check (status in ('queued', 'sent', 'failed')),
    queued_at timestamptz not null,
    due_at timestamptz not null,
    leased_until timestamptz,
    attempts smallint not null,
    sent_at timestamptz,
    last_error text,
    constraint emails_pkey primary key (festival_id, thing_id, kind),
    constraint emails_sent_has_moment check ((status = 'sent') = (sent_at is not null))
);

-- Serves the claim of due emails, lane by lane.
create index emails_due on emails (lane, due_at) where status = 'queued';

grant select, insert, update on emails to gatefold_app;
grant select, insert on emails to gatefold_promoter;

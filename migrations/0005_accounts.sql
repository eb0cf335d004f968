-- Organizations that run festivals, their people and programs. Few rows; not written on the paths of buying or scanning.
create table promoters (
    promoter_id uuid not null,
    name text not null,
    created_at timestamptz not null,
    constraint promoters_pkey primary key (promoter_id)
);

create table members (
    promoter_id uuid not null references promoters,
    member_id uuid not null,
    name text not null,
    email text not null,
    email_key text not null,
    roles text[] not null,
    language text not null,
    created_at timestamptz not null,
    removed_at timestamptz,
    constraint members_pkey primary key (member_id),
    constraint members_one_per_address unique (promoter_id, email_key),
    constraint members_known_roles check (roles <@ array['owner', 'editor', 'finance', 'support', 'access', 'stage', 'box_office', 'supervisor'])
);

-- Serves sign-in by address.
create index members_by_address on members (email_key) where removed_at is null;

-- Programs: the text is shown once, its SHA-256 rests here. A random unique index: few rows, and every request looks one up.
create table tokens (
    promoter_id uuid not null references promoters,
    token_id uuid not null,
    festival_id integer,
    name text not null,
    scopes text[] not null,
    token_hash bytea not null,
    created_at timestamptz not null,
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    constraint tokens_pkey primary key (token_id),
    constraint tokens_hash unique (token_hash)
);

-- One attempt of a member to sign in. Link and six digits are derived from the id; their life starts when the email is sent.
create table sign_ins (
    sign_in_id uuid not null,
    member_id uuid references members,
    email_key text not null,
    asked_at timestamptz not null,
    sent_at timestamptz,
    used_at timestamptz,
    tries smallint not null,
    constraint sign_ins_pkey primary key (sign_in_id),
    constraint sign_ins_few_tries check (tries between 0 and 10)
);

-- Serves the limit of sign-in emails per address.
create index sign_ins_by_address on sign_ins (email_key, asked_at);

-- Sessions of members: the cookie's SHA-256. A random unique key: few rows.
create table sessions (
    session_hash bytea not null,
    member_id uuid not null references members,
    created_at timestamptz not null,
    seen_at timestamptz not null,
    expires_at timestamptz not null,
    ended_at timestamptz,
    constraint sessions_pkey primary key (session_hash)
);

-- Gate devices. A token's text names its festival; its SHA-256 rests here.
create table devices (
    festival_id integer not null,
    device_id uuid not null,
    gate_id uuid not null,
    name text not null,
    profile text not null constraint devices_known_profile check (profile in ('scan', 'supervisor')),
    token_hash bytea not null,
    paired_at timestamptz not null,
    revoked_at timestamptz,
    seen_at timestamptz,
    constraint devices_pkey primary key (festival_id, device_id),
    constraint devices_hash unique (festival_id, token_hash)
);

-- Chances to pair one device: the letters of the code are derived from the id.
create table pairings (
    festival_id integer not null,
    pairing_no integer not null,
    pairing_id uuid not null,
    gate_id uuid not null,
    profile text not null constraint pairings_known_profile check (profile in ('scan', 'supervisor')),
    created_at timestamptz not null,
    expires_at timestamptz not null,
    tries smallint not null,
    used_at timestamptz,
    constraint pairings_pkey primary key (festival_id, pairing_no),
    constraint pairings_few_tries check (tries between 0 and 10)
);

grant select on promoters, members, tokens, pairings, devices to gatefold_app, gatefold_promoter;
grant select, insert, update on sign_ins, sessions to gatefold_app;
grant insert, update on devices to gatefold_app;
grant update on pairings, tokens to gatefold_app;
grant insert, update on tokens, members, pairings, devices to gatefold_promoter;
-- The first promoter is made by `gatefold invite`, as the owner.

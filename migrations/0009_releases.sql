-- Albums, EPs and singles of a promoter or label.
create table releases (
    promoter_id uuid not null references promoters,
    release_id uuid not null,
    title text not null,
    artist text not null,
    kind text not null constraint releases_known_kind check (kind in ('album', 'ep', 'single')),
    catalog_number text,
    upc text,
    language text not null,
    released_at timestamptz,
    cover_hash bytea,
    about jsonb not null,
    created_at timestamptz not null,
    version integer not null,
    constraint releases_pkey primary key (release_id),
    constraint releases_of_promoter unique (promoter_id, release_id)
);

-- Performances fixed in sound, with their master.
create table recordings (
    promoter_id uuid not null references promoters,
    recording_id uuid not null,
    title text not null,
    artist text not null,
    isrc text,
    duration_ms integer not null constraint recordings_have_length check (duration_ms > 0),
    master_hash bytea not null,
    media_type text not null,
    bytes bigint not null,
    sample_rate integer not null,
    channels smallint not null,
    created_at timestamptz not null,
    constraint recordings_pkey primary key (recording_id),
    constraint recordings_of_promoter unique (promoter_id, recording_id),
    constraint recordings_isrc_shape check (isrc ~ '^[A-Z]{2}[A-Z0-9]{3}[0-9]{7}$')
);

-- A recording at a place of a release.
create table tracks (
    promoter_id uuid not null,
    release_id uuid not null,
    track_no smallint not null constraint tracks_from_one check (track_no between 1 and 999),
    recording_id uuid not null,
    constraint tracks_pkey primary key (release_id, track_no),
    constraint tracks_release foreign key (promoter_id, release_id) references releases (promoter_id, release_id),
    constraint tracks_recording foreign key (promoter_id, recording_id) references recordings (promoter_id, recording_id)
);

-- Uploads in parts of 8 MB; each part is idempotent by its hash.
create table uploads (
    promoter_id uuid not null references promoters,
    upload_id uuid not null,
    purpose text not null constraint uploads_known_purpose check (purpose in ('audio', 'picture')),
    bytes bigint not null,
    parts jsonb not null,
    created_at timestamptz not null,
    file_hash bytea,
    constraint uploads_pkey primary key (upload_id)
);

grant select on releases, recordings, tracks to gatefold_app, gatefold_promoter;
grant select, insert, update on uploads to gatefold_promoter;
grant insert, update on releases, recordings to gatefold_promoter;
grant insert, update, delete on tracks to gatefold_promoter;

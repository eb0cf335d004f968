-- Signing keys of ticket codes. The private half is sealed under the master key; several verify at once.
create table signing_keys (
    festival_id integer not null references festivals,
    key_id smallint not null constraint signing_keys_id_is_a_byte check (key_id between 0 and 255),
    state text not null constraint signing_keys_known_state check (state in ('pending', 'active', 'verify_only', 'revoked')),
    public_key bytea not null,
    private_key_sealed bytea not null,
    created_at timestamptz not null,
    constraint signing_keys_pkey primary key (festival_id, key_id)
);

-- At most one key signs.
create unique index signing_keys_one_active on signing_keys (festival_id) where state = 'active';

grant select on signing_keys to gatefold_app, gatefold_promoter;
grant insert, update on signing_keys to gatefold_promoter;

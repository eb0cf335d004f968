-- Roles and types of the house. The role that runs the migrations owns everything; the server never connects as it.
do $$
begin
    if not exists (select from pg_roles where rolname = 'gatefold_app') then
        create role gatefold_app login;
    end if;
    if not exists (select from pg_roles where rolname = 'gatefold_promoter') then
        create role gatefold_promoter login;
    end if;
end
$$;

grant usage on schema public to gatefold_app, gatefold_promoter;
revoke create on schema public from public;

-- An amount in the smallest unit of its currency: maps to Money any number of times in one row.
create type amount as (minor bigint, currency text);

-- Exclusion constraints over festival and range.
create extension if not exists btree_gist;

-- What the app role may know of the migrations.
create function gatefold_schema_version() returns bigint language sql stable security definer
    as $$ select max(version) from public._sqlx_migrations where success $$;

-- Live codes (10-rules 28): a pass may demand that its holder shows a code that the phone makes anew every fifteen seconds.
alter table passes add column needs_live_code boolean not null default false;

-- The Ed25519 key of the phone that a ticket is bound to. Its private half never leaves the phone.
alter table tickets add column live_key bytea constraint tickets_live_key_is_a_key check (octet_length(live_key) = 32);

-- The key of a phone that a supervisor let go, because it is lost: its finder binds the ticket no more.
alter table tickets add column released_key bytea;

-- `bound` by its holder, `unbound` by a supervisor; `exchanged` for a wristband, `returned` for it.
alter table ticket_changes drop constraint ticket_changes_known_cause;
alter table ticket_changes add constraint ticket_changes_known_cause
    check (why in ('reissued', 'voided', 'suspended', 'reinstated', 'refunded', 'transferred', 'exchanged', 'returned', 'bound', 'unbound')) not valid;
alter table ticket_changes validate constraint ticket_changes_known_cause;

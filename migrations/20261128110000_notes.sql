-- What staff shall know of a ticket when it comes to a gate: a wheelchair, a guest of the house. It makes an entry a check from its moment on.
alter table tickets add column note text;
alter table tickets add column noted_at timestamptz;
alter table tickets add constraint tickets_noted_when check ((note is null) = (noted_at is null)) not valid;
alter table tickets validate constraint tickets_noted_when;

-- Devices that check identity: they read the names of holders, each sealed under its own code.
alter table devices drop constraint devices_known_profile;
alter table devices add constraint devices_known_profile check (profile in ('scan', 'supervisor', 'exchange', 'identity'));
alter table pairings drop constraint pairings_known_profile;
alter table pairings add constraint pairings_known_profile check (profile in ('scan', 'supervisor', 'exchange', 'identity'));

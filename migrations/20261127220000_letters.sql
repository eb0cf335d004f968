-- The email that tells whoever holds a ticket of its change: emails are known by the id of what they are about.
alter table ticket_changes add column letter_id uuid;
create unique index ticket_changes_by_letter on ticket_changes (letter_id, festival_id) where letter_id is not null;

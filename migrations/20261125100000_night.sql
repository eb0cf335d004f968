-- The night of an opening: a pause of everything with its sentence, a freeze of prices and migrations, and how many the authority allows.
alter table festivals
    add column paused jsonb,
    add column frozen_until timestamptz,
    add column licensed_capacity integer constraint festivals_licensed_capacity check (licensed_capacity > 0);

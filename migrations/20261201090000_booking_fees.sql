-- What the house takes for selling, by festival: inside the price that is shown, whoever bears it. A line freezes it as a share of its own
-- (component 0). Servers of before book such a share to the promoter: set it when all of them are new.
create table booking_fees (
    festival_id integer not null references festivals,
    fixed_minor bigint not null constraint booking_fees_fixed check (fixed_minor >= 0),
    ppm integer not null constraint booking_fees_rate check (ppm between 0 and 500000),
    borne_by text not null constraint booking_fees_bearer check (borne_by in ('buyer', 'promoter')),
    tax_ppm integer not null constraint booking_fees_tax check (tax_ppm between 0 and 1000000),
    -- Whether it stays when the rest of its unit is refunded.
    is_kept boolean not null,
    constraint booking_fees_pkey primary key (festival_id)
);
grant select on booking_fees to gatefold_app, gatefold_promoter;
grant insert, update, delete on booking_fees to gatefold_promoter;

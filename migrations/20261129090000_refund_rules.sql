-- What a fan may give back without asking anybody, and what of it is kept. Append-only: an order is under the rule that was in force when it was placed, so
-- nothing of it is written on the path of buying. Without hours nothing is given back from then on.
create table refund_rules (
    festival_id integer not null references festivals,
    rule_no smallint not null,
    from_at timestamptz not null,
    hours_before integer constraint refund_rules_hours check (hours_before between 0 and 8760),
    kept_ppm integer not null constraint refund_rules_share check (kept_ppm between 0 and 1000000),
    constraint refund_rules_pkey primary key (festival_id, rule_no)
);
grant select on refund_rules to gatefold_app;
grant select, insert on refund_rules to gatefold_promoter;

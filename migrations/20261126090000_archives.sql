-- A finished festival whose scans, emails and notifications lie in an archive outside the database: what only gates and couriers needed.
-- Orders, tickets, money and music stay, because fans use them.
alter table festivals add column archived_at timestamptz;

-- Carts of people who went away: orders that ended without a payment. Only the owner of the tables deletes orders, and only these. The worker
-- walks the primary key, whose ids begin with the moment of placing.
create function gatefold_forget_carts(festival integer, after uuid, upto uuid) returns bigint
language plpgsql security definer set search_path = public as $$
declare
    carts uuid[];
begin
    select coalesce(array_agg(order_id), '{}') into carts from (
        select o.order_id from orders o
        where o.festival_id = festival and o.order_id > after and o.order_id <= upto
          and o.status in ('expired', 'cancelled') and o.payment_count = 0
          and not exists (select from payments p where p.festival_id = festival and p.order_id = o.order_id)
          and not exists (select from emails e where e.festival_id = festival and e.thing_id = o.order_id)
        order by o.order_id for update) carts;
    delete from allocations where festival_id = festival and order_id = any(carts);
    delete from lines where festival_id = festival and order_id = any(carts);
    delete from orders where festival_id = festival and order_id = any(carts);
    return cardinality(carts);
end $$;
revoke execute on function gatefold_forget_carts(integer, uuid, uuid) from public;
grant execute on function gatefold_forget_carts(integer, uuid, uuid) to gatefold_app;

-- What signing in leaves behind.
grant delete on sign_ins, sessions to gatefold_app;

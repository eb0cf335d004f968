//! The rows of entitlements.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgPool};

use super::Entitle;
use crate::{
    id::{EntitlementId, FestivalId, OrderId, ReleaseId, TicketId, TransferId},
    tickets::Ticket,
};

pub(super) async fn insert(conn: &mut PgConnection, festival: FestivalId, grants: &[Entitle], now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into entitlements (festival_id, entitlement_id, order_id, line_no, component_no, release_id, copies, claimed) \
         select $1, e.*, 0 from unnest($2::uuid[], $3::uuid[], $4::smallint[], $5::smallint[], $6::uuid[], $7::integer[]) as e",
    )
    .bind(festival)
    .bind(grants.iter().map(|_| EntitlementId::fresh(festival, now)).collect::<Vec<_>>())
    .bind(grants.iter().map(|g| g.order_id).collect::<Vec<_>>())
    .bind(grants.iter().map(|g| g.line_no).collect::<Vec<_>>())
    .bind(grants.iter().map(|g| g.component_no).collect::<Vec<_>>())
    .bind(grants.iter().map(|g| g.release_id).collect::<Vec<_>>())
    .bind(grants.iter().map(|g| g.copies).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes one copy of every album that came with a ticket's line. The copy hangs on the first ticket of its unit: the pass before
/// what is collected with it, so that parking that comes with a pass does not take its album away.
pub(super) async fn claim(conn: &mut PgConnection, ticket: &Ticket, transfer: Option<TransferId>, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    let taken: Vec<EntitlementId> = sqlx::query_scalar(
        "update entitlements set claimed = claimed + 1 where festival_id = $1 and order_id = $2 and line_no = $3 and claimed < copies \
         and $4 = (select t.ticket_id from tickets mine \
                   join tickets t on t.festival_id = mine.festival_id and t.order_id = mine.order_id and t.line_no = mine.line_no and t.unit_no = mine.unit_no \
                   where mine.festival_id = $1 and mine.ticket_id = $4 order by t.kind desc, t.component_no limit 1) \
         returning entitlement_id",
    )
    .bind(ticket.ticket_id.festival())
    .bind(ticket.order_id)
    .bind(ticket.line_no)
    .bind(ticket.ticket_id)
    .fetch_all(&mut *conn)
    .await?;
    sqlx::query("insert into claims (festival_id, entitlement_id, ticket_id, claimed_at, transfer_id, link_generation) select $1, e, $3, $4, $5, $6 from unnest($2::uuid[]) as e")
        .bind(ticket.ticket_id.festival())
        .bind(taken)
        .bind(ticket.ticket_id)
        .bind(now)
        .bind(transfer)
        .bind(ticket.link_generation)
        .execute(conn)
        .await?;
    Ok(())
}

/// Takes copies of albums back that an order returns, by line, component and units: those of the returned tickets first, then such that nobody claimed, then
/// those that were claimed last. Joins the transaction of the refund.
///
/// # Errors
/// What the database said.
pub async fn give_back(
    conn: &mut PgConnection,
    order: OrderId,
    copies: &[(i16, i16, i32)],
    tickets: &[TicketId],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "with returned as ( \
             select e.entitlement_id, u.units, e.copies - e.claimed as free from entitlements e \
             join unnest($3::smallint[], $4::smallint[], $5::integer[]) as u (line_no, component_no, units) on u.line_no = e.line_no and u.component_no = e.component_no \
             where e.festival_id = $1 and e.order_id = $2 \
         ), ranked as ( \
             select c.entitlement_id, c.ticket_id, c.ticket_id = any($6) as is_own, r.units, r.free, \
                    row_number() over (partition by c.entitlement_id order by c.ticket_id = any($6) desc, c.claimed_at desc, c.ticket_id) as no \
             from returned r join claims c on c.festival_id = $1 and c.entitlement_id = r.entitlement_id and c.ended_at is null \
         ), ended as ( \
             update claims c set ended_at = $7 from ranked r where c.festival_id = $1 and c.entitlement_id = r.entitlement_id and c.ticket_id = r.ticket_id \
               and r.no <= case when r.is_own then r.units else r.units - r.free end \
             returning c.entitlement_id \
         ) \
         update entitlements e set copies = e.copies - r.units, claimed = e.claimed - (select count(*) from ended d where d.entitlement_id = e.entitlement_id)::integer \
         from returned r where e.festival_id = $1 and e.entitlement_id = r.entitlement_id",
    )
    .bind(order.festival())
    .bind(order)
    .bind(copies.iter().map(|(line, ..)| *line).collect::<Vec<_>>())
    .bind(copies.iter().map(|(_, component, _)| *component).collect::<Vec<_>>())
    .bind(copies.iter().map(|(.., units)| *units).collect::<Vec<_>>())
    .bind(tickets)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// An album of an order.
#[derive(Clone, Debug, FromRow)]
pub struct Album {
    /// The entitlement.
    pub entitlement_id: EntitlementId,
    /// The release.
    pub release_id: ReleaseId,
    /// How many copies.
    pub copies: i32,
    /// Its title.
    pub title: String,
    /// Its artist.
    pub artist: String,
    /// The label's number.
    pub catalog_number: Option<String>,
    /// The hash of its cover.
    pub cover_hash: Option<Vec<u8>>,
}

/// The albums of an order that is paid; copies that went with tickets that were passed on are others'.
///
/// # Errors
/// What the database said.
pub async fn albums(pool: &PgPool, order: OrderId) -> Result<Vec<Album>, sqlx::Error> {
    sqlx::query_as(
        "select e.entitlement_id, e.release_id, e.copies - g.gone as copies, r.title, r.artist, r.catalog_number, r.cover_hash \
         from entitlements e join releases r on r.release_id = e.release_id \
         join orders o on o.festival_id = e.festival_id and o.order_id = e.order_id \
         cross join lateral (select count(*)::integer as gone from claims c \
                             where c.festival_id = e.festival_id and c.entitlement_id = e.entitlement_id and c.transfer_id is not null and c.ended_at is null) g \
         where e.festival_id = $1 and e.order_id = $2 and e.copies > g.gone and o.status in ('paid', 'partly_refunded') order by e.entitlement_id",
    )
    .bind(order.festival())
    .bind(order)
    .fetch_all(pool)
    .await
}

/// The release of a living entitlement; notes the first time that something of it was taken.
pub(super) async fn take(pool: &PgPool, entitlement: EntitlementId, now: DateTime<Utc>) -> Result<Option<ReleaseId>, sqlx::Error> {
    let found: Option<(ReleaseId, Option<DateTime<Utc>>)> = sqlx::query_as(
        "select e.release_id, e.first_taken_at from entitlements e join orders o on o.festival_id = e.festival_id and o.order_id = e.order_id \
         where e.festival_id = $1 and e.entitlement_id = $2 and e.copies > 0 and o.status in ('paid', 'partly_refunded')",
    )
    .bind(entitlement.festival())
    .bind(entitlement)
    .fetch_optional(pool)
    .await?;
    if let Some((_, None)) = found {
        sqlx::query("update entitlements set first_taken_at = $3 where festival_id = $1 and entitlement_id = $2 and first_taken_at is null")
            .bind(entitlement.festival())
            .bind(entitlement)
            .bind(now)
            .execute(pool)
            .await?;
    }
    Ok(found.map(|(release, _)| release))
}

/// The albums that hang on a ticket (the first one of its unit), while its order is paid: what was returned with it is heard no more, what its holder took stays theirs
/// when the ticket is void.
///
/// # Errors
/// What the database said.
pub async fn of_ticket(pool: &PgPool, ticket: &Ticket) -> Result<Vec<Album>, sqlx::Error> {
    sqlx::query_as(
        "select e.entitlement_id, e.release_id, 1 as copies, r.title, r.artist, r.catalog_number, r.cover_hash \
         from entitlements e join releases r on r.release_id = e.release_id \
         join orders o on o.festival_id = e.festival_id and o.order_id = e.order_id \
         where e.festival_id = $1 and e.order_id = $2 and e.line_no = $3 and e.copies > 0 and o.status in ('paid', 'partly_refunded') \
           and exists (select from tickets t where t.festival_id = $1 and t.ticket_id = $4 and (t.status <> 'void' \
                       or exists (select from claims c where c.festival_id = $1 and c.entitlement_id = e.entitlement_id and c.ticket_id = $4))) \
           and not exists (select from claims c where c.festival_id = $1 and c.entitlement_id = e.entitlement_id and c.ticket_id = $4 \
                           and (c.ended_at is not null or (c.link_generation is distinct from $5 \
                                and exists (select from transfers x where x.ticket_id = $4 and x.festival_id = $1 and x.status = 'accepted')))) \
           and $4 = (select t.ticket_id from tickets mine \
                     join tickets t on t.festival_id = mine.festival_id and t.order_id = mine.order_id and t.line_no = mine.line_no and t.unit_no = mine.unit_no \
                     where mine.festival_id = $1 and mine.ticket_id = $4 order by t.kind desc, t.component_no limit 1)",
    )
    .bind(ticket.ticket_id.festival())
    .bind(ticket.order_id)
    .bind(ticket.line_no)
    .bind(ticket.ticket_id)
    .bind(ticket.link_generation)
    .fetch_all(pool)
    .await
}

/// The albums that a former holder of a ticket claimed while it was theirs, by the generation of their link.
///
/// # Errors
/// What the database said.
pub async fn of_former(pool: &PgPool, ticket: TicketId, link_generation: i16, is_first: bool) -> Result<Vec<Album>, sqlx::Error> {
    sqlx::query_as(
        "select e.entitlement_id, e.release_id, 1 as copies, r.title, r.artist, r.catalog_number, r.cover_hash \
         from tickets t join entitlements e on e.order_id = t.order_id and e.festival_id = t.festival_id and e.copies > 0 \
         join claims c on c.festival_id = e.festival_id and c.entitlement_id = e.entitlement_id and c.ticket_id = t.ticket_id and c.ended_at is null \
         join releases r on r.release_id = e.release_id \
         join orders o on o.festival_id = e.festival_id and o.order_id = e.order_id and o.status in ('paid', 'partly_refunded') \
         where t.festival_id = $1 and t.ticket_id = $2 and (c.link_generation = $3 or ($4 and c.link_generation is null))",
    )
    .bind(ticket.festival())
    .bind(ticket)
    .bind(link_generation)
    .bind(is_first)
    .fetch_all(pool)
    .await
}

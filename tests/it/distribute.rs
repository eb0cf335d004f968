//! Past one machine: what Citus needs of the schema and of the hot statements, looked at on plain Postgres, so that the step stays possible.

use gatefold::distribute::{BY, is_of_a_festival, obstacles, statements, tables};
use sqlx::{Connection, Executor, postgres::PgConnection};

use crate::house::{fresh_database, template};

#[tokio::test(flavor = "multi_thread")]
async fn every_table_can_be_distributed_by_festival_or_lie_everywhere() {
    let mut conn = PgConnection::connect_with(&template()).await.unwrap();
    let tables = tables(&mut conn).await.unwrap();
    assert_eq!(obstacles(&tables), Vec::<String>::new());
    let of_festivals = tables.iter().filter(|t| is_of_a_festival(t)).count();
    assert!(of_festivals > 25 && tables.len() - of_festivals >= 8, "{of_festivals} of {}", tables.len());
    // What is referred to comes first, and every table comes once.
    let plan = statements(&tables).unwrap();
    assert_eq!(plan.len(), tables.len() + 1);
    let place = |table: &str| plan.iter().position(|s| s.contains(&format!("('{table}'"))).unwrap_or_else(|| panic!("{table} is in no statement"));
    for table in &tables {
        for key in table.foreign_keys.iter().filter(|key| key.references != table.name) {
            assert!(place(&key.references) < place(&table.name), "{} before {}", table.name, key.references);
        }
    }
    assert!(plan.iter().any(|s| s == "select create_reference_table('festivals')"));
    assert!(plan.iter().any(|s| s.starts_with(&format!("select create_distributed_table('orders', '{BY}', colocate_with => "))));
    conn.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_citus_does_not_take_is_found() {
    let owner = fresh_database("not_for_citus").await;
    let mut conn = PgConnection::connect_with(&owner).await.unwrap();
    for (change, found) in [
        ("create unique index orders_by_nothing on orders (placed_at)", "orders: a unique index over placed_at does not contain festival_id"),
        ("create table loose (x integer)", "loose has no primary key"),
        (
            "create table pointing (x uuid primary key, festival_id integer, o uuid, foreign key (festival_id, o) references orders)",
            "pointing lies everywhere and refers to orders",
        ),
        (
            "create function nothing() returns trigger language plpgsql as 'begin return new; end'; \
             create trigger on_orders before insert on orders for each row execute function nothing()",
            "orders has triggers",
        ),
    ] {
        let mut tx = conn.begin().await.unwrap();
        (&mut *tx).execute(sqlx::raw_sql(change)).await.unwrap();
        let obstacles = obstacles(&tables(&mut tx).await.unwrap());
        assert!(obstacles.len() == 1 && obstacles[0].starts_with(found), "{change}: {obstacles:?}");
        tx.rollback().await.unwrap();
    }
    conn.close().await.unwrap();
}

/// The statements of buying and scanning: every one of them names its festival, so that it runs on one shard.
#[test]
fn every_statement_of_buying_and_scanning_names_its_festival() {
    let src = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    let mut looked_at = 0;
    let mut strays = Vec::new();
    for room in ["orders", "offers", "tickets", "library", "payments", "entry", "books", "waiting", "mail", "webhooks"] {
        let source = std::fs::read_to_string(format!("{src}/{room}/store.rs")).unwrap();
        for statement in crate::schema::statements(&source) {
            looked_at += 1;
            let names = statement.contains("festival_id = $")
                || statement.contains("festival_id::bigint = $")
                || statement.starts_with("select gatefold_forget_carts($1")
                || statement.contains("insert into") && statement.contains("festival_id");
            let skips = statement.contains("skip locked");
            // Walks of workers and the reconciliation ask every shard which festivals have something to do: rare, and never on the way of a buyer.
            if !names && (skips || !ASK_EVERY_SHARD.iter().any(|known| statement.starts_with(known))) {
                strays.push(format!("{room}: {statement}"));
            }
        }
    }
    assert!(looked_at > 80, "{looked_at}");
    assert!(strays.is_empty(), "{strays:#?}");
}

/// Statements that ask every shard: workers that look which festivals have something to do, and what is looked up by an id alone.
const ASK_EVERY_SHARD: &[&str] = &[
    "select distinct festival_id from stocks where held > 0",
    "select distinct festival_id from documents_due where due_id < $1",
    "select payment_id, order_id, provider, status, row(amount_minor, currency)::amount as amount, redirect_url, reason, created_at, decide_by",
    "select r.festival_id, r.refund_id, r.payment_id, p.provider",
    "select w.offer_id, w.gathers_at, w.ended_at, o.opens_at from waiting_rooms",
    "select pg_try_advisory_xact_lock",
    "delete from waiting_joins j using waiting_rooms",
    "delete from waiting_steps s using waiting_rooms",
    "select festival_id from emails where status = 'queued'",
];

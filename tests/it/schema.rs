//! The database is the floor: roles, constraints, and every statement of the house against the migrated schema.

use std::path::Path;

use sqlx::{AssertSqlSafe, Connection, Executor, postgres::PgConnection};

use crate::house::{House, secrets, template};

/// The literals that look like SQL in a Rust source.
pub fn statements(source: &str) -> Vec<String> {
    let joined = source.replace("\\\n", "\u{1}");
    let mut found = Vec::new();
    for (i, _) in joined.match_indices('"') {
        let rest = &joined[i + 1..];
        let starts = ["select ", "insert ", "update ", "delete ", "with "].iter().any(|verb| rest.starts_with(verb));
        if !starts {
            continue;
        }
        let mut text = String::new();
        let mut skip_space = false;
        let mut escaped = false;
        for c in rest.chars() {
            match c {
                '"' if !escaped => break,
                '\\' if !escaped => escaped = true,
                '\u{1}' => skip_space = true,
                c if skip_space && c.is_whitespace() => {}
                c => {
                    skip_space = false;
                    escaped = false;
                    text.push(c);
                }
            }
        }
        found.push(text);
    }
    found
}

fn stores(folder: &Path, out: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            stores(&path, out);
        } else if path.file_name().is_some_and(|n| n == "store.rs" || n == "invariants.rs") {
            out.push(path);
        }
    }
}

/// Every statement of the stores below a folder of sources, with its file.
pub fn of_the_house(sources: &Path) -> Vec<(std::path::PathBuf, String)> {
    let mut files = Vec::new();
    stores(sources, &mut files);
    files.into_iter().flat_map(|file| statements(&std::fs::read_to_string(&file).unwrap()).into_iter().map(move |s| (file.clone(), s))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_of_the_house_fits_the_schema() {
    let house = House::open().await;
    let mut conn = house.database().await;
    let all = of_the_house(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")));
    for (file, statement) in &all {
        let prepared = conn.prepare(AssertSqlSafe(statement.clone()).into_sql()).await;
        assert!(prepared.is_ok(), "{}: {statement}\n{:?}", file.display(), prepared.err());
    }
    assert!(all.len() > 100, "{}", all.len());
    conn.close().await.unwrap();
    house.close().await;
}

/// Tables that grow with sales, scans and emails.
const GROWS: [&str; 28] = [
    "option_answers",
    "hand_backs",
    "waits",
    "deadlines",
    "box_office_sales",
    "collections",
    "documents",
    "billing",
    "transfers",
    "orders",
    "lines",
    "allocations",
    "payments",
    "refunds",
    "refund_items",
    "refund_tickets",
    "simulated_refunds",
    "provider_events",
    "simulated_intents",
    "tickets",
    "entitlements",
    "scans",
    "scan_reports",
    "admissions",
    "emails",
    "audit",
    "journals",
    "journal_entries",
];

/// Statements that read a table of a festival from end to end, each with its reason.
const READ_IT_ALL: &[(&str, &str)] = &[
    (
        "select order_id from payments where festival_id = $1 and order_id = any($2)",
        "a batch of expiry looks through the payments that are open, by their own index",
    ),
    ("select (j.at at time zone $2)::date as day", "sums of a report, asked for by hand"),
    ("select taken.day, taken.method, count(*) as orders", "sums of a report, asked for by hand"),
    ("select count(*) as orders, count(*) filter (where a.choice = 'keep')", "sums of a report, asked for by hand"),
    (
        "select count(*) filter (where o.status = 'held'), count(*) filter (where o.status in ('paid'",
        "what became of invitations to one offer, asked for by hand",
    ),
    (
        "select distinct offer_id from hand_backs where status in ('open', 'offered')",
        "the pool is small: what is in it is looked at once a second, by its own index",
    ),
    ("select distinct festival_id from (select festival_id from deadlines", "the oldest deadlines, by their own index"),
    (
        "waiting as materialized (select d.order_id from deadlines d",
        "what waits for money is bounded by a share of the stock, and read when somebody asks to wait",
    ),
    (
        "from deadlines d join orders o on o.festival_id = d.festival_id and o.order_id = d.order_id where d.festival_id = $1",
        "what waits for money is bounded by a share of the stock, and looked at by hand",
    ),
    ("is_asked from orders o where o.festival_id = $1 and o.order_id < $2 and o.paid_at >= $3", "once an hour while a round is open"),
    ("update option_answers set choice = 'keep', applied_at = $3", "once, when a round is called off"),
    ("select count(*) from orders", "what a backup holds, read back into a database of its own"),
    ("('orders are held', (select sum(held)", "once, before a festival is archived"),
    (
        "from offers o join stocks s on s.festival_id = o.festival_id and s.stock_id = o.stock_id where o.festival_id = $1 order by",
        "sums of a report, read once a second",
    ),
    ("select g.gate_id, coalesce(a.n, 0) as admissions", "sums of a report by gate, asked for by hand"),
    ("select date_trunc('day', o.paid_at, $2)", "sums of a report, read once a second"),
    ("select coalesce(sum(amount_minor), 0)::bigint", "sums of a report, read once a second"),
];

/// What a plan reads from end to end: a table that grows, without an index, or all rows of a festival in it.
fn reads_all_of(node: &serde_json::Value, found: &mut Vec<String>) {
    let table = node["Relation Name"].as_str().filter(|table| GROWS.contains(table));
    if let Some(table) = table {
        let condition = node["Index Cond"].as_str().unwrap_or_default();
        match node["Node Type"].as_str().unwrap_or_default() {
            "Seq Scan" => found.push(format!("{table} from end to end")),
            "Index Scan" | "Index Only Scan" if condition.matches(" = ").count() + condition.matches('<').count() + condition.matches('>').count() < 2 => {
                found.push(format!("all of a festival in {table}: {condition}"));
            }
            _ => {}
        }
    }
    if node["Node Type"] == "Bitmap Index Scan" && node["Index Cond"].as_str().is_some_and(|c| c.starts_with("(festival_id = ") && !c.contains(" AND ")) {
        found.push(format!("all of a festival by {}", node["Index Name"]));
    }
    // A limit stops what comes in the order of its index.
    if node["Node Type"] != "Limit" {
        for child in node["Plans"].as_array().into_iter().flatten() {
            reads_all_of(child, found);
        }
    }
}

/// The plans of all statements when the tables are large: what a test database has, five million times over, as the planner is told.
#[tokio::test(flavor = "multi_thread")]
async fn no_statement_reads_a_table_that_grows_from_end_to_end() {
    let house = House::open().await;
    crate::invariants::world(&house).await;
    let mut conn = house.database().await;
    conn.execute("analyze").await.unwrap();
    sqlx::query("update pg_class set reltuples = 5000000 where relkind = 'r' and relname = any($1)").bind(&GROWS[..]).execute(&mut conn).await.unwrap();
    conn.execute("set plan_cache_mode = force_generic_plan").await.unwrap();
    let mut files = Vec::new();
    stores(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut files);
    let mut strays = Vec::new();
    let mut looked_at = 0;
    for file in files.iter().filter(|file| file.ends_with("store.rs")) {
        for statement in statements(&std::fs::read_to_string(file).unwrap()) {
            conn.execute(AssertSqlSafe(format!("prepare looked_at as {statement}")).into_sql()).await.unwrap();
            let parameters: i32 = sqlx::query_scalar("select cardinality(parameter_types) from pg_prepared_statements where name = 'looked_at'")
                .fetch_one(&mut conn)
                .await
                .unwrap();
            let nulls = vec!["null"; usize::try_from(parameters).unwrap()].join(", ");
            let execute = if nulls.is_empty() { "looked_at".to_owned() } else { format!("looked_at({nulls})") };
            let plan: serde_json::Value =
                sqlx::query_scalar(AssertSqlSafe(format!("explain (format json) execute {execute}"))).fetch_one(&mut conn).await.unwrap();
            conn.execute("deallocate looked_at").await.unwrap();
            looked_at += 1;
            let mut found = Vec::new();
            reads_all_of(&plan[0]["Plan"], &mut found);
            if !found.is_empty() && !READ_IT_ALL.iter().any(|(known, _)| statement.contains(known)) {
                strays.push(format!("{}: {} | {found:?}", file.display(), statement.split_whitespace().collect::<Vec<_>>().join(" ")));
            }
        }
    }
    assert!(looked_at > 150, "{looked_at}");
    assert!(strays.is_empty(), "{strays:#?}");
    // The negative control: a statement without an index is found.
    let plan: serde_json::Value =
        sqlx::query_scalar("explain (format json) select order_id from orders where placed_at < '2026-01-01'").fetch_one(&mut conn).await.unwrap();
    let mut found = Vec::new();
    reads_all_of(&plan[0]["Plan"], &mut found);
    assert_eq!(found, ["orders from end to end"]);
    conn.close().await.unwrap();
    house.close().await;
}

trait IntoSql {
    fn into_sql(self) -> sqlx::SqlStr;
}

impl IntoSql for AssertSqlSafe<String> {
    fn into_sql(self) -> sqlx::SqlStr {
        sqlx::SqlSafeStr::into_sql_str(self)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_app_role_can_neither_change_the_schema_nor_rewrite_history() {
    let house = House::open().await;
    for (role, forbidden) in [
        ("gatefold_app", "create table x (y integer)"),
        ("gatefold_app", "alter table orders drop column email"),
        ("gatefold_app", "update audit set action = 'x'"),
        ("gatefold_app", "delete from audit"),
        ("gatefold_app", "update scans set verdict = 'admitted'"),
        ("gatefold_app", "delete from scans"),
        ("gatefold_app", "update provider_events set outcome = 'captured'"),
        ("gatefold_app", "delete from orders"),
        ("gatefold_app", "update stocks set capacity = 1000000"),
        ("gatefold_app", "update tiers set price_minor = 0"),
        ("gatefold_app", "insert into promoters values (gen_random_uuid(), 'x', clock_timestamp())"),
        ("gatefold_promoter", "update stocks set sold = 0"),
        ("gatefold_promoter", "update orders set status = 'paid'"),
        ("gatefold_promoter", "delete from audit"),
        ("gatefold_promoter", "update tickets set status = 'valid'"),
    ] {
        let options = house.owner.clone().username(role).password(&secrets().role_password(role));
        let mut conn = PgConnection::connect_with(&options).await.unwrap();
        let outcome = conn.execute(forbidden).await;
        let code = outcome.err().and_then(|e| e.as_database_error().and_then(|e| e.code().map(std::borrow::Cow::into_owned)));
        assert_eq!(code.as_deref(), Some("42501"), "{role}: {forbidden}");
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_as_the_owner_asks_nothing_of_whoever_calls_it() {
    let house = House::open().await;
    let mut conn = house.database().await;
    // A path that does not name pg_temp begins there.
    let open: Vec<String> = sqlx::query_scalar(
        "select proname::text from pg_proc where prosecdef and pronamespace = 'public'::regnamespace \
         and not coalesce('search_path=pg_catalog, public, pg_temp' = any(proconfig), false)",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    assert!(open.is_empty(), "{open:?}");
    let functions: i64 =
        sqlx::query_scalar("select count(*) from pg_proc where prosecdef and pronamespace = 'public'::regnamespace").fetch_one(&mut conn).await.unwrap();
    assert_eq!(functions, 3);
    // The catalog of the caller is not asked, even where a database lets the caller have one.
    let app = house.owner.clone().username("gatefold_app").password(&secrets().role_password("gatefold_app"));
    conn.execute(AssertSqlSafe(format!("grant temporary on database \"{}\" to gatefold_app", house.owner.get_database().unwrap())).into_sql()).await.unwrap();
    let mut intruder = PgConnection::connect_with(&app).await.unwrap();
    intruder
        .execute(
            "create function pg_temp.told() returns oid language plpgsql as 'begin execute ''alter role gatefold_app superuser''; return 0; end'; \
             create view pg_temp.pg_class as select pg_temp.told() as oid, 0 as relpages, ''::name as relname, 'r'::\"char\" as relkind, \
                    (select oid from pg_catalog.pg_namespace where nspname = 'public') as relnamespace, (select oid from pg_catalog.pg_roles where rolname = current_user) as relowner; \
             grant select on pg_temp.pg_class to public",
        )
        .await
        .unwrap();
    let _ = intruder.execute("select gatefold_know_tables()").await;
    let is_more: bool = sqlx::query_scalar("select rolsuper from pg_roles where rolname = 'gatefold_app'").fetch_one(&mut conn).await.unwrap();
    assert!(!is_more);
    intruder.close().await.unwrap();
    conn.close().await.unwrap();
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_a_festival_carries_its_festival_first() {
    let mut conn = PgConnection::connect_with(&template()).await.unwrap();
    // Tables of the platform are few and small; everything that grows belongs to a festival.
    let platform = [
        "promoters",
        "members",
        "tokens",
        "sign_ins",
        "sessions",
        "festivals",
        "releases",
        "recordings",
        "tracks",
        "uploads",
        "invoice_prefixes",
        "payment_accounts",
        "payment_account_secrets",
        "comparisons",
        "_sqlx_migrations",
    ];
    let keys: Vec<(String, String)> = sqlx::query_as(
        "select c.relname::text, (select a.attname::text from pg_attribute a where a.attrelid = c.oid and a.attnum = i.indkey[0]) \
         from pg_class c join pg_index i on i.indrelid = c.oid and i.indisprimary where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    assert!(keys.len() > 25);
    for (table, first) in keys.iter().filter(|(table, _)| !platform.contains(&table.as_str())) {
        assert_eq!(first, "festival_id", "{table}");
    }
    // Beside the primary key no index of a table that grows begins with the festival: without statistics it would tie with the key.
    let ties: Vec<String> = sqlx::query_scalar(
        "select i.relname::text from pg_index x join pg_class i on i.oid = x.indexrelid join pg_class c on c.oid = x.indrelid \
         join pg_attribute a on a.attrelid = c.oid and a.attnum = x.indkey[0] \
         where not x.indisprimary and a.attname = 'festival_id' and c.relname = any($1)",
    )
    .bind(&GROWS[..])
    .fetch_all(&mut conn)
    .await
    .unwrap();
    assert_eq!(ties, Vec::<String>::new());
    let triggers: i64 = sqlx::query_scalar("select count(*) from pg_trigger where not tgisinternal").fetch_one(&mut conn).await.unwrap();
    assert_eq!(triggers, 0, "rules live in constraints and statements");
    conn.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_another_version_is_refused_in_a_sentence() {
    let owner = crate::house::fresh_database("of_another_version").await;
    let mut conn = PgConnection::connect_with(&owner).await.unwrap();
    conn.execute("update _sqlx_migrations set checksum = '\\x00' where version = 3").await.unwrap();
    conn.close().await.unwrap();
    let refused = gatefold::postgres::migrate(&owner, &secrets(), false, false).await.unwrap_err().to_string();
    assert!(refused.starts_with("this database was made by another version of gatefold"), "{refused}");
}

/// A lane plans its statements while the tables are empty. A worker learns that a table grew, long before autovacuum looks, and the plan is another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_made_for_an_empty_table_is_made_anew_as_it_grows() {
    let house = House::open().await;
    crate::invariants::world(&house).await;
    let options = house.owner.clone().username("gatefold_app").password(&secrets().role_password("gatefold_app"));
    let mut lane = PgConnection::connect_with(&options).await.unwrap();
    lane.execute("set plan_cache_mode = force_generic_plan; set enable_seqscan = off").await.unwrap();
    lane.execute("prepare looked_at as select verdict from scans where festival_id = $1 and scan_id = any($2)").await.unwrap();
    let plan = async |lane: &mut PgConnection| -> serde_json::Value {
        sqlx::query_scalar("explain (format json) execute looked_at(1, '{}')").fetch_one(lane).await.unwrap()
    };
    let is_by_key = |plan: &serde_json::Value| plan.to_string().contains("scan_id = ANY") && !plan.to_string().contains("Filter");
    assert!(!is_by_key(&plan(&mut lane).await));
    let mut conn = house.database().await;
    let many = conn
        .execute(
            "insert into scans select (jsonb_populate_record(null::scans, to_jsonb(s) || jsonb_build_object('scan_id', gen_random_uuid()))).* \
         from (select * from scans limit 1) s cross join generate_series(1, 20000)",
        )
        .await
        .unwrap();
    assert_eq!(many.rows_affected(), 20_000);
    // Nothing tells the lane so far.
    assert!(!is_by_key(&plan(&mut lane).await));
    house.run_workers().await;
    let anew = plan(&mut lane).await;
    assert!(is_by_key(&anew), "{anew}");
    lane.close().await.unwrap();
    conn.close().await.unwrap();
    house.close().await;
}

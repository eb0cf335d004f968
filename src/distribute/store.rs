//! What the catalog of the database says about its tables.

use sqlx::{AssertSqlSafe, PgConnection, types::Json};

/// A table of the schema.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// The columns of its primary key.
    pub primary_key: Vec<String>,
    /// The columns of its other unique indexes.
    pub unique: Vec<Vec<String>>,
    /// What it refers to.
    pub foreign_keys: Vec<ForeignKey>,
    /// How many triggers it has, those of foreign keys not counted.
    pub triggers: i64,
}

/// A reference from one table to another.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct ForeignKey {
    /// The table that is referred to.
    pub references: String,
    /// The columns that refer.
    pub columns: Vec<String>,
}

/// The tables of the house.
///
/// # Errors
/// What the database said.
pub async fn tables(conn: &mut PgConnection) -> Result<Vec<Table>, sqlx::Error> {
    let rows: Vec<(Json<Table>,)> = sqlx::query_as(
        "select jsonb_build_object( \
             'name', c.relname, \
             'triggers', (select count(*) from pg_trigger t where t.tgrelid = c.oid and not t.tgisinternal), \
             'primary_key', coalesce((select jsonb_agg(a.attname order by a.attnum) from pg_index i join pg_attribute a on a.attrelid = c.oid and a.attnum = any(i.indkey) \
                             where i.indrelid = c.oid and i.indisprimary), '[]'), \
             'unique', coalesce((select jsonb_agg((select coalesce(jsonb_agg(a.attname), '[]') from pg_attribute a where a.attrelid = c.oid and a.attnum = any(i.indkey))) \
                        from pg_index i where i.indrelid = c.oid and i.indisunique and not i.indisprimary), '[]'), \
             'foreign_keys', coalesce((select jsonb_agg(jsonb_build_object('references', k.confrelid::regclass::text, \
                              'columns', (select jsonb_agg(a.attname) from pg_attribute a where a.attrelid = c.oid and a.attnum = any(k.conkey)))) \
                              from pg_constraint k where k.conrelid = c.oid and k.contype = 'f'), '[]')) \
         from pg_class c where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace and c.relname <> '_sqlx_migrations' order by c.relname",
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|(Json(table),)| table).collect())
}

pub(super) async fn has_citus(conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select from pg_extension where extname = 'citus')").fetch_one(conn).await
}

/// The tables that Citus has already.
pub(super) async fn distributed(conn: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    // The catalog of Citus is there only with the extension, so the statement stands in brackets: the test of the schema passes it by.
    sqlx::query_scalar("(select logicalrelid::regclass::text from pg_dist_partition)").fetch_all(conn).await
}

pub(super) async fn execute(conn: &mut PgConnection, statement: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(conn).await?;
    Ok(())
}

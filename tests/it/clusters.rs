//! Postgres clusters of a test's own, as the house makes them: they are killed, started again, followed by a standby and promoted.

use std::{
    fs::DirBuilder,
    os::unix::{
        fs::{DirBuilderExt, MetadataExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use gatefold::{embedded::Embedded, postgres};
use sqlx::{
    Connection,
    postgres::{PgConnectOptions, PgConnection},
};

use crate::{
    faults::{folder, forget, processes_of, signal, until},
    house::secrets,
};

/// A cluster with its folder.
pub struct Cluster {
    folder: PathBuf,
    owner: PgConnectOptions,
    embedded: Option<Embedded>,
}

/// Starts the cluster of a folder; what is left of a killed one may still be ending.
async fn start(folder: &Path) -> Embedded {
    let begin = Instant::now();
    loop {
        let folder = folder.to_owned();
        match tokio::task::spawn_blocking(move || Embedded::start(&folder, &|_| {})).await.unwrap() {
            Ok(embedded) => return embedded,
            Err(error) => assert!(begin.elapsed() < Duration::from_secs(30), "{error:#}"),
        }
    }
}

impl Cluster {
    /// Makes a cluster with the tables of the house.
    pub async fn make(name: &str) -> Self {
        let folder = folder(name);
        let embedded = start(&folder).await;
        let owner = embedded.owner();
        postgres::migrate(&owner, &secrets(), true, false).await.unwrap();
        Self { folder, owner, embedded: Some(embedded) }
    }

    /// Makes a standby that follows this cluster by streaming replication.
    pub async fn standby(&self, name: &str) -> Self {
        let folder = folder(name);
        let (ours, theirs) = (self.cluster(), folder.join("postgres"));
        let user = std::fs::metadata(&ours).unwrap();
        DirBuilder::new().mode(0o711).create(&folder).unwrap();
        DirBuilder::new().mode(0o700).create(&theirs).unwrap();
        chown(&theirs, Some(user.uid()), Some(user.gid())).unwrap();
        let bin = std::fs::read_link(format!("/proc/{}/exe", self.postmaster())).unwrap();
        let mut copy = Command::new(bin.with_file_name("pg_basebackup"));
        copy.arg("-h").arg(self.owner.get_socket().unwrap()).args(["-U", self.owner.get_username(), "-R", "-X", "stream", "-c", "fast", "-D"]).arg(&theirs);
        copy.current_dir(&theirs);
        if user.uid() != std::fs::metadata("/proc/self").unwrap().uid() {
            copy.uid(user.uid()).gid(user.gid());
        }
        let copied = tokio::task::spawn_blocking(move || copy.output().unwrap()).await.unwrap();
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
        let embedded = start(&folder).await;
        let standby = Self { folder, owner: embedded.owner(), embedded: Some(embedded) };
        until("the standby to follow", Duration::from_secs(30), async || {
            self.ask::<i64>("select count(*) from pg_stat_replication where state = 'streaming'").await == 1
        })
        .await;
        standby
    }

    /// How the owner of the tables reaches it.
    pub fn owner(&self) -> &PgConnectOptions {
        &self.owner
    }

    /// Its Unix socket.
    pub fn socket(&self) -> PathBuf {
        socket_of(&self.owner)
    }

    fn cluster(&self) -> PathBuf {
        self.folder.join("postgres")
    }

    /// Asks as its superuser for one value.
    pub async fn ask<T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin>(&self, question: &'static str) -> T {
        let mut conn = PgConnection::connect_with(&self.owner).await.unwrap();
        let answer = sqlx::query_scalar(question).fetch_one(&mut conn).await.unwrap();
        conn.close().await.unwrap();
        answer
    }

    /// Changes a setting of the whole cluster, live.
    pub async fn alter(&self, setting: &'static str) {
        let mut conn = PgConnection::connect_with(&self.owner).await.unwrap();
        sqlx::query(setting).execute(&mut conn).await.unwrap();
        sqlx::query("select pg_reload_conf()").execute(&mut conn).await.unwrap();
        conn.close().await.unwrap();
    }

    /// Writes something; done when it is acknowledged.
    pub async fn write(&self) {
        let mut conn = PgConnection::connect_with(&self.owner).await.unwrap();
        sqlx::query("create table written ()").execute(&mut conn).await.unwrap();
        conn.close().await.unwrap();
    }

    /// The process that all others of the cluster are children of.
    pub fn postmaster(&self) -> u32 {
        std::fs::read_to_string(self.cluster().join("postmaster.pid")).unwrap().lines().next().unwrap().trim().parse().unwrap()
    }

    /// All its processes. The watch-dog is none of them: it lives on and takes the dead away.
    pub fn processes(&self) -> Vec<u32> {
        let is_postgres = |pid: &u32| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.ends_with("postgres"));
        processes_of(&self.cluster()).into_iter().filter(is_postgres).collect()
    }

    /// What it wrote until now.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("postgres.log")).unwrap()
    }

    /// Kills every process of it by SIGKILL; when this returns none of them lives.
    pub async fn kill(&mut self) {
        signal("KILL", &self.processes());
        until("the death of the cluster", Duration::from_secs(10), async || self.processes().is_empty()).await;
    }

    /// Starts it again in its folder.
    pub async fn start_again(&mut self) {
        let ended = self.embedded.take();
        tokio::task::spawn_blocking(move || drop(ended)).await.unwrap();
        self.embedded = Some(start(&self.folder).await);
    }

    /// Makes a standby the primary.
    pub async fn promote(&self) {
        assert!(self.ask::<bool>("select pg_promote()").await, "the standby was not promoted");
    }

    /// Ends it and removes its folder.
    pub async fn close(mut self) {
        let ended = self.embedded.take();
        let folder = self.folder.clone();
        tokio::task::spawn_blocking(move || {
            drop(ended);
            std::fs::write(folder.with_extension("log"), "").unwrap();
            forget(&folder);
        })
        .await
        .unwrap();
    }
}

/// The Unix socket that options lead to.
pub fn socket_of(options: &PgConnectOptions) -> PathBuf {
    options.get_socket().unwrap().join(".s.PGSQL.5432")
}

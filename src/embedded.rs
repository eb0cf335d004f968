//! The embedded default: a private Postgres cluster from the binaries of the machine (10-rules 36).
//!
//! The cluster listens on a Unix socket in a 0700 folder and nowhere else. It is started by a small watch-dog shell that
//! holds our pipe: when we die, even by kill -9, the pipe closes and the shell stops Postgres cleanly. As root the cluster
//! runs as an unprivileged user. Durability stays as Postgres ships it: fsync on, synchronous commit on.

use std::{
    fs::File,
    io::{Read, Write},
    os::unix::{
        fs::{DirBuilderExt, MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use sqlx::postgres::PgConnectOptions;

use crate::config::is_root;

/// The role that owns the tables of a private cluster, and its superuser.
const OWNER: &str = "gatefold_owner";
/// The database of a private cluster.
pub const DATABASE: &str = "gatefold";

/// A folder that one server holds, and the cluster in it.
#[derive(Debug)]
pub struct Embedded {
    socket: PathBuf,
    watchdog: Option<Child>,
    /// Held as long as the server runs.
    lock: Option<File>,
}

/// The folder is held by a running server.
#[derive(Debug, thiserror::Error)]
#[error("the folder {folder} is held by process {holder}; stop it first, or choose another folder with --data")]
pub struct Held {
    folder: String,
    holder: String,
}

/// The ids of the unprivileged user that runs the cluster when we are root.
struct Unprivileged {
    uid: u32,
    gid: u32,
}

impl Embedded {
    /// Starts the cluster of a folder and holds the folder.
    ///
    /// # Errors
    /// A sentence: the folder is held, binaries are missing, the cluster does not start (with the end of its log).
    pub fn start(folder: &Path, say: &dyn Fn(&str)) -> anyhow::Result<Self> {
        make_folder(folder)?;
        let lock = hold(folder)?;
        let mut embedded = Self::run(folder, say)?;
        embedded.lock = Some(lock);
        Ok(embedded)
    }

    /// Attaches to the running cluster of a folder beside its server, or starts it for the time of a command.
    ///
    /// # Errors
    /// As [`Embedded::start`].
    pub fn attach(folder: &Path, say: &dyn Fn(&str)) -> anyhow::Result<Self> {
        ensure!(folder.join("postgres/PG_VERSION").exists(), "there is no house in {}; start one with: gatefold serve --data DIR", folder.display());
        if let Some(socket) = running(&folder.join("postgres")) {
            return Ok(Self { socket, watchdog: None, lock: None });
        }
        Self::start(folder, say)
    }

    fn run(folder: &Path, say: &dyn Fn(&str)) -> anyhow::Result<Self> {
        let bin = binaries(say)?;
        let user = unprivileged()?;
        let cluster = folder.join("postgres");
        if !cluster.exists() {
            std::fs::DirBuilder::new().mode(0o700).create(&cluster)?;
        }
        if let Some(user) = &user {
            ensure_reachable(folder)?;
            std::os::unix::fs::chown(&cluster, Some(user.uid), Some(user.gid))?;
        }
        if !cluster.join("PG_VERSION").exists() {
            say("making a private Postgres cluster");
            let mut initdb = Command::new(bin.join("initdb"));
            initdb.arg("--pgdata").arg(&cluster).args(["--username", OWNER, "--auth", "trust", "--encoding", "UTF8", "--locale", "C"]);
            // A first start that was cut off leaves a half made folder: it holds nothing yet, so it is made again.
            if cluster.exists() {
                for entry in std::fs::read_dir(&cluster)? {
                    let path = entry?.path();
                    if path.is_dir() { std::fs::remove_dir_all(path)? } else { std::fs::remove_file(path)? }
                }
            }
            run_as(&mut initdb, user.as_ref(), &cluster);
            let output = initdb.stdin(Stdio::null()).output().context("initdb could not be run")?;
            ensure!(output.status.success(), "initdb failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let socket = socket_folder(&cluster, user.as_ref())?;
        wait_for_the_last_one(&cluster, say)?;
        say("starting Postgres");
        let log = File::options().create(true).append(true).open(folder.join("postgres.log"))?;
        let mut shell = Command::new("/bin/sh");
        // The shell starts Postgres, waits for the end of our pipe, and stops Postgres (SIGINT: fast shutdown).
        shell
            .args(["-c", "\"$0\" \"$@\" <&- & p=$!; trap '' INT TERM HUP; read _; kill -INT $p; wait $p"])
            .arg(bin.join("postgres"))
            .arg("-D")
            .arg(&cluster)
            .args(["-c", "listen_addresses=", "-c", "unix_socket_permissions=0700", "-c"])
            .arg(format!("unix_socket_directories={}", socket.display()))
            .args(["-c", "max_connections=120", "-c", &format!("shared_buffers={}MB", buffers()), "-c", "max_wal_size=4GB", "-c", "checkpoint_timeout=15min"])
            .args(["-c", "wal_compression=lz4", "-c", "log_checkpoints=off", "-c", "autovacuum_naptime=10s"]);
        run_as(&mut shell, user.as_ref(), &cluster);
        let watchdog = shell.process_group(0).stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log).spawn().context("/bin/sh could not be run")?;
        let mut embedded = Self { socket, watchdog: Some(watchdog), lock: None };
        embedded.wait_until_ready(&bin, folder)?;
        Ok(embedded)
    }

    fn wait_until_ready(&mut self, bin: &Path, folder: &Path) -> anyhow::Result<()> {
        let begin = Instant::now();
        loop {
            let ready = Command::new(bin.join("pg_isready"))
                .arg("-q")
                .arg("-h")
                .arg(&self.socket)
                .args(["-U", OWNER, "-d", "postgres"])
                .status()
                .context("pg_isready could not be run")?;
            if ready.success() {
                return Ok(());
            }
            let postgres_is_gone = begin.elapsed() > Duration::from_secs(2) && !folder.join("postgres/postmaster.pid").exists();
            if postgres_is_gone || begin.elapsed() > Duration::from_secs(120) {
                let log = std::fs::read_to_string(folder.join("postgres.log")).unwrap_or_default();
                let end: Vec<&str> = log.lines().rev().take(6).collect();
                bail!("Postgres did not start:\n  {}", end.into_iter().rev().collect::<Vec<_>>().join("\n  "));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// How to reach the cluster as the role that owns the tables.
    #[must_use]
    pub fn owner(&self) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass().socket(&self.socket).username(OWNER).database(DATABASE)
    }

    /// The folder of the socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Stops the cluster cleanly and waits for it.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(mut watchdog) = self.watchdog.take() {
            drop(watchdog.stdin.take());
            let _ = watchdog.wait();
            // Empty now, and nobody else makes it while the folder is ours.
            let _ = std::fs::remove_dir(&self.socket);
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.end();
    }
}

fn make_folder(folder: &Path) -> anyhow::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o711).create(folder).with_context(|| format!("the folder {} could not be made", folder.display()))
}

/// Locks the folder for one server; the file names the holder.
fn hold(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join("holder");
    let mut file = File::options().create(true).read(true).write(true).truncate(false).open(&path)?;
    if file.try_lock().is_err() {
        let mut holder = String::new();
        let _ = file.read_to_string(&mut holder);
        bail!(Held { folder: folder.display().to_string(), holder: holder.trim().to_owned() });
    }
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())?;
    Ok(file)
}

/// The socket folder of a running cluster, read from its `postmaster.pid` (line 5) when its process lives.
fn running(cluster: &Path) -> Option<PathBuf> {
    let pid_file = std::fs::read_to_string(cluster.join("postmaster.pid")).ok()?;
    let mut lines = pid_file.lines();
    let socket = PathBuf::from(lines.nth(4)?.trim());
    // Line 8 says whether it takes connections; a cluster that is ending does not.
    let ready = lines.nth(2).is_some_and(|status| status.trim() == "ready");
    (ready && living(cluster).is_some() && socket.join(".s.PGSQL.5432").exists()).then_some(socket)
}

/// After a kill -9 of its server a cluster is still being stopped by its watch-dog: waits until its process is gone.
pub(crate) fn wait_for_the_last_one(cluster: &Path, say: &dyn Fn(&str)) -> anyhow::Result<()> {
    let begin = Instant::now();
    let mut said = false;
    while let Some(pid) = living(cluster) {
        ensure!(begin.elapsed() < Duration::from_secs(60), "Postgres of {} (process {pid}) is still running; stop it first", cluster.display());
        if !said {
            say("waiting for the last Postgres to end");
            said = true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// The process that `postmaster.pid` names, if it lives and is the Postgres of this cluster: numbers of processes come again.
fn living(cluster: &Path) -> Option<u32> {
    let pid: u32 = std::fs::read_to_string(cluster.join("postmaster.pid")).ok()?.lines().next()?.trim().parse().ok()?;
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let of_ours = String::from_utf8_lossy(&command).split('\0').any(|part| Path::new(part) == cluster);
    of_ours.then_some(pid)
}

/// A short 0700 folder for the socket: paths of sockets end at 107 bytes. Its name follows from the cluster's path, so a
/// cluster that was killed finds its folder again.
fn socket_folder(cluster: &Path, user: Option<&Unprivileged>) -> anyhow::Result<PathBuf> {
    let path = cluster.canonicalize().unwrap_or_else(|_| cluster.to_owned());
    let owner = user.map_or_else(|| std::fs::metadata(cluster).map(|m| m.uid()).unwrap_or(0), |u| u.uid);
    let hash = crate::secrets::sha256(format!("{owner}\0{}", path.display()).as_bytes());
    let name = format!("gatefold-{}", data_encoding::HEXLOWER.encode(&hash[..8]));
    let base = std::env::var_os("XDG_RUNTIME_DIR").filter(|_| user.is_none()).map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
    let base = if base.as_os_str().len() > 60 { PathBuf::from("/tmp") } else { base };
    let folder = base.join(name);
    match std::fs::DirBuilder::new().mode(0o700).create(&folder) {
        Ok(()) => {
            if let Some(user) = user {
                std::os::unix::fs::chown(&folder, Some(user.uid), Some(user.gid))?;
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let meta = std::fs::symlink_metadata(&folder)?;
            ensure!(
                meta.is_dir() && meta.uid() == owner && meta.permissions().mode() & 0o777 == 0o700,
                "the folder {} is not ours; remove it",
                folder.display()
            );
        }
        Err(error) => return Err(error).with_context(|| format!("the folder {} could not be made", folder.display())),
    }
    Ok(folder)
}

/// When we are root: the user that runs the cluster, `postgres` where it exists, else `nobody`.
fn unprivileged() -> anyhow::Result<Option<Unprivileged>> {
    if !is_root() {
        return Ok(None);
    }
    let passwd = std::fs::read_to_string("/etc/passwd").context("/etc/passwd")?;
    for name in ["postgres", "nobody"] {
        let line = passwd.lines().find_map(|l| l.strip_prefix(name).and_then(|r| r.strip_prefix(':')));
        let mut fields = line.unwrap_or_default().split(':').skip(1);
        if let (Some(uid), Some(gid)) = (fields.next().and_then(|f| f.parse().ok()), fields.next().and_then(|f| f.parse().ok())) {
            return Ok(Some(Unprivileged { uid, gid }));
        }
    }
    bail!("Postgres does not run as root, and there is neither a user postgres nor nobody; start as another user")
}

/// The unprivileged user must be able to walk to the cluster.
fn ensure_reachable(folder: &Path) -> anyhow::Result<()> {
    let folder = folder.canonicalize()?;
    for part in folder.ancestors() {
        let mode = std::fs::metadata(part)?.permissions().mode();
        ensure!(
            mode & 0o001 != 0,
            "Postgres does not run as root, and its unprivileged user cannot enter {}; choose another folder with --data (for example /var/lib/gatefold)",
            part.display()
        );
    }
    Ok(())
}

fn run_as(command: &mut Command, user: Option<&Unprivileged>, folder: &Path) {
    command.current_dir(folder).env_remove("PGDATA").env("LC_ALL", "C");
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
}

/// The folder of the Postgres binaries: `$PG_BIN`, PATH, the usual folders of Debian and Homebrew, `pg_config`; on Debian as
/// root they are installed where they are missing.
fn binaries(say: &dyn Fn(&str)) -> anyhow::Result<PathBuf> {
    if let Some(found) = find_binaries() {
        return Ok(found);
    }
    let command = "apt-get install --yes --no-install-recommends postgresql";
    if unprivileged()?.is_some() && Path::new("/usr/bin/apt-get").exists() {
        say(&format!("Postgres is missing; installing it: {command}"));
        let quiet = |args: &[&str]| Command::new("/usr/bin/apt-get").args(args).env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null()).status();
        let _ = quiet(&["update", "-qq"])?;
        let done = quiet(&["install", "-qq", "--yes", "--no-install-recommends", "postgresql"])?;
        ensure!(done.success(), "apt-get could not install Postgres; try: {command}");
        if let Some(found) = find_binaries() {
            return Ok(found);
        }
    }
    bail!("no Postgres 15 or newer was found on this machine; install it with: sudo {command} (on a Mac: brew install postgresql@17)")
}

/// The buffers of a private cluster in megabytes: an eighth of the machine, so that the indexes which every order of a large house touches at
/// random stay in them.
fn buffers() -> u64 {
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse::<u64>().ok());
    (kilobytes.unwrap_or(0) / 1_024 / 8).clamp(128, 1_024)
}

/// A program that comes with Postgres: beside the server's own, or in PATH.
///
/// # Errors
/// When there is none.
pub fn tool(name: &str) -> anyhow::Result<PathBuf> {
    let beside = find_binaries().map(|folder| folder.join(name)).filter(|path| path.exists());
    let in_path = || std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).map(|folder| folder.join(name)).find(|path| path.exists());
    beside.or_else(in_path).with_context(|| format!("{name} is not on this machine; install it with: apt-get install postgresql-client"))
}

fn find_binaries() -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = std::env::var_os("PG_BIN").map(PathBuf::from).into_iter().collect();
    let mut debian: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|e| e.path().join("bin")).collect();
    debian.sort();
    folders.extend(debian.into_iter().rev());
    folders.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths).collect::<Vec<_>>());
    for brew in ["/opt/homebrew/opt", "/usr/local/opt", "/home/linuxbrew/.linuxbrew/opt"] {
        folders.extend(["postgresql@18", "postgresql@17", "postgresql@16", "postgresql@15"].map(|name| Path::new(brew).join(name).join("bin")));
    }
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        folders.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    // Whole folders only: a link to one binary elsewhere in PATH does not bring the others along.
    folders.into_iter().find(|f| ["postgres", "initdb", "pg_isready"].iter().all(|name| f.join(name).exists()) && is_new_enough(f))
}

fn is_new_enough(folder: &Path) -> bool {
    let Ok(output) = Command::new(folder.join("postgres")).arg("--version").output() else { return false };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().find_map(|word| word.split('.').next()?.parse::<u32>().ok()).is_some_and(|major| major >= 15)
}

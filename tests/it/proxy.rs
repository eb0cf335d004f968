//! A network that fails on command: a small proxy between a server and its Postgres. It listens on TCP, forwards to the Unix socket
//! of a cluster, and can be told to be late, to swallow, to reset and to cut in the middle, while it runs. It counts what it did: that
//! is the proof that the fault happened.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
};

/// What the network does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Forwards.
    Pass,
    /// Forwards every piece so much later.
    Delay(Duration),
    /// Takes everything and forwards nothing; nobody is told.
    BlackHole,
    /// Resets every connection (RST), old and new.
    Reset,
    /// Forwards so many more bytes of all connections together, cuts the one that had the last of them, then forwards again.
    CutAfter(usize),
    /// Forwards the next COMMIT, swallows its answer and cuts that connection, then forwards again.
    LoseCommit,
}

/// What happened to the traffic.
#[derive(Debug, Default)]
pub struct Counts {
    pub connections: AtomicUsize,
    pub delayed: AtomicUsize,
    pub swallowed_bytes: AtomicUsize,
    pub resets: AtomicUsize,
    pub cuts: AtomicUsize,
    pub lost_commits: AtomicUsize,
}

struct Inside {
    target: Mutex<PathBuf>,
    mode: watch::Sender<Mode>,
    counts: Counts,
}

/// A running proxy; it ends with its runtime.
pub struct Proxy {
    pub port: u16,
    inside: Arc<Inside>,
}

/// How a connection ended.
enum End {
    Closed,
    Reset,
}

impl Proxy {
    /// Listens and forwards to a Unix socket.
    pub async fn to(socket: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let inside = Arc::new(Inside { target: Mutex::new(socket), mode: watch::Sender::new(Mode::Pass), counts: Counts::default() });
        let accepting = inside.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                client.set_nodelay(true).unwrap();
                accepting.counts.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(accepting.clone().carry(client));
            }
        });
        Self { port, inside }
    }

    pub fn set(&self, mode: Mode) {
        self.inside.mode.send_replace(mode);
    }

    /// Where new connections go from now on.
    pub fn retarget(&self, socket: PathBuf) {
        *self.inside.target.lock().unwrap() = socket;
    }

    pub fn count(&self, of: impl Fn(&Counts) -> &AtomicUsize) -> usize {
        of(&self.inside.counts).load(Ordering::Relaxed)
    }
}

impl Inside {
    async fn carry(self: Arc<Self>, mut client: TcpStream) {
        let target = self.target.lock().unwrap().clone();
        let Ok(mut server) = UnixStream::connect(target).await else { return };
        let doomed = AtomicBool::new(false);
        let end = {
            let (from_client, to_client) = client.split();
            let (from_server, to_server) = server.split();
            let mut mode = self.mode.subscribe();
            tokio::select! {
                end = self.pump(from_client, to_server, |piece| self.is_the_commit(piece, &doomed)) => end,
                end = self.pump(from_server, to_client, |_| doomed.load(Ordering::Relaxed)) => end,
                _ = mode.wait_for(|mode| *mode == Mode::Reset) => {
                    self.counts.resets.fetch_add(1, Ordering::Relaxed);
                    End::Reset
                }
            }
        };
        if matches!(end, End::Reset) {
            let _ = client.set_zero_linger();
        }
    }

    /// Whether a piece holds the COMMIT whose answer shall be lost: then its connection is doomed.
    fn is_the_commit(&self, piece: &[u8], doomed: &AtomicBool) -> bool {
        let lost = piece.windows(7).any(|w| w == b"COMMIT\0")
            && self.mode.send_if_modified(|mode| {
                let ours = *mode == Mode::LoseCommit;
                if ours {
                    *mode = Mode::Pass;
                }
                ours
            });
        doomed.fetch_or(lost, Ordering::Relaxed);
        false
    }

    /// Takes bytes from the common budget of [`Mode::CutAfter`]: how many of a piece still pass, if this is the piece to cut.
    fn cut(&self, piece: usize) -> Option<usize> {
        let mut passes = None;
        self.mode.send_if_modified(|mode| match *mode {
            Mode::CutAfter(left) if left <= piece => {
                (passes, *mode) = (Some(left), Mode::Pass);
                true
            }
            Mode::CutAfter(left) => {
                *mode = Mode::CutAfter(left - piece);
                true
            }
            _ => false,
        });
        passes
    }

    /// Carries one direction. `ends` looks at a piece and says that it is not forwarded and the connection ends.
    async fn pump(&self, mut from: impl AsyncReadExt + Unpin, mut to: impl AsyncWriteExt + Unpin, ends: impl Fn(&[u8]) -> bool) -> End {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let Ok(n) = from.read(&mut buffer).await else { return End::Closed };
            if n == 0 {
                return End::Closed;
            }
            if ends(&buffer[..n]) {
                self.counts.lost_commits.fetch_add(1, Ordering::Relaxed);
                return End::Reset;
            }
            let mode = *self.mode.borrow();
            match mode {
                Mode::Delay(by) => {
                    self.counts.delayed.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(by).await;
                }
                Mode::BlackHole => {
                    self.counts.swallowed_bytes.fetch_add(n, Ordering::Relaxed);
                    continue;
                }
                Mode::Pass | Mode::Reset | Mode::CutAfter(_) | Mode::LoseCommit => {}
            }
            if let Some(passes) = self.cut(n) {
                let _ = to.write_all(&buffer[..passes]).await;
                self.counts.cuts.fetch_add(1, Ordering::Relaxed);
                return End::Reset;
            }
            if to.write_all(&buffer[..n]).await.is_err() {
                return End::Closed;
            }
        }
    }
}

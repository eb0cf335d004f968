//! Group commit: many requests, one transaction, one answer each (4-on-sale, 10-rules 12-14).
//!
//! A *lane* is one kind of request of one festival in this process: a bounded queue and one worker. The worker takes
//! what is waiting, opens a transaction, lets the kind lock, decide and write, commits once and answers everybody. While
//! it commits the next batch gathers. An idle lane waits for nobody; in a crowd it starts a batch no more often than once
//! in [`Kind::GATHER`], because what a batch costs beside its requests is what scans and pages need then. A request runs
//! to its end although its client hung up.
//!
//! ```text
//! pass ──> queue ──> [ begin · Kind::run · commit ] ──> answers
//!            │full          │22, 23: halve until the culprit stands alone
//!            └─> Busy       │40001, 40P01: again, twice at most
//!                           │lock, pool, connection: Busy for the batch and for what waits behind it
//! ```

use std::{
    collections::HashMap,
    future::Future,
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::{Connection, PgConnection, PgPool};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::{mpsc, oneshot},
};

use crate::{app::App, id::FestivalId, postgres, sabotage};

/// How many requests of a lane may wait before the next is turned away.
const QUEUE: usize = 4_096;
/// How many requests in one batch make a crowd: the next batch then gathers for [`Kind::GATHER`].
pub const CROWD: usize = 8;
/// How many that wait are enough to start at once, and how often a gathering lane looks.
const ENOUGH: usize = 64;
const LOOK: Duration = Duration::from_millis(3);
/// How long an idle lane stays.
const IDLE: Duration = Duration::from_secs(60);
/// How long one attempt may take although the database has time-outs of its own: a network that swallows packets has none.
const ATTEMPT: Duration = Duration::from_secs(8);
/// How long a client waits for its answer, whatever the database and the network do.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// How long a request may be on its way from the door to its batch.
pub const DEADLINE: Duration = Duration::from_secs(3);

/// The threads of the lanes, apart from those of requests. A lane asks the database a dozen things a batch, and would hear each answer only after
/// all that a thousand clients ask meanwhile (measured: half of what a batch took, while the machine waited). The pools of the lanes are opened on
/// them, because a connection hears where it was made.
///
/// # Panics
/// When the system has no thread for the first that asks.
pub fn threads() -> &'static Handle {
    static THREADS: LazyLock<Runtime> = LazyLock::new(|| Builder::new_multi_thread().thread_name("lanes").enable_all().build().expect("threads for the lanes"));
    THREADS.handle()
}

/// One kind of request that is worked off in batches.
pub trait Kind: Send + Sync + 'static {
    /// The name in metrics and logs.
    const NAME: &'static str;
    /// The most requests of one batch.
    const MOST: usize;
    /// The least time between the starts of two batches while [`CROWD`] or more came with the last one.
    const GATHER: Duration = Duration::from_millis(20);
    /// What is asked.
    type Request: Send + Sync + 'static;
    /// What is answered: also every refusal that the rules know.
    type Answer: Send + 'static;

    /// The pool that this kind takes its connections from.
    fn pool(app: &App) -> &PgPool;

    /// Decides and writes a whole batch in arrival order; one answer for each request, in their order.
    ///
    /// It may be run again with the same requests after a roll-back, so it changes nothing outside the transaction.
    fn run(
        app: &App,
        conn: &mut PgConnection,
        festival: FestivalId,
        batch: &[Self::Request],
    ) -> impl Future<Output = Result<Vec<Self::Answer>, Trouble>> + Send;
}

/// Why a batch did not get through.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// What the database said.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// A row that was decided on was written by another server meanwhile: roll back and run again.
    #[error("decided on a state that changed meanwhile")]
    Again,
}

/// The lane cannot take or finish the request now. The client asks again with the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too busy to decide now; ask again with the same key")]
pub struct Busy {
    /// Seconds until asking again makes sense, jittered so that clients do not come back together.
    pub retry_after: u32,
}

impl Busy {
    /// Busy with a jittered wait of one to three seconds.
    #[must_use]
    pub fn jittered() -> Self {
        let mut noise = [0_u8; 1];
        crate::secrets::fill(&mut noise);
        Self { retry_after: 1 + u32::from(noise[0] % 3) }
    }
}

/// Waits for an answer no longer than [`PATIENCE`]. What was asked may still happen: the same key tells.
///
/// # Errors
/// What the work says, or [`Busy`] when it took too long.
pub async fn patiently<T, E: From<Busy>>(work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(Busy::jittered().into()))
}

struct Waiting<K: Kind> {
    request: K::Request,
    deadline: Instant,
    answer: oneshot::Sender<Result<K::Answer, Busy>>,
}

/// The lanes of one kind, one a festival.
pub struct Lanes<K: Kind> {
    lanes: Mutex<HashMap<FestivalId, Lane<K>>>,
}

/// The lane of a festival: its queue, and the longest that a request waited for its answer since somebody asked, in milliseconds.
struct Lane<K: Kind> {
    queue: mpsc::Sender<Waiting<K>>,
    longest: Arc<Waits>,
}

/// How long requests of a lane wait: the longest that was answered since somebody asked, in milliseconds, and since when the oldest of the
/// batch in flight waits.
#[derive(Default)]
struct Waits {
    longest: AtomicU64,
    in_flight: Mutex<Option<Instant>>,
}

impl Waits {
    fn note(&self, waited: Duration) {
        self.longest.fetch_max(u64::try_from(waited.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn fly(&self, since: Option<Instant>) {
        *self.in_flight.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    fn take(&self) -> Duration {
        let in_flight = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner).map_or(Duration::ZERO, |since| since.elapsed());
        Duration::from_millis(self.longest.swap(0, Ordering::Relaxed)).max(in_flight)
    }
}

impl<K: Kind> Default for Lanes<K> {
    fn default() -> Self {
        Self { lanes: Mutex::new(HashMap::new()) }
    }
}

impl<K: Kind> Lanes<K> {
    /// Passes a request through its lane and waits for the answer.
    ///
    /// # Errors
    /// [`Busy`] when the queue is full, the deadline passed, or the database cannot be had.
    pub async fn pass(&self, app: &App, festival: FestivalId, request: K::Request) -> Result<K::Answer, Busy> {
        let (answer, wait) = oneshot::channel();
        let waiting = Waiting { request, deadline: Instant::now() + DEADLINE, answer };
        self.lane(app, festival).try_send(waiting).map_err(|_| {
            metrics::counter!("gatefold_batch_turned_away_total", "kind" => K::NAME).increment(1);
            Busy::jittered()
        })?;
        wait.await.unwrap_or_else(|_| Err(Busy::jittered()))
    }

    fn lane(&self, app: &App, festival: FestivalId) -> mpsc::Sender<Waiting<K>> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.retain(|f, lane| *f == festival || !lane.queue.is_closed());
        match lanes.get(&festival).filter(|lane| !lane.queue.is_closed()) {
            Some(lane) => lane.queue.clone(),
            None => {
                let (sender, receiver) = mpsc::channel(QUEUE);
                let lane = Lane { queue: sender.clone(), longest: Arc::default() };
                threads().spawn(work::<K>(app.clone(), festival, receiver, lane.longest.clone()));
                lanes.insert(festival, lane);
                sender
            }
        }
    }

    /// The longest that a request of a festival waited for its answer since this was asked last.
    #[must_use]
    pub fn longest_wait(&self, festival: FestivalId) -> Duration {
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.get(&festival).map_or(Duration::ZERO, |lane| lane.longest.take())
    }
}

/// The worker of one lane.
async fn work<K: Kind>(app: App, festival: FestivalId, mut queue: mpsc::Receiver<Waiting<K>>, waits: Arc<Waits>) {
    let most = sabotage::most(K::MOST);
    let mut batch = Vec::with_capacity(most);
    let mut gather_until = None;
    loop {
        if let Some(until) = gather_until.take() {
            while Instant::now() < until && queue.len() < ENOUGH.min(most) {
                tokio::time::sleep(LOOK).await;
            }
        }
        match tokio::time::timeout(IDLE, queue.recv_many(&mut batch, most)).await {
            Ok(0) => break,
            Ok(_) => {}
            Err(_) => {
                // Nobody came for a while: what slipped in meanwhile is worked off, then the lane ends and the next request makes a new one.
                queue.close();
                continue;
            }
        }
        metrics::gauge!("gatefold_batch_queue", "kind" => K::NAME).set(count(queue.len()));
        let now = Instant::now();
        let (alive, late): (Vec<_>, Vec<_>) = batch.drain(..).partition(|w| w.deadline > now && !w.answer.is_closed());
        for waiting in late {
            waits.note(DEADLINE);
            let _ = waiting.answer.send(Err(Busy::jittered()));
        }
        if alive.is_empty() {
            continue;
        }
        metrics::histogram!("gatefold_batch_size", "kind" => K::NAME).record(count(alive.len()));
        gather_until = (alive.len() >= CROWD).then(|| now + K::GATHER);
        let since = alive.first().and_then(|waiting| waiting.deadline.checked_sub(DEADLINE)).unwrap_or(now);
        waits.fly(Some(since));
        let (requests, answers): (Vec<_>, Vec<_>) = alive.into_iter().map(|w| (w.request, w.answer)).unzip();
        match settle::<K>(&app, festival, &requests).await {
            Ok(decided) => {
                for (answer, to) in decided.into_iter().zip(answers) {
                    let _ = to.send(answer);
                }
            }
            Err(error) => {
                tracing::warn!(kind = K::NAME, festival = festival.0, %error, "a batch could not be had; shedding what waits");
                metrics::counter!("gatefold_batch_shed_total", "kind" => K::NAME).increment(1);
                for to in answers {
                    let _ = to.send(Err(Busy::jittered()));
                }
                while let Ok(waiting) = queue.try_recv() {
                    let _ = waiting.answer.send(Err(Busy::jittered()));
                }
            }
        }
        metrics::histogram!("gatefold_batch_seconds", "kind" => K::NAME).record(now.elapsed().as_secs_f64());
        waits.fly(None);
        waits.note(since.elapsed());
    }
}

#[expect(clippy::cast_precision_loss, reason = "queue lengths are far below 2^52")]
fn count(n: usize) -> f64 {
    n as f64
}

/// Runs a batch until every request has its answer: halves it when a row was poison, so that one poisonous request
/// cannot refuse its neighbors. An error means that nothing of what is left could be decided.
async fn settle<K: Kind>(app: &App, festival: FestivalId, requests: &[K::Request]) -> Result<Vec<Result<K::Answer, Busy>>, Trouble> {
    let mut answers = Vec::with_capacity(requests.len());
    let mut left = vec![requests];
    while let Some(part) = left.pop() {
        match attempt::<K>(app, festival, part).await {
            Ok(part) => answers.extend(part.into_iter().map(Ok)),
            Err(trouble) if is_poison(&trouble) && part.len() > 1 => {
                let (first, second) = part.split_at(part.len() / 2);
                left.push(second);
                left.push(first);
            }
            Err(trouble) if is_poison(&trouble) => {
                tracing::error!(kind = K::NAME, festival = festival.0, error = %trouble, "a request broke a constraint of the database");
                answers.push(Err(Busy::jittered()));
            }
            Err(trouble) if answers.is_empty() => return Err(trouble),
            Err(trouble) => {
                tracing::warn!(kind = K::NAME, festival = festival.0, error = %trouble, "a part of a batch could not be had");
                answers.extend(part.iter().map(|_| Err(Busy::jittered())));
                for rest in left.drain(..).rev() {
                    answers.extend(rest.iter().map(|_| Err(Busy::jittered())));
                }
            }
        }
    }
    Ok(answers)
}

/// One transaction, tried again where trying again is harmless.
async fn attempt<K: Kind>(app: &App, festival: FestivalId, part: &[K::Request]) -> Result<Vec<K::Answer>, Trouble> {
    let mut again = 0;
    loop {
        let mut at_commit = false;
        let mut conn = K::pool(app).acquire().await?;
        let outcome = match tokio::time::timeout(ATTEMPT, once::<K>(app, &mut conn, festival, part, &mut at_commit)).await {
            Ok(outcome) => outcome,
            Err(_) => {
                // Nothing comes through it, so nothing is asked of it any more: the pool makes another.
                drop(conn.detach());
                Err(Trouble::Database(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
            }
        };
        match outcome {
            Err(trouble) if again < 2 && (is_conflict(&trouble) || (at_commit && again < 1 && !is_answer(&trouble))) => {
                again += 1;
                metrics::counter!("gatefold_batch_again_total", "kind" => K::NAME).increment(1);
            }
            outcome => return outcome,
        }
    }
}

/// Begin, decide, commit. Dropped half way, the connection has to be thrown away.
async fn once<K: Kind>(app: &App, conn: &mut PgConnection, festival: FestivalId, part: &[K::Request], at_commit: &mut bool) -> Result<Vec<K::Answer>, Trouble> {
    let mut tx = conn.begin().await?;
    match K::run(app, &mut tx, festival, part).await {
        Ok(answers) => {
            debug_assert_eq!(answers.len(), part.len(), "one answer for each request");
            sabotage::die_at(format_args!("{}-written", K::NAME));
            *at_commit = true;
            postgres::commit(tx).await?;
            sabotage::die_at(format_args!("{}-committed", K::NAME));
            Ok(answers)
        }
        Err(trouble) => {
            let _ = tx.rollback().await;
            Err(trouble)
        }
    }
}

/// The class of the error is data (22) or integrity (23): one request of the batch is to blame.
fn is_poison(trouble: &Trouble) -> bool {
    matches!(trouble, Trouble::Database(sqlx::Error::Database(e)) if e.code().is_some_and(|c| c.starts_with("22") || c.starts_with("23")))
}

/// Serialization failure, deadlock, or a state that changed: the same transaction again.
fn is_conflict(trouble: &Trouble) -> bool {
    match trouble {
        Trouble::Again => true,
        Trouble::Database(sqlx::Error::Database(e)) => e.code().is_some_and(|c| c == "40001" || c == "40P01"),
        Trouble::Database(_) => false,
    }
}

/// Whether the database answered at all: if it did not, whether the commit took place is unknown, and running the batch
/// once more is harmless because keys and states make it so.
fn is_answer(trouble: &Trouble) -> bool {
    matches!(trouble, Trouble::Again | Trouble::Database(sqlx::Error::Database(_)))
}

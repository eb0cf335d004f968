//! The log of a server. A thread of its own writes the lines to stderr: where nobody takes them they are dropped and counted, because no
//! request waits for its line.

use std::{io::Write, sync::mpsc, time::Duration};

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

use crate::postgres::Notices;

/// How many lines may wait to be written: a rush of a second.
const LINES: usize = 8_192;
/// How long the last lines may take.
const LAST_LINES: Duration = Duration::from_secs(2);

/// The log; its end writes what waits.
pub struct Log {
    lines: NonBlocking,
    writing: Option<WorkerGuard>,
}

impl Log {
    /// Begins to log: what `RUST_LOG` says, else everything that matters, or warnings alone.
    #[must_use]
    pub fn begin(json: bool, quiet: bool) -> Self {
        let (lines, writing) = NonBlockingBuilder::default().buffered_lines_limit(LINES).finish(std::io::stderr());
        let default = if quiet { "warn" } else { "info,sqlx=warn" };
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
        let layer = tracing_subscriber::fmt::layer().with_writer(lines.clone());
        let house = tracing_subscriber::registry().with(Notices.with_filter(Notices::filter()));
        if json {
            house.with(layer.json().with_filter(filter)).init();
        } else {
            house.with(layer.with_filter(filter)).init();
        }
        // A panic would wait for stderr.
        std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
        Self { lines, writing: Some(writing) }
    }

    /// Says something to the operator, whatever is logged.
    pub fn say(&mut self, what: &str) {
        let _ = self.lines.write_all(format!("gatefold: {what}\n").as_bytes());
    }

    /// Counts the lines that nobody took.
    #[must_use]
    pub fn dropped(&self) -> ErrorCounter {
        self.lines.error_counter()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let writing = self.writing.take();
        let (done, last) = mpsc::channel();
        // Aside, because the guard complains on stdout, which may be as full as stderr.
        std::thread::spawn(move || {
            drop(writing);
            let _ = done.send(());
        });
        let _ = last.recv_timeout(LAST_LINES);
    }
}

//! The background loops: what they do, how often, and how they stop. Each is idempotent and takes no input; any number of
//! servers may run them beside each other.

use std::{future::Future, pin::Pin, time::Duration};

use tokio::{sync::watch, task::JoinSet};

use crate::{
    accounts,
    app::App,
    audit, documents, entry,
    http::{door::told_to_stop, limit::Limits},
    mail, orders, payments, postgres, tickets, waiting,
};

type Step = for<'a> fn(&'a App) -> Pin<Box<dyn Future<Output = Result<usize, sqlx::Error>> + Send + 'a>>;

/// A loop: its name, its rhythm, and what it does. A step that did something is followed by the next one at once.
struct Worker {
    name: &'static str,
    every: Duration,
    step: Step,
}

/// How long a step may take: longer than every time-out of the database and of mail servers, which a network that swallows packets
/// does not know.
const STEP: Duration = Duration::from_secs(120);
/// How long the comparison of days with providers may take: it reads a day of theirs page by page.
const LONG: Duration = Duration::from_secs(1_800);

static WORKERS: &[Worker] = &[
    Worker { name: "mail", every: Duration::from_millis(500), step: |app| Box::pin(mail::send_due(app)) },
    Worker { name: "mail-2", every: Duration::from_millis(700), step: |app| Box::pin(mail::send_due(app)) },
    Worker { name: "expire", every: Duration::from_secs(2), step: |app| Box::pin(orders::expire_due(app)) },
    Worker { name: "doors", every: Duration::from_secs(1), step: |app| Box::pin(orders::admit_waiting(app)) },
    Worker { name: "pool", every: Duration::from_secs(1), step: |app| Box::pin(payments::refunds::hand_backs::move_on(app)) },
    Worker { name: "invite", every: Duration::from_secs(1), step: |app| Box::pin(orders::invite_due(app)) },
    Worker { name: "keep", every: Duration::from_secs(5), step: |app| Box::pin(orders::keep_holds(app)) },
    Worker { name: "ask", every: Duration::from_secs(10), step: |app| Box::pin(payments::ask_undecided(app)) },
    Worker { name: "close", every: Duration::from_secs(10), step: |app| Box::pin(payments::close_due(app)) },
    Worker { name: "refund", every: Duration::from_secs(5), step: |app| Box::pin(payments::refund_due(app)) },
    Worker { name: "options", every: Duration::from_secs(2), step: |app| Box::pin(payments::refunds::options::step(app)) },
    Worker { name: "documents", every: Duration::from_secs(2), step: |app| Box::pin(documents::issue_due(app)) },
    Worker { name: "compare", every: Duration::from_secs(600), step: |app| Box::pin(payments::comparison::compare_due(app)) },
    Worker { name: "reissues", every: Duration::from_secs(5), step: |app| Box::pin(tickets::walk(app)) },
    Worker { name: "forgeries", every: Duration::from_secs(1), step: |app| Box::pin(entry::record_forgeries(app)) },
    Worker { name: "seal", every: Duration::from_secs(60), step: |app| Box::pin(async move { audit::seal(app).await.map(|_| 0) }) },
    Worker { name: "last-used", every: Duration::from_secs(60), step: |app| Box::pin(async move { accounts::flush_last_used(app).await.map(|()| 0) }) },
    Worker { name: "pulses", every: Duration::from_secs(60), step: |app| Box::pin(async move { accounts::flush_pulses(app).await.map(|()| 0) }) },
    Worker { name: "carts", every: Duration::from_secs(3_600), step: |app| Box::pin(orders::forget_carts(app)) },
    Worker { name: "sign-ins", every: Duration::from_secs(3_600), step: |app| Box::pin(async move { accounts::forget(app).await.map(|_| 0) }) },
    Worker { name: "waiting", every: Duration::from_secs(3_600), step: |app| Box::pin(async move { waiting::forget(app).await.map(|_| 0) }) },
    Worker { name: "lists", every: Duration::from_secs(3_600), step: |app| Box::pin(async move { waiting::list::forget(app).await.map(|_| 0) }) },
    Worker { name: "statistics", every: Duration::from_secs(1), step: |app| Box::pin(postgres::know_tables(&app.pools.work)) },
    Worker {
        name: "limits",
        every: Duration::from_secs(60),
        step: |app| {
            Box::pin(async move {
                app.the::<Limits>().forget();
                Ok(0)
            })
        },
    },
];

/// Starts all loops; they end when told to stop.
#[must_use]
pub fn start(app: &App, stop: &watch::Receiver<bool>) -> JoinSet<()> {
    let mut running = JoinSet::new();
    for worker in WORKERS {
        let (app, mut stop) = (app.clone(), stop.clone());
        running.spawn(async move {
            loop {
                let bound = if worker.name == "compare" { LONG } else { STEP };
                let did = match tokio::time::timeout(bound, (worker.step)(&app)).await {
                    Ok(Ok(did)) => did,
                    Ok(Err(error)) => {
                        tracing::warn!(worker = worker.name, %error, "a worker met an error; it goes on");
                        0
                    }
                    Err(_) => {
                        tracing::warn!(worker = worker.name, "a worker waited too long for an answer; it begins again");
                        0
                    }
                };
                let rest = if did > 0 { Duration::from_millis(5) } else { worker.every };
                tokio::select! {
                    () = tokio::time::sleep(rest) => {}
                    () = told_to_stop(&mut stop) => break,
                }
            }
        });
    }
    running
}

/// Runs every loop until none has anything to do: for tests, where nobody waits for a rhythm.
///
/// # Errors
/// What the database said.
pub async fn drain(app: &App) -> Result<(), sqlx::Error> {
    for _ in 0..10_000 {
        let mut did = 0;
        for worker in WORKERS {
            did += (worker.step)(app).await?;
        }
        if did == 0 {
            break;
        }
    }
    Ok(())
}

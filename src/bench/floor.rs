//! The floor: the server's own statements in full batches, fed from memory, without HTTP: what Postgres can do with these rows.

use anyhow::{Context, bail};
use sqlx::Connection;
use tokio::sync::mpsc;

use super::world::World;
use crate::{
    accounts::email_key,
    batcher::{Kind, Trouble},
    clock::Clock,
    id::{OrderId, PaymentId},
    orders::{self, Buyer, Placing, Recent, Request, Source, Wish},
    payments::{Attempt, Completing, Means, Settle, Way},
    secrets::Purpose,
    words::Language,
};

/// Sells `count` orders, placing and completing beside each other on a connection each; sales a second.
pub(super) async fn sell(world: &World, count: u32, round: u32) -> anyhow::Result<f64> {
    let now = Clock::System.now();
    let requests: Vec<Request> = (0..count)
        .map(|n| {
            let email = format!("floor{round}-{n}@mail.example");
            Request {
                order_id: OrderId::fresh(world.festival, now),
                email_key: email_key(&email),
                key_hash: orders::short_hash(&[b"floor", &round.to_be_bytes(), &n.to_be_bytes()]),
                fingerprint: [0; 16],
                buyer: Buyer { email, name: "Mara Lindqvist".to_owned(), language: Language::En },
                basket: vec![Wish { offer_id: world.offer, quantity: 1 }],
                refusal: None,
                voucher: None,
                expected_minor: None,
                source: Source::Public,
                arrived_at: now,
            }
        })
        .collect();
    let begin = std::time::Instant::now();
    let (placed, mut to_pay) = mpsc::channel::<Vec<Settle>>(4);
    let place = async {
        for batch in requests.chunks(Placing::MOST) {
            let mut paid = Vec::with_capacity(batch.len());
            for answer in commit::<Placing>(world, batch).await? {
                let order = answer.context("the floor could not place an order")?;
                world.app.the::<Recent>().keep(&order);
                paid.push(Settle::New(Attempt {
                    payment_id: PaymentId::fresh(world.festival, now),
                    order_id: order.order_id,
                    secret: world.app.secrets.link(Purpose::OrderLink, order.order_id.0, 0),
                    key_hash: *order.order_id.0.as_bytes(),
                    means: Means::Way(Way::SimulatedInstant),
                    account_id: None,
                    arrived_at: now,
                }));
            }
            if placed.send(paid).await.is_err() {
                bail!("completing ended early");
            }
        }
        drop(placed);
        Ok(())
    };
    let complete = async {
        while let Some(batch) = to_pay.recv().await {
            for answer in commit::<Completing>(world, &batch).await? {
                answer.context("the floor could not complete an order")?;
            }
        }
        Ok(())
    };
    tokio::try_join!(place, complete)?;
    Ok(f64::from(count) / begin.elapsed().as_secs_f64())
}

/// One batch in one transaction; a batch that decided on a state that changed is run again.
async fn commit<K: Kind>(world: &World, batch: &[K::Request]) -> anyhow::Result<Vec<K::Answer>> {
    for _ in 0..3 {
        let mut conn = K::pool(&world.app).acquire().await?;
        let mut tx = conn.begin().await?;
        match K::run(&world.app, &mut tx, world.festival, batch).await {
            Ok(answers) => {
                tx.commit().await?;
                return Ok(answers);
            }
            Err(Trouble::Again) => tx.rollback().await?,
            Err(error) => return Err(error.into()),
        }
    }
    bail!("a batch of the floor met other writers three times")
}

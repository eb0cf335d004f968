//! Pages under load: requests a second of what an opening is mostly made of, people who look and people who wait, beside an empty handler of the
//! framework in a process of its own, in turn and in one run.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use chrono::TimeDelta;
use hyper::Method;
use poem::{Route, get, handler};
use serde::Serialize;
use serde_json::Value;
use tokio::task::JoinSet;

use super::{
    Bench, Server,
    client::{Client, address_of},
    say,
    world::World,
};
use crate::{
    money::Money,
    offers::{self, NewComponent, NewOffer, NewTier, OfferTerms, TaxKind},
    waiting,
    words::Text,
};

/// Connections that ask without a pause.
const CROWD: usize = 64;
/// How long one thing is asked for in a round.
const ROUND: Duration = Duration::from_secs(4);
/// How many people come into the waiting room, and from how many addresses.
const PEOPLE: usize = 100_000;
const HOUSEHOLDS: usize = 250;

#[handler]
fn nothing() -> &'static str {
    ""
}

/// Serves an empty handler until the process is ended: what the framework can do on this machine.
pub(super) async fn serve_empty(address: SocketAddr) -> anyhow::Result<()> {
    Ok(poem::Server::new(poem::listener::TcpListener::bind(address)).run(Route::new().at("/", get(nothing))).await?)
}

/// The process with the empty handler.
struct Empty(Child);

impl Drop for Empty {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What is asked for.
#[derive(Clone)]
struct Asked {
    what: &'static str,
    at: SocketAddr,
    path: String,
    headers: Vec<(&'static str, String)>,
}

/// What was measured, requests a second: medians of the rounds.
#[derive(Debug, Serialize)]
pub(super) struct Pages {
    empty: f64,
    pages: Vec<(String, f64)>,
    people: usize,
    /// What the memory of the server grew by for each of them, in bytes.
    bytes_a_person: f64,
    people_per_second: f64,
    pub(super) unexpected: usize,
}

/// Measures.
pub(super) async fn measure(server: &Server, world: &World, bench: &Bench, folder: &Path) -> anyhow::Result<Pages> {
    let room = waiting_offer(world).await?;
    let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let empty = Command::new(std::env::current_exe()?)
        .args(["bench", "--empty", &address.to_string(), "--data"])
        .arg(folder.join("empty"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .map(Empty)?;
    while Client::connect(address, address_of(0)).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Servers look for new rooms once a second.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut unexpected = 0;
    let begin_mb = server.memory("VmRSS:");
    say(&format!("{PEOPLE} people come into a waiting room"));
    let begin = Instant::now();
    let place = come(server.address, &format!("/w/{room}"), &mut unexpected).await?;
    let people_per_second = super::per_second(PEOPLE, begin.elapsed());
    #[expect(clippy::cast_precision_loss, reason = "megabytes")]
    let bytes_a_person = server.memory("VmRSS:").saturating_sub(begin_mb) as f64 * 1_048_576.0 / PEOPLE as f64;
    let of = |what, at, path: String, headers: &[(&'static str, &str)]| Asked {
        what,
        at,
        path,
        headers: headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
    };
    let gzip = [("accept-encoding", "gzip")];
    // Who reloads a page brings its cookie.
    let basket =
        Client::connect(server.address, address_of(0)).await?.send_with(Method::GET, "/f/bench", &gzip, &Value::Null).await?.cookie.unwrap_or_default();
    let again = [("accept-encoding", "gzip"), ("cookie", basket.as_str())];
    let cookie = [("accept-encoding", "gzip"), ("cookie", place.as_str())];
    let asked = [
        of("an empty handler", address, "/".to_owned(), &[]),
        of("page of a festival", server.address, "/f/bench".to_owned(), &again),
        of("wall of festivals", server.address, "/".to_owned(), &gzip),
        of("page of a waiting room", server.address, format!("/w/{room}"), &cookie),
        of("a turn, by its script", server.address, format!("/w/{room}/turn"), &cookie),
        of("offers, by API", server.address, format!("/v1/festivals/{}/offers", world.festival.0), &[]),
    ];
    let mut rates = vec![Vec::new(); asked.len()];
    for round in 1..=bench.rounds {
        say(&format!("round {round} of {}: asking for pages", bench.rounds));
        for (rates, asked) in rates.iter_mut().zip(&asked) {
            rates.push(ask(asked, &mut unexpected).await?);
        }
    }
    drop(empty);
    let mut medians = rates.into_iter().map(super::median);
    let empty = medians.next().unwrap_or(0.0);
    let pages = asked.iter().skip(1).map(|asked| asked.what.to_owned()).zip(medians).collect();
    Ok(Pages { empty, pages, people: PEOPLE, bytes_a_person, people_per_second, unexpected })
}

/// An offer that opens in an hour, whose room people are in already.
async fn waiting_offer(world: &World) -> anyhow::Result<String> {
    let (app, now) = (&world.app, world.app.clock.now());
    let first = offers::offers(&app.pools.web, world.festival).await?;
    let component = first.first().and_then(|offer| offer.components.first());
    let new = NewOffer {
        terms: OfferTerms {
            name: Text::en("Later"),
            about: Text::default(),
            sort: 1,
            opens_at: Some(now + TimeDelta::hours(1)),
            closes_at: None,
            paused: None,
            max_per_order: 4,
            max_per_fan: None,
            hidden: false,
        },
        capacity: Some(1_000),
        tiers: vec![NewTier { name: Text::en("Now"), price: Money::new(14_900, "EUR".parse()?), until_at: None, capacity: None }],
        components: component
            .map(|c| NewComponent { pass_id: c.pass_id, release_id: c.release_id, add_on_id: None, weight: 1, tax_kind: TaxKind::Fixed, tax_ppm: 90_000 })
            .into_iter()
            .collect(),
        requirements: Vec::new(),
        stocks: Vec::new(),
    };
    let offer = offers::add_offer(app, &world.staff, world.festival, &new, None).await?.offer_id;
    waiting::open(app, &world.staff, offer, now - TimeDelta::minutes(1)).await?;
    Ok(offer.to_string())
}

/// Everybody comes once, without a cookie; the cookie of the last of them.
async fn come(to: SocketAddr, path: &str, unexpected: &mut usize) -> anyhow::Result<String> {
    let mut crowd = JoinSet::new();
    for number in 0..HOUSEHOLDS {
        let (path, mut client) = (path.to_owned(), Client::connect(to, address_of(number * 64)).await?);
        crowd.spawn(async move {
            let (mut wrong, mut place) = (0, String::new());
            for _ in 0..PEOPLE / HOUSEHOLDS {
                let answer = client.send_with(Method::GET, &path, &[("accept-encoding", "gzip")], &Value::Null).await?;
                wrong += usize::from(answer.status != 200);
                place = answer.cookie.unwrap_or(place);
            }
            Ok::<_, anyhow::Error>((wrong, place))
        });
    }
    let mut place = String::new();
    while let Some(came) = crowd.join_next().await {
        let (wrong, last) = came??;
        *unexpected += wrong;
        place = last;
    }
    Ok(place)
}

/// Asks again and again on every connection; answers a second.
async fn ask(asked: &Asked, unexpected: &mut usize) -> anyhow::Result<f64> {
    let mut crowd = JoinSet::new();
    let begin = Instant::now();
    for number in 0..CROWD {
        let (asked, mut client) = (asked.clone(), Client::connect(asked.at, address_of(number)).await?);
        crowd.spawn(async move {
            let headers: Vec<(&str, &str)> = asked.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let (mut good, mut wrong) = (0_usize, 0_usize);
            while begin.elapsed() < ROUND {
                let answer = client.send_with(Method::GET, &asked.path, &headers, &Value::Null).await?;
                if answer.status == 200 { good += 1 } else { wrong += 1 }
            }
            Ok::<_, anyhow::Error>((good, wrong))
        });
    }
    let mut all = 0;
    while let Some(asked) = crowd.join_next().await {
        let (good, wrong) = asked??;
        all += good;
        *unexpected += wrong;
    }
    Ok(super::per_second(all, begin.elapsed()))
}

/// Prints them beside the empty handler.
pub(super) fn print(pages: &Pages) {
    println!("\n  {:<28} {:>12} {:>10}", format!("{CROWD} connections"), "requests/s", "of empty");
    println!("  {:<28} {:>12.0}", "an empty handler", pages.empty);
    for (what, rate) in &pages.pages {
        println!("  {what:<28} {rate:>12.0} {:>10.2}", rate / pages.empty);
    }
    println!(
        "\n  {} people came into a waiting room, {:.0} a second; the server took {:.0} bytes for each of them; unexpected answers: {}",
        pages.people, pages.people_per_second, pages.bytes_a_person, pages.unexpected
    );
}

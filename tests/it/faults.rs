//! What breaks: the process dies by kill -9 amid orders, a folder is taken. The clients keep the
//! books: every answer they got has to hold afterwards.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use crate::{
    actors::{Answer, Anybody, Fan, Festival, Promoter, key},
    sale::all,
};

/// A command of the shipped program in a folder.
fn gatefold(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatefold"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GATEFOLD_") || name == "DATABASE_URL" {
            command.env_remove(name);
        }
    }
    command.args(arguments).arg("--data").arg(folder).stdin(Stdio::null());
    command
}

pub fn run(folder: &Path, arguments: &[&str]) -> Output {
    gatefold(folder, arguments).output().unwrap()
}

/// Waits for a condition, at most so long; how long it took.
pub async fn until(what: &str, bound: Duration, mut holds: impl AsyncFnMut() -> bool) -> Duration {
    let begin = Instant::now();
    while !holds().await {
        assert!(begin.elapsed() < bound, "{what} took longer than {bound:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    begin.elapsed()
}

/// The shipped program, serving a folder with a Postgres of its own.
pub struct Served {
    folder: PathBuf,
    pub port: u16,
    pub child: Child,
}

impl Served {
    /// Starts and waits until it is ready; how long that took.
    pub async fn start(folder: &Path, port: u16) -> (Self, Duration) {
        Self::start_with(folder, port, &[]).await
    }

    /// Starts with more settings, such as a `DATABASE_URL`.
    pub async fn start_with(folder: &Path, port: u16, settings: &[(&str, String)]) -> (Self, Duration) {
        let log = std::fs::File::options().create(true).append(true).open(log_of(folder)).unwrap();
        let url = format!("http://127.0.0.1:{port}");
        let child = gatefold(folder, &["serve", "--simulated-payments", "--listen", &url[7..]])
            .env("GATEFOLD_PUBLIC_URL", &url)
            .env("RUST_LOG", "warn")
            .envs(settings.iter().cloned())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut served = Self { folder: folder.to_owned(), port, child };
        let http = served.anybody();
        let took = until("the start", Duration::from_secs(120), async || {
            if let Some(status) = served.child.try_wait().unwrap() {
                panic!("the server ended with {status}: {}", std::fs::read_to_string(log_of(&served.folder)).unwrap());
            }
            http.request("GET", "/readyz").send().await.is_ok_and(|answer| answer.status() == 200)
        })
        .await;
        (served, took)
    }

    pub fn anybody(&self) -> Anybody {
        Anybody { client: crate::house::http().build().unwrap(), url: format!("http://127.0.0.1:{}", self.port) }
    }

    /// kill -9.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn terminate(&self) {
        signal("TERM", &[self.child.id()]);
    }

    /// What it wrote until now.
    pub fn log(&self) -> String {
        std::fs::read_to_string(log_of(&self.folder)).unwrap()
    }

    pub async fn end(&mut self) -> ExitStatus {
        until("the drain", Duration::from_secs(40), async || self.child.try_wait().unwrap().is_some()).await;
        self.child.wait().unwrap()
    }

    /// The processes of the cluster of this folder.
    fn cluster(&self) -> Vec<u32> {
        processes_of(&self.folder.join("postgres"))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to processes.
pub fn signal(name: &str, processes: &[u32]) {
    let ids: Vec<String> = processes.iter().map(u32::to_string).collect();
    let outcome = Command::new("sh").args(["-c", &format!("kill -{name} {}", ids.join(" "))]).status().unwrap();
    assert!(outcome.success(), "kill -{name} {ids:?}");
}

/// The processes that work in the folder of a cluster.
pub fn processes_of(cluster: &Path) -> Vec<u32> {
    let cluster = cluster.canonicalize().unwrap();
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    processes.filter(|pid: &u32| std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == cluster)).collect()
}

fn log_of(folder: &Path) -> PathBuf {
    folder.with_extension("log")
}

/// A folder of its own that the unprivileged user of Postgres can reach.
pub fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    let _ = std::fs::remove_file(log_of(&folder));
    folder
}

/// Removes a folder. A Postgres that is ending may still write its last files: it has ten seconds.
pub fn forget(folder: &Path) {
    let begin = Instant::now();
    while let Err(error) = std::fs::remove_dir_all(folder) {
        assert!(begin.elapsed() < Duration::from_secs(10), "{}: {error}", folder.display());
        std::thread::sleep(Duration::from_millis(50));
    }
    std::fs::remove_file(log_of(folder)).unwrap();
}

pub fn a_free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn festival(served: &Served) -> Festival {
    let invited = run(&served.folder, &["invite", "--promoter", "Night Ferry Foundation", "--email", "owner@ferry.example"]);
    let text = String::from_utf8(invited.stdout).unwrap();
    assert!(invited.status.success(), "{text}{}", String::from_utf8_lossy(&invited.stderr));
    let token = text.lines().find_map(|line| line.strip_prefix("API token ")).unwrap_or_else(|| panic!("no API token in {text}")).trim().to_owned();
    Promoter { http: served.anybody(), token }.festival("night-ferry").await
}

/// What a client knows of a request.
#[derive(Clone, Debug)]
pub enum Known {
    Answered(Answer),
    /// It was on its way when the connection broke.
    Cut,
    /// It never left.
    Unsent,
}

pub async fn ask(request: reqwest::RequestBuilder) -> Known {
    let broken = |error: &reqwest::Error| if error.is_connect() { Known::Unsent } else { Known::Cut };
    let response = match request.timeout(Duration::from_secs(30)).send().await {
        Ok(response) => response,
        Err(error) => return broken(&error),
    };
    let status = response.status().as_u16();
    let retry_after = response.headers().get("retry-after").and_then(|v| v.to_str().ok()).map(str::to_owned);
    match response.json::<Value>().await {
        Ok(mut body) => {
            body.as_object_mut().unwrap().remove("request_id");
            Known::Answered(Answer { status, body, retry_after })
        }
        Err(_) => Known::Cut,
    }
}

/// Asks until there is an answer that is not `come back later`.
pub async fn ask_again(request: impl Fn() -> reqwest::RequestBuilder) -> Answer {
    let begin = Instant::now();
    loop {
        match ask(request()).await {
            Known::Answered(answer) if answer.status != 503 => return answer,
            other => assert!(begin.elapsed() < Duration::from_secs(60), "no answer: {other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// One buyer's book: what was asked for, and what is known of it.
#[derive(Clone, Debug)]
pub struct Book {
    pub email: String,
    pub key: String,
    pub pay_key: String,
    pub units: i64,
    pub pays: bool,
    pub order: Known,
    pub payment: Option<Known>,
}

impl Book {
    pub fn new(number: usize) -> Self {
        let units = i64::try_from(1 + number % 3).unwrap();
        Self { email: format!("fan{number}@x.example"), key: key(), pay_key: key(), units, pays: number.is_multiple_of(2), order: Known::Unsent, payment: None }
    }

    pub fn place(&self, http: &Anybody, offer: &str) -> reqwest::RequestBuilder {
        let body = json!({ "email": self.email, "lines": [{ "offer_id": offer, "quantity": self.units }] });
        http.request("POST", "/v1/orders").header("idempotency-key", &self.key).json(&body)
    }

    pub fn placed(&self) -> Option<&Value> {
        match &self.order {
            Known::Answered(answer) if answer.status == 201 => Some(&answer.body),
            _ => None,
        }
    }

    pub fn fan(&self, http: &Anybody) -> Fan {
        let order = self.placed().unwrap();
        Fan { http: http.clone(), order: order["order_id"].as_str().unwrap().to_owned(), secret: order["secret"].as_str().unwrap().to_owned() }
    }

    pub fn pay(&self, http: &Anybody) -> reqwest::RequestBuilder {
        self.fan(http).request("POST", "/payments").header("idempotency-key", &self.pay_key).json(&json!({ "way": "simulated_instant" }))
    }

    async fn buy(mut self, http: Anybody, offer: String, answered: Arc<AtomicUsize>) -> Self {
        self.order = ask(self.place(&http, &offer)).await;
        if self.placed().is_some() && self.pays {
            self.payment = Some(ask(self.pay(&http)).await);
        }
        if matches!(self.order, Known::Answered(_)) {
            answered.fetch_add(1, Ordering::Relaxed);
        }
        self
    }

    /// What was without an answer is asked again; then everything is asked once more and has to be answered alike.
    async fn resolve(mut self, http: Anybody, offer: String) -> Self {
        let unknown = !matches!(&self.order, Known::Answered(answer) if answer.status != 503);
        if unknown {
            self.order = Known::Answered(ask_again(|| self.place(&http, &offer)).await);
        }
        let Known::Answered(first) = &self.order else { unreachable!() };
        assert!(first.status == 201 || first.problem() == "sold-out", "{first:?}");
        if unknown || first.status == 201 {
            let again = ask_again(|| self.place(&http, &offer)).await;
            assert_eq!((first.status, &first.body), (again.status, &again.body), "{}", self.email);
        }
        if self.placed().is_some() && self.pays {
            let paid = ask_again(|| self.pay(&http)).await.expect(201);
            let again = ask_again(|| self.pay(&http)).await.expect(201);
            assert_eq!((&paid["payment_id"], &paid["status"]), (&again["payment_id"], &json!("captured")));
            if let Some(Known::Answered(first)) = &self.payment
                && first.status == 201
            {
                assert_eq!(first.body["payment_id"], paid["payment_id"]);
            }
        }
        self
    }
}

/// Sends orders and kills the server when some of them were answered.
async fn buy_until_killed(served: &mut Served, offer: &str, buyers: usize, kill_after: usize) -> Vec<Book> {
    let answered = Arc::new(AtomicUsize::new(0));
    let (http, offer, count) = (served.anybody(), offer.to_owned(), answered.clone());
    let books = stream::iter(0..buyers).map(move |n| Book::new(n).buy(http.clone(), offer.clone(), count.clone()));
    let buying = tokio::spawn(books.buffer_unordered(64).collect::<Vec<_>>());
    until("some answers", Duration::from_secs(60), async || answered.load(Ordering::Relaxed) >= kill_after).await;
    served.kill();
    let books = buying.await.unwrap();
    let count = |wanted: fn(&Known) -> bool| books.iter().filter(|b| wanted(&b.order) || b.payment.as_ref().is_some_and(wanted)).count();
    let (cut, answers) = (count(|k| matches!(k, Known::Cut)), count(|k| matches!(k, Known::Answered(_))));
    println!("killed: {answers} answered, {cut} cut, {} of {} without an order", books.iter().filter(|b| b.placed().is_none()).count(), books.len());
    assert!(cut > 0, "the kill met no request");
    assert!(answers >= kill_after && answers < books.len(), "the kill did not come in the middle");
    books
}

pub async fn resolve(books: Vec<Book>, http: &Anybody, offer: &str) -> Vec<Book> {
    let tasks = stream::iter(books).map(|book| tokio::spawn(book.resolve(http.clone(), offer.to_owned())));
    tasks.buffer_unordered(16).map(Result::unwrap).collect().await
}

/// Every order of the festival: address and units.
pub async fn all_orders(festival: &Festival) -> Vec<Value> {
    let mut found = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = festival.promoter.get(&festival.path(&format!("/orders?limit=200{cursor}"))).await.expect(200);
        found.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_amid_500_orders_keeps_every_word_it_gave() {
    const CAPACITY: i64 = 700;
    let folder = folder("killed");
    let port = a_free_port();
    let (mut served, _) = Served::start(&folder, port).await;
    let festival = festival(&served).await;
    let pass = festival.pass("Weekend pass", 0b111).await;
    let (rounds, mut known) = (if all() { 20 } else { 1 }, 0);
    for round in 0..rounds {
        let offer = festival.offer(&pass, CAPACITY, 13900).await;
        let books = buy_until_killed(&mut served, &offer, 500, 200 - round * 9).await;
        // The watch-dog of the cluster ends it although nobody told it to.
        until("the end of the orphaned cluster", Duration::from_secs(30), async || served.cluster().is_empty()).await;
        let took;
        (served, took) = Served::start(&folder, port).await;
        assert!(took < Duration::from_secs(10), "ready after {took:?}");
        assert!(!served.cluster().is_empty(), "the processes of a cluster are not found");
        let books = resolve(books, &served.anybody(), &offer).await;

        let http = served.anybody();
        let (mut held, mut sold, mut refused) = (0, 0, 0);
        for book in &books {
            if book.placed().is_none() {
                refused += 1;
                continue;
            }
            let order = book.fan(&http).get("").await.expect(200);
            assert_eq!((&order["status"], &order["lines"][0]["quantity"]), (&json!(if book.pays { "paid" } else { "held" }), &json!(book.units)));
            *if book.pays { &mut sold } else { &mut held } += book.units;
        }
        assert_eq!(books.len(), 500);
        assert!(refused > 0 && held + sold <= CAPACITY, "{refused} refused, {held} held, {sold} sold");
        assert_eq!(festival.stock(&offer).await, (held, sold));
        known += 500 - refused;
        assert_eq!(all_orders(&festival).await.len(), known, "an order that nobody was told of holds stock");
    }

    let checked = run(&folder, &["check"]);
    assert_eq!(checked.status.code(), Some(0), "{}{}", String::from_utf8_lossy(&checked.stdout), String::from_utf8_lossy(&checked.stderr));
    drop(served);
    forget(&folder);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_started_right_after_a_kill_takes_over() {
    let folder = folder("taken-over");
    let port = a_free_port();
    let (mut served, _) = Served::start(&folder, port).await;
    let festival = festival(&served).await;
    for _ in 0..3 {
        let orphans = served.cluster();
        assert!(!orphans.is_empty(), "the processes of a cluster are not found");
        served.kill();
        let took;
        (served, took) = Served::start(&folder, port).await;
        assert!(took < Duration::from_secs(10), "ready after {took:?}");
        assert!(served.cluster().iter().all(|pid| !orphans.contains(pid)), "the cluster of the killed server lives");
        festival.promoter.get(&festival.path("/stocks")).await.expect(200);
    }
    drop(served);
    forget(&folder);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_told_to_stop_finishes_what_it_began() {
    let folder = folder("drained");
    let (mut served, _) = Served::start(&folder, a_free_port()).await;
    let festival = festival(&served).await;
    let pass = festival.pass("Weekend pass", 0b111).await;
    let offer = festival.offer(&pass, 10, 13900).await;

    let second = run(&folder, &["serve", "--listen", "127.0.0.1:0", "--public-url", "http://127.0.0.1:1"]);
    let words = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(2), "{words}");
    assert!(words.contains(&format!("held by process {}", served.child.id())) && words.contains("stop it first"), "{words}");
    assert_eq!(served.anybody().get("/readyz").await.status, 200);

    let address = ("127.0.0.1", served.port);
    let mut begun = TcpStream::connect(address).unwrap();
    begun.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let body = json!({ "email": "mara@x.example", "lines": [{ "offer_id": offer, "quantity": 2 }] }).to_string();
    let head = format!(
        "POST /v1/orders HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\nidempotency-key: {}\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        key(),
        body.len()
    );
    begun.write_all(head.as_bytes()).unwrap();
    let mut answer = [0; 1024];
    let read = begun.read(&mut answer).unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 100"), "{}", String::from_utf8_lossy(&answer[..read]));
    served.terminate();
    until("the end of accepting", Duration::from_secs(10), async || TcpStream::connect(address).is_err()).await;
    begun.write_all(body.as_bytes()).unwrap();
    let mut text = String::new();
    begun.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 201"), "{text}");

    assert_eq!(served.end().await.code(), Some(0));
    assert_eq!(served.cluster(), Vec::<u32>::new(), "the cluster outlives its server");
    let checked = run(&folder, &["check"]);
    assert_eq!(checked.status.code(), Some(0), "{}{}", String::from_utf8_lossy(&checked.stdout), String::from_utf8_lossy(&checked.stderr));
    drop(served);
    forget(&folder);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_opens_for_an_ordinary_user_and_closes_when_it_is_told_to() {
    use std::os::unix::{fs::chown, process::CommandExt};
    const NOBODY: u32 = 65_534;
    let log = crate::house::folder().join("demo.out");
    let room = crate::house::folder().join("demo");
    std::fs::create_dir_all(&room).unwrap();
    let mut demo = std::process::Command::new(env!("CARGO_BIN_EXE_gatefold"));
    demo.args(["demo", "--listen", "127.0.0.1:0", "--data"]).arg(&room).env("HOME", &room).stdin(Stdio::null());
    // As root we become nobody: Postgres and everything else then runs as an ordinary user.
    if chown(&room, Some(NOBODY), Some(NOBODY)).is_ok() {
        demo.uid(NOBODY).gid(NOBODY);
    }
    let out = std::fs::File::create(&log).unwrap();
    let mut running = tokio::process::Command::from(demo).stdout(out.try_clone().unwrap()).stderr(out).kill_on_drop(true).spawn().unwrap();
    let said = || std::fs::read_to_string(&log).unwrap();
    for _ in 0..600 {
        if said().contains("is open") || running.try_wait().unwrap().is_some() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert!(said().contains("is open"), "{}", said());
    let url = said().lines().find_map(|l| l.trim().strip_prefix("buy a pass").map(|l| l.trim().to_owned())).unwrap();
    let page = reqwest::get(&url).await.unwrap().text().await.unwrap();
    assert!(page.contains("夜渡") && page.contains("Harbour Tapes"));
    let check = tokio::process::Command::new(env!("CARGO_BIN_EXE_gatefold")).args(["check", "--data"]).arg(&room).output().await.unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    let told = tokio::process::Command::new("kill").args(["-TERM", &running.id().unwrap().to_string()]).status().await.unwrap();
    assert!(told.success() && running.wait().await.unwrap().success());
}

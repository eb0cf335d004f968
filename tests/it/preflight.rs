//! The look before the night: through TLS, name server, mail server and backup as they are, and each of them broken once.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
};

use chrono::{Datelike, TimeDelta, Utc};
use gatefold::{accounts, embedded, words::Language};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use serde_json::{Value, json};
use sqlx::{
    Connection, Executor,
    postgres::{PgConnectOptions, PgConnection},
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream, UdpSocket},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    actors::{Festival, Promoter},
    house::{folder, fresh_database},
    mail,
    servers::{Server, gatefold},
};

/// A door with a certificate for localhost that holds so many days, in front of a server; its port, and the file of its authority.
async fn tls_door(name: &str, days: i64, to: String) -> (u16, PathBuf) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let date = |days: i64| {
        let at = Utc::now() + TimeDelta::days(days);
        date_time_ymd(at.year(), u8::try_from(at.month()).unwrap(), u8::try_from(at.day()).unwrap())
    };
    let mut leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    (leaf.not_before, leaf.not_after) = (date(-3), date(days));
    let key = KeyPair::generate().unwrap();
    let certificate = leaf.signed_by(&key, &issuer).unwrap();
    let file = folder().join(format!("preflight-{name}.pem"));
    std::fs::write(&file, issuer.pem()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    let (acceptor, listener) = (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, to) = (acceptor.clone(), to.clone());
            tokio::spawn(async move {
                let (Ok(mut outside), Ok(mut inside)) = (acceptor.accept(stream).await, TcpStream::connect(to).await) else { return };
                let _ = copy_bidirectional(&mut outside, &mut inside).await;
            });
        }
    });
    (port, file)
}

/// A name server that knows these texts and nothing else (RFC 1035, 4).
async fn name_server(texts: &'static [(&'static str, &'static str)]) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut question = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut question).await {
            let asked = &question[12..length];
            let (mut name, mut at) = (Vec::new(), 0);
            while asked[at] > 0 {
                let label = &asked[at + 1..=at + usize::from(asked[at])];
                name.push(String::from_utf8_lossy(label).to_lowercase());
                at += 1 + label.len();
            }
            let name = name.join(".");
            let found: Vec<&str> = texts.iter().filter(|(of, _)| *of == name).map(|(_, text)| *text).collect();
            let known = texts.iter().any(|(of, _)| *of == name);
            let mut answer = question[..2].to_vec();
            answer.extend([0x81, if known { 0x80 } else { 0x83 }, 0, 1, 0, u8::try_from(found.len()).unwrap(), 0, 0, 0, 0]);
            answer.extend(&asked[..at + 5]);
            for text in found {
                answer.extend([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60, 0]);
                answer.extend([u8::try_from(text.len() + 1).unwrap(), u8::try_from(text.len()).unwrap()]);
                answer.extend(text.as_bytes());
            }
            socket.send_to(&answer, from).await.unwrap();
        }
    });
    address
}

const NAMES: &[(&str, &str)] = &[
    ("ferry.example", "v=spf1 ip4:192.0.2.1 -all"),
    ("ferry.example", "another text"),
    ("mail._domainkey.ferry.example", "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS"),
    ("_dmarc.ferry.example", "v=DMARC1; p=quarantine"),
];

/// A festival a week before its opening, with everything that the night needs.
struct Evening {
    name: String,
    owner: PgConnectOptions,
    database: PgConnection,
    server: Server,
    festival: Festival,
}

impl Evening {
    async fn open(name: &str) -> Self {
        let owner = fresh_database(&format!("preflight_{name}")).await;
        let mut database = PgConnection::connect_with(&owner).await.unwrap();
        let invited = accounts::invite(&mut database, "Night Ferry Foundation", "owner@ferry.example", Language::En, Utc::now()).await.unwrap();
        let server = Server::start(&format!("preflight-{name}"), &owner, true).await;
        let festival = Promoter { http: server.anybody(), token: invited.token }.festival("night-ferry").await;
        let pass = festival.pass("Night pass", 0b111).await;
        let opens = Utc::now() + TimeDelta::days(5);
        let offer = festival
            .offer_of(json!({
                "terms": { "name": { "en": "Night pass" }, "opens_at": opens, "max_per_order": 4 }, "capacity": 300,
                "tiers": [{ "name": { "en": "Now" }, "price": { "minor": 13900, "currency": "EUR" } }],
                "components": [{ "pass_id": pass, "weight": 1, "tax_kind": "fixed", "tax_ppm": 90000 }]
            }))
            .await;
        let promoter = &festival.promoter;
        promoter.send("PUT", &format!("/v1/offers/{offer}/waiting-room"), &json!({ "gathers_at": opens - TimeDelta::hours(1) })).await.expect(200);
        promoter.send("PUT", &festival.path("/freeze"), &json!({ "until": opens + TimeDelta::hours(2) })).await.expect(200);
        for _ in 0..2 {
            festival.device().await;
        }
        Self { name: name.to_owned(), owner, database, server, festival }
    }

    /// Writes a backup as an operator does.
    async fn back_up(&self) -> PathBuf {
        let file = folder().join(format!("preflight-{}.dump", self.name));
        let mut dump = tokio::process::Command::new(embedded::tool("pg_dump").unwrap());
        dump.arg("--format=custom").arg("--file").arg(&file).args(["--username", self.owner.get_username(), "--dbname", self.owner.get_database().unwrap()]);
        assert!(dump.arg("--host").arg(self.owner.get_socket().unwrap()).status().await.unwrap().success());
        file
    }

    /// Runs the command; whether it found the night safe, and what it found by name.
    async fn look(&self, url: &str, authority: &Path, smtp: &str, names: SocketAddr, backup: &Path) -> (bool, Value) {
        let (names, backup) = (names.to_string(), backup.display().to_string());
        let mut command = gatefold(
            &format!("preflight-{}", self.name),
            &self.owner,
            &[
                "preflight",
                "--festival",
                "night-ferry",
                "--public-url",
                url,
                "--server",
                &self.server.url[7..],
                "--smtp",
                smtp,
                "--mail-from",
                "Night Ferry <tickets@ferry.example>",
                "--dkim-selector",
                "mail",
                "--name-server",
                &names,
                "--backup",
                &backup,
                "--json",
            ],
        );
        command.env("SSL_CERT_FILE", authority).stdout(Stdio::piped()).stderr(Stdio::piped());
        let done = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let found: Vec<Value> = serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&done.stderr)));
        let by_name = found.iter().map(|f| (f["name"].as_str().unwrap().to_owned(), json!([f["level"], f["detail"]])));
        (done.status.success(), Value::Object(by_name.collect()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn before_an_opening_everything_is_looked_at_from_where_fans_stand() {
    let mut evening = Evening::open("good").await;
    let (port, authority) = tls_door("good", 90, evening.server.url[7..].to_owned()).await;
    let (smtp, _kept) = mail::server("preflight").await;
    let names = name_server(NAMES).await;
    let backup = evening.back_up().await;
    let url = format!("https://localhost:{port}");
    let (safe, found) = evening.look(&url, &authority, &smtp, names, &backup).await;
    assert!(safe, "{found:#}");
    for (name, level) in [
        ("migrations", "good"),
        ("durability", "good"),
        ("certificate", "good"),
        ("public address", "good"),
        ("mail server", "good"),
        ("SPF", "good"),
        ("DKIM", "good"),
        ("DMARC", "good"),
        ("Night pass", "good"),
        ("freeze", "good"),
        ("North Quay", "good"),
        ("purchase", "good"),
        ("backup", "good"),
        ("disk", "odd"),
    ] {
        assert_eq!(found[name][0], level, "{name}: {found:#}");
    }
    assert!(found["purchase"][1].as_str().unwrap().contains("1 tickets"), "{}", found["purchase"]);
    // Nothing of the purchase stays, nothing of the backup.
    let left: (i64, i64, i64) = sqlx::query_as(
        "select (select count(*) from orders), (select count(*) from festivals where rehearsal_of is not null), (select count(*) from pg_database where datname like current_database() || '_preflight%')",
    )
    .fetch_one(&mut evening.database)
    .await
    .unwrap();
    assert_eq!(left, (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_night_would_fail_on_is_found() {
    let mut evening = Evening::open("bad").await;
    let (port, authority) = tls_door("bad", 10, evening.server.url[7..].to_owned()).await;
    let names = name_server(&[("ferry.example", "v=spf1 -all"), ("ferry.example", "v=spf1 mx -all"), ("mail._domainkey.ferry.example", "v=DKIM1; p=")]).await;
    let promoter = &evening.festival.promoter;
    promoter.send("PUT", &evening.festival.path("/pause"), &json!({ "sentence": { "en": "A storm." } })).await.expect(200);
    // A counter that drifted, in the backup.
    evening.database.execute("update stocks set sold = 3").await.unwrap();
    let backup = evening.back_up().await;
    let url = format!("https://localhost:{port}");
    let (safe, found) = evening.look(&url, &authority, "smtp://127.0.0.1:9", names, &backup).await;
    assert!(!safe);
    for (name, says) in [
        ("certificate", "ends within three weeks"),
        ("mail server", ""),
        ("SPF", "2 records"),
        ("DKIM", "holds no key"),
        ("DMARC", "has no policy"),
        ("festival", "is paused: A storm."),
        ("backup", "1 breaches of stock-equals-allocations"),
    ] {
        assert_eq!(found[name][0], "bad", "{name}: {found:#}");
        assert!(found[name][1].as_str().unwrap().contains(says), "{name}: {found:#}");
    }
    // Another authority, a backup that was cut, a server that is gone.
    let (expired, wrong) = tls_door("expired", -1, evening.server.url[7..].to_owned()).await;
    let cut = folder().join("preflight-cut.dump");
    let whole = std::fs::read(&backup).unwrap();
    std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    evening.server.stop();
    let (safe, found) = evening.look(&format!("https://localhost:{expired}"), &wrong, "smtp://127.0.0.1:9", names, &cut).await;
    assert!(!safe);
    for (name, says) in [("certificate", "xpired"), ("purchase", "cannot be reached"), ("backup", "pg_restore")] {
        assert_eq!(found[name][0], "bad", "{name}: {found:#}");
        assert!(found[name][1].as_str().unwrap().contains(says), "{name}: {found:#}");
    }
    let (_, found) = evening.look(&url, &wrong, "smtp://127.0.0.1:9", names, &cut).await;
    assert!(found["certificate"][1].as_str().unwrap().contains("invalid peer certificate"), "{found:#}");
}

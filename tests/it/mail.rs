//! Emails: one confirmation of an order, readable by machines that we did not write, sent to a server that somebody else wrote.

use std::{path::PathBuf, process::Stdio};

use gatefold::mailer::Mailer;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::{
    actors::key,
    house::{House, folder},
    releases::bundle,
};

/// aiosmtpd: keeps what it gets, refuses one recipient for good and another for now.
const SERVER: &str = r#"
import os, socket, sys
from aiosmtpd.controller import Controller
class Keep:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("gone"): return "550 no such mailbox"
        if address.startswith("busy"): return "451 try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"
    async def handle_DATA(self, server, session, envelope):
        n = len(os.listdir(sys.argv[1]))
        with open(os.path.join(sys.argv[1], f"{n:04}.eml"), "wb") as f: f.write(envelope.original_content)
        return "250 kept"
free = socket.socket(); free.bind(("127.0.0.1", 0)); port = free.getsockname()[1]; free.close()
controller = Controller(Keep(), hostname="127.0.0.1", port=port)
controller.start()
print(port, flush=True)
sys.stdin.read()
"#;

/// What Python's own parser reads: headers, parts, and the pictures as files for `zbarimg`.
const PARSER: &str = r#"
import email, email.policy, json, sys
m = email.message_from_binary_file(open(sys.argv[1], "rb"), policy=email.policy.default)
parts, pictures = {}, []
for p in m.walk():
    t = p.get_content_type()
    if t == "image/png":
        path = f"{sys.argv[1]}.{len(pictures)}.png"
        open(path, "wb").write(p.get_content()); pictures.append([p["content-id"], path])
    elif t.startswith("text/"): parts[t] = p.get_content()
print(json.dumps({"subject": m["subject"], "to": m["to"], "id": m["message-id"], "parts": parts, "pictures": pictures}))
"#;

/// The Python that `tests/run` furnished.
pub fn python() -> PathBuf {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/python/bin/python");
    let python = PathBuf::from(std::env::var_os("GATEFOLD_PYTHON").unwrap_or_else(|| own.into()));
    assert!(python.exists(), "{} is missing; run tests/run", python.display());
    python
}

/// A mail server that keeps what it gets in a folder of this name; its address, and what ends it when it is dropped.
pub async fn server(name: &str) -> (String, (PathBuf, Child)) {
    let room = folder().join(format!("smtp-{name}"));
    std::fs::create_dir_all(&room).unwrap();
    let mut server = Command::new(python()).arg("-c").arg(SERVER).arg(&room).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let port = BufReader::new(server.stdout.take().unwrap()).lines().next_line().await.unwrap().unwrap();
    (format!("smtp://127.0.0.1:{port}"), (room, server))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmation_arrives_once_and_its_codes_open_the_gate() {
    let (smtp, (room, _server)) = server("confirmation").await;
    let house = House::with_mailer(Mailer::smtp(&smtp).unwrap()).await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let pass = festival.pass("Weekend pass", 0b111).await;
    let offer = bundle(&festival, &pass, 10).await;
    let mut fans = Vec::new();
    for email in ["mara@lindqvist.example", "gone@nowhere.example", "busy@later.example"] {
        let fan = house.anybody().order(email, &[(&offer, 2)]).await;
        fan.pay(&key(), "simulated_instant").await.expect(201);
        fans.push(fan);
    }
    for _ in 0..3 {
        gatefold::mail::send_due(&house.app).await.unwrap();
    }
    assert_eq!(std::fs::read_dir(&room).unwrap().count(), 1, "one email for the one who can be reached");
    let email = Command::new(python()).arg("-c").arg(PARSER).arg(room.join("0000.eml")).output().await.unwrap();
    let email: serde_json::Value = serde_json::from_slice(&email.stdout).unwrap();
    assert_eq!((email["to"].as_str(), email["subject"].as_str()), (Some("mara@lindqvist.example"), Some("Your tickets for Night Ferry")));
    assert_eq!(email["id"], format!("<confirmation.{}@127.0.0.1>", fans[0].order.replace('-', "")));
    let link = format!("/o/{}/{}", fans[0].order, fans[0].secret);
    for part in ["text/plain", "text/html"] {
        assert!(email["parts"][part].as_str().unwrap().contains(&link), "{part}");
        assert!(email["parts"][part].as_str().unwrap().contains("€298.00"), "{part}");
    }
    let pictures = email["pictures"].as_array().unwrap();
    assert_eq!(pictures.len(), 2);
    house.advance("2026-06-19T18:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap() - house.app.clock.now());
    let device = festival.device().await;
    for picture in pictures {
        let read = Command::new("zbarimg").args(["--quiet", "--raw", "-Sdisable", "-Sqrcode.enable"]).arg(picture[1].as_str().unwrap()).output().await;
        let code = String::from_utf8(read.expect("zbarimg is missing: apt-get install zbar-tools").stdout).unwrap();
        assert_eq!(device.scan(code.trim(), house.app.clock.now()).await.expect(201)["verdict"], "admitted");
        assert_eq!(device.scan(code.trim(), house.app.clock.now()).await.expect(201)["reason"], "already_inside");
    }
    // Refused for good is final, refused for now is tried again.
    let status = |fan: &crate::actors::Fan| {
        let (app, order) = (house.app.clone(), fan.order.parse::<gatefold::id::OrderId>().unwrap());
        async move { gatefold::mail::of_thing(&app.pools.web, order.festival(), order.0).await.unwrap().remove(0) }
    };
    assert_eq!(status(&fans[1]).await.status, "failed");
    let later = status(&fans[2]).await;
    assert_eq!((later.status.as_str(), later.attempts), ("queued", 1));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_mail_server_stops_no_sale() {
    let house = House::with_mailer(Mailer::smtp("smtp://127.0.0.1:9").unwrap()).await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let pass = festival.pass("Weekend pass", 0b111).await;
    let offer = festival.offer(&pass, 10, 13900).await;
    let fan = house.anybody().order("mara@x.example", &[(&offer, 1)]).await;
    fan.pay(&key(), "simulated_instant").await.expect(201);
    gatefold::mail::send_due(&house.app).await.unwrap();
    assert_eq!(fan.tickets().await.len(), 1);
    assert!(house.emails().is_empty());
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_signs_in_by_link_or_digits_once() {
    let house = House::open().await;
    house.promoter("Night Ferry Foundation").await;
    let ask = async |email: &str| {
        let form = house.anybody().request("POST", "/sign-in").header("content-type", "application/x-www-form-urlencoded").body(format!("email={email}"));
        let answer = form.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let (known, page) = ask("night.ferry.foundation%40promoter.example").await;
    let (unknown, other) = ask("stranger%40nowhere.example").await;
    assert_eq!((known, unknown), (200, 200));
    let without_id = |page: &str| page.split("/sign-in/").map(|p| p.chars().skip(36).collect::<String>()).collect::<String>();
    assert_eq!(without_id(&page), without_id(&other), "the answer tells nobody who is known");
    house.run_workers().await;
    let emails = house.emails();
    assert_eq!(emails.len(), 1);
    let link = emails[0].text.lines().find(|l| l.contains("/sign-in/")).unwrap().trim_start_matches(&house.url).to_owned();
    let enter = || house.anybody().request("POST", &link).send();
    let entered = enter().await.unwrap();
    assert_eq!((entered.status().as_u16(), entered.headers()["location"].to_str().unwrap()), (303, "/desk"));
    let cookie = entered.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite"), "{cookie}");
    let desk = house.anybody().request("GET", "/desk").header("cookie", cookie.split(';').next().unwrap()).send().await.unwrap();
    assert!(desk.text().await.unwrap().contains("Night Ferry Foundation"));
    assert_eq!(enter().await.unwrap().status(), 200, "the second time it is a page that says so");
    house.close().await;
}

//! A copy of the database opens nothing: after a journey none of the secrets that somebody saw stands in it, neither as
//! text nor as bytes (10-rules 24).

use chrono::{DateTime, Utc};
use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD, HEXLOWER};
use gatefold::{
    id::{FestivalId, OrderId},
    keys,
    secrets::sha256,
};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection};

use crate::{
    actors::{Fan, key},
    house::{House, opening, secrets},
    releases::bundle,
    stripe::{KEY, SECRET, Stripe, connect},
};

/// Every row of every table as text, bytes as hexadecimal digits; with the roles and the sizes of large objects, which
/// belong to a copy of the cluster. In lower case.
async fn dump(conn: &mut PgConnection) -> String {
    let tables: Vec<String> = sqlx::query_scalar(
        "select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace \
         where c.relkind in ('r', 'p', 'm', 'f') and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast') \
         union all values ('pg_authid'), ('pg_largeobject'), ('pg_db_role_setting') order by 1",
    )
    .fetch_all(&mut *conn)
    .await
    .unwrap();
    assert!(tables.len() > 35, "{tables:?}");
    let mut dump = String::new();
    for table in tables {
        let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!("select t::text from {table} t"))).fetch_all(&mut *conn).await.unwrap();
        dump.extend(rows.into_iter().map(|row| row.to_lowercase() + "\n"));
    }
    dump
}

/// A secret as it could stand in a dump: its text, the bytes of its text, and the bytes that the text writes down.
struct Secret {
    what: String,
    forms: Vec<String>,
}

/// The secrets that were seen.
#[derive(Default)]
struct Seen(Vec<Secret>);

impl Seen {
    fn note(&mut self, what: &str, text: &str) {
        self.note_bytes(what, text, &[]);
    }

    /// Notes a secret whose text writes down bytes.
    fn note_bytes(&mut self, what: &str, text: &str, bytes: &[u8]) {
        assert!(text.len() >= 8, "{what} is too short to be looked for: {text}");
        let mut forms = vec![text.to_lowercase(), HEXLOWER.encode(text.as_bytes()), HEXLOWER.encode(text.to_lowercase().as_bytes())];
        if !bytes.is_empty() {
            forms.push(HEXLOWER.encode(bytes));
        }
        self.0.push(Secret { what: what.to_owned(), forms });
    }

    /// Notes the secret of a link: 16 bytes in base32.
    fn link(&mut self, what: &str, secret: &str) {
        let bytes = BASE32_NOPAD.decode(secret.to_uppercase().as_bytes()).unwrap();
        assert_eq!(bytes.len(), 16, "{what}");
        self.note_bytes(what, secret, &bytes);
    }

    /// Notes a token: whole, and its 32 random bytes.
    fn token(&mut self, what: &str, token: &str) {
        let secret = token.rsplit('_').next().unwrap();
        let bytes = BASE32_NOPAD.decode(secret.to_uppercase().as_bytes()).unwrap();
        assert_eq!(bytes.len(), 32, "{what}");
        self.note_bytes(what, secret, &bytes);
    }

    /// The secrets that stand in a dump.
    fn found_in(&self, dump: &str) -> Vec<&str> {
        self.0.iter().filter(|secret| secret.forms.iter().any(|form| dump.contains(form))).map(|secret| secret.what.as_str()).collect()
    }
}

/// Whether six digits stand somewhere on their own: amid longer numbers they stand by chance.
fn has_digits(dump: &str, digits: &str) -> bool {
    dump.match_indices(digits).any(|(at, _)| {
        let alone = |c: Option<char>| !c.is_some_and(|c| c.is_ascii_alphanumeric());
        alone(dump[..at].chars().next_back()) && alone(dump[at + digits.len()..].chars().next())
    })
}

/// Asks for a sign-in email and returns the path of its link and its digits.
async fn sign_in(house: &House, email: &str) -> (String, String) {
    let form = house.anybody().request("POST", "/sign-in").header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(form.body(format!("email={}", email.replace('@', "%40"))).send().await.unwrap().status(), 200);
    house.run_workers().await;
    let email = house.emails().remove(0);
    let link = email.text.lines().find(|line| line.contains("/sign-in/")).unwrap().trim_start_matches(&house.url).to_owned();
    let digits = email.text.lines().map(|line| line.replace(' ', "")).find(|line| line.len() == 6 && line.bytes().all(|b| b.is_ascii_digit())).unwrap();
    (link, digits)
}

fn last_part(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_that_somebody_saw_stands_in_the_database() {
    let stripe = Stripe::open(opening()).await;
    let house = House::with_stripe(&stripe.url).await;
    let mut seen = Seen::default();
    let promoter = house.promoter("Night Ferry Foundation").await;
    seen.token("the API token", &promoter.token);
    let account = connect(&promoter, KEY).await.expect(200);
    promoter
        .send("POST", &format!("/v1/payment-accounts/{}/webhook-secrets", account["account_id"].as_str().unwrap()), &json!({ "secret": SECRET }))
        .await
        .expect(200);
    seen.note("the key of Stripe", KEY);
    seen.note("the secret of its notifications", SECRET);
    let festival = promoter.festival("night-ferry").await;
    let pass = festival.pass("Weekend pass", 0b111).await;
    let offer = bundle(&festival, &pass, 10).await;

    // A fan orders, pays, shows tickets, plays the album and reads their email. Whoever repeats the request with its key
    // gets the secret of the order again, so the key is a secret, too.
    let (place_key, pay_key) = (key(), key());
    let placed = house.anybody().place(&place_key, "mara@lindqvist.example", &[(&offer, 2)]).await.expect(201);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let fan = Fan { http: house.anybody(), order: text(&placed["order_id"]), secret: text(&placed["secret"]) };
    for key in [&place_key, &pay_key] {
        seen.note_bytes("the key of a request", key, &HEXLOWER.decode(key.replace('-', "").as_bytes()).unwrap());
    }
    seen.link("the secret of the order", &fan.secret);
    fan.pay(&pay_key, "simulated_instant").await.expect(201);
    let tickets = fan.tickets().await;
    for ticket in &tickets {
        let code = text(&ticket["ticket_code"]);
        let bytes = BASE32_NOPAD.decode(&code.as_bytes()[2..]).unwrap();
        seen.note_bytes("a ticket code", &code, &bytes);
        seen.note_bytes("the signature of a ticket code", &code[42..], &bytes[24..]);
        let short = text(&ticket["short_code"]);
        seen.note("a short code", &short);
        seen.note("a short code without its gap", &short.replace(' ', ""));
        let holder = text(&ticket["url"]);
        seen.link("the link of a holder", last_part(&holder));
        assert_eq!(house.http.get(&holder).send().await.unwrap().status(), 200);
    }
    let albums = fan.get("/albums").await.expect(200);
    for address in ["stream_url", "download_url"] {
        let address = text(&albums["items"][0]["tracks"][0][address]);
        seen.note_bytes("the address of a file", last_part(&address), &BASE64URL_NOPAD.decode(last_part(&address).as_bytes()).unwrap()[23..]);
        assert_eq!(house.anybody().request("GET", &address).send().await.unwrap().status(), 200);
    }
    house.run_workers().await;
    assert!(house.emails().iter().any(|email| email.text.contains(&fan.secret)), "the confirmation has the link");

    // A member signs in by an email and lets another one lie.
    let mut digits = Vec::new();
    for enters in [true, false] {
        let (link, six) = sign_in(&house, "night.ferry.foundation@promoter.example").await;
        seen.link("the link of a sign-in", last_part(&link));
        digits.push(six);
        if enters {
            let entered = house.anybody().request("POST", &link).send().await.unwrap();
            let cookie = entered.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
            let session = cookie.split_once('=').unwrap().1.to_owned();
            seen.token("the cookie of a session", &session);
            let desk = house.anybody().request("GET", "/desk").header("cookie", &cookie).send().await.unwrap();
            assert_eq!((desk.status().as_u16(), desk.headers()["location"].to_str().unwrap()), (303, "/desk/night-ferry"), "the only festival is opened");
        }
    }

    // A device is paired and lets somebody in; another code waits.
    house.advance("2026-06-19T18:00:00Z".parse::<DateTime<Utc>>().unwrap() - house.app.clock.now());
    let mut pairings = Vec::new();
    for _ in 0..2 {
        let pairing = promoter.make(&festival.path("/pairings"), json!({ "gate_id": festival.gate })).await;
        pairings.push(text(&pairing["pairing_code"]));
        seen.note("a pairing code", pairings.last().unwrap());
        seen.note("the letters of a pairing code", pairings.last().unwrap().rsplit('-').next().unwrap());
    }
    let device = house.anybody().pair(&pairings[0]).await;
    seen.token("the token of a device", &device.token);
    let code = text(&tickets[0]["ticket_code"]);
    assert_eq!(device.scan(&code, house.app.clock.now()).await.expect(201)["verdict"], "admitted");
    // A code with one letter bent is refused; recording what was shown would record all but one letter of a good one.
    let bent = format!("{}{}", &code[..code.len() - 1], if code.ends_with('A') { "I" } else { "A" });
    assert_eq!(device.scan(&bent, house.app.clock.now()).await.expect(201)["verdict"], "refused");
    seen.note("most of a code that was refused", &bent[..bent.len() - 1]);

    // What nobody sees and everything hangs on: the private key of the tickets, and what the database roles sign in with.
    let festival_id = FestivalId(i32::try_from(festival.id).unwrap());
    let ring = keys::ring(&house.app, festival_id).await.unwrap();
    let private = ring.signer(ring.active().unwrap()).unwrap().to_bytes();
    seen.note_bytes("the private key of the tickets", &HEXLOWER.encode(&private), &private);
    for role in ["gatefold_app", "gatefold_promoter"] {
        seen.note("the password of a role", &secrets().role_password(role));
    }
    seen.note_bytes("the master key", &HEXLOWER.encode(&[42; 32]), &[42; 32]);
    house.run_workers().await;

    let mut conn = house.database().await;
    let dump = dump(&mut conn).await;
    assert_eq!(seen.found_in(&dump), Vec::<&str>::new());
    for six in &digits {
        let spaced = format!("{} {}", &six[..3], &six[3..]);
        assert!(!has_digits(&dump, six) && !has_digits(&dump, &spaced), "the digits of a sign-in");
    }

    // The dump is whole: what is no secret is in it, as text and as bytes.
    let order: OrderId = fan.order.parse().unwrap();
    for known in [fan.order.as_str(), "mara@lindqvist.example", "night-ferry", &order.to_string(), &HEXLOWER.encode(&sha256(device.token.as_bytes()))] {
        assert!(dump.contains(known), "{known} is missing in the dump");
    }
    // The search finds what it looks for: each secret in each of its forms, written into a row.
    for secret in &seen.0 {
        for form in &secret.forms {
            assert!(seen.found_in(&format!("(1,\"\\\\x{form}\",2026)")).contains(&secret.what.as_str()), "{} is not looked for", secret.what);
        }
    }
    assert!(has_digits("(1,123456,2)", "123456") && !has_digits("(1,0123456,2)", "123456"));
    sqlx::Connection::close(conn).await.unwrap();
    house.close().await;
}

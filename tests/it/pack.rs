//! What a gate carries with it: the whole pack, what changed since, and nothing of who bought.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::{
    actors::{Device, Festival, key},
    house::House,
};

/// A pack as a device reads it: written from the description of the format, not with the code of the server.
#[derive(Clone, Debug)]
struct Pack {
    head: Value,
    tickets: Vec<[u8; 18]>,
    admissions: Vec<[u8; 19]>,
    bands: Vec<[u8; 16]>,
    /// By number.
    sealed: BTreeMap<[u8; 8], Vec<u8>>,
}

fn take<'a>(bytes: &mut &'a [u8], n: usize) -> &'a [u8] {
    let (front, rest) = bytes.split_at(n);
    *bytes = rest;
    front
}

fn records<const N: usize>(bytes: &mut &[u8]) -> Vec<[u8; N]> {
    let count = u32::from_be_bytes(take(bytes, 4).try_into().unwrap()) as usize;
    take(bytes, count * N).chunks(N).map(|record| record.try_into().unwrap()).collect()
}

impl Pack {
    fn read(mut bytes: &[u8]) -> Self {
        assert_eq!(take(&mut bytes, 4), b"GFP4");
        let length = u32::from_be_bytes(take(&mut bytes, 4).try_into().unwrap()) as usize;
        let head = serde_json::from_slice(take(&mut bytes, length)).unwrap();
        let (tickets, admissions, bands) = (records(&mut bytes), records(&mut bytes), records(&mut bytes));
        let count = u32::from_be_bytes(take(&mut bytes, 4).try_into().unwrap());
        let mut boxed = |_| {
            let number = take(&mut bytes, 8).try_into().unwrap();
            let length = u16::from_be_bytes(take(&mut bytes, 2).try_into().unwrap());
            (number, take(&mut bytes, length.into()).to_vec())
        };
        let sealed = (0..count).map(&mut boxed).collect();
        let pack = Self { head, tickets, admissions, bands, sealed };
        assert!(bytes.is_empty(), "{} bytes are left", bytes.len());
        pack
    }

    fn to(&self) -> (i64, i64) {
        (self.head["to"]["tickets"].as_i64().unwrap(), self.head["to"]["admissions"].as_i64().unwrap())
    }
}

async fn bytes(device: &Device, query: &str) -> Vec<u8> {
    let response = device.http.request("GET", &format!("/v1/pack{query}")).bearer_auth(&device.token).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/vnd.gatefold.pack");
    response.bytes().await.unwrap().to_vec()
}

async fn pack(device: &Device, query: &str) -> Pack {
    Pack::read(&bytes(device, query).await)
}

async fn since(device: &Device, (tickets, admissions): (i64, i64)) -> Pack {
    pack(device, &format!("?format=4&tickets={tickets}&admissions={admissions}")).await
}

/// The eight bytes of a ticket's number, as they stand in its code.
fn number(ticket: &Value) -> [u8; 8] {
    let code = ticket["ticket_code"].as_str().unwrap();
    let bytes = data_encoding::BASE32_NOPAD.decode(&code.as_bytes()[2..]).unwrap();
    bytes[6..14].try_into().unwrap()
}

/// Packs are believed for a second.
async fn a_second() {
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
}

/// The whole pack once it is as it should be, or as it is after half a minute: it is believed for as long as reading it took, ten times.
async fn whole_that(device: &Device, fits: impl Fn(&Pack) -> bool) -> Pack {
    let begin = std::time::Instant::now();
    loop {
        let whole = pack(device, "?format=4").await;
        if fits(&whole) || begin.elapsed() > std::time::Duration::from_secs(30) {
            return whole;
        }
        a_second().await;
    }
}

async fn sold(house: &House, offer: &str, orders: usize, quantity: i64) -> Vec<Value> {
    let mut tickets = Vec::new();
    for n in 0..orders {
        let fan = house.anybody().order(&format!("fan{n}@example.org"), &[(offer, quantity)]).await;
        fan.pay(&key(), "simulated_instant").await.expect(201);
        tickets.extend(fan.tickets().await);
    }
    house.run_workers().await;
    tickets
}

async fn evening(house: &House) -> (Festival, String) {
    let festival = house.promoter("Ada").await.festival("night-ferry").await;
    let offer = festival.offer(&festival.pass("Weekend", 0b111).await, 500, 5_000).await;
    (festival, offer)
}

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");

/// Holds a module of the page to a table; whether it fits, and what differs.
async fn held_to(script: &str, table: &str, module: &Path) -> (bool, String) {
    let mut node = tokio::process::Command::new("node");
    let done = node.args([format!("{HERE}/it/{script}"), format!("{HERE}/vectors{table}")]).arg(module).output().await.unwrap();
    (done.status.success(), String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr))
}

/// A module of the page fits its table, and each of some mistakes in it is found by a line of the table.
async fn fits(script: &str, table: &str, module: &str, mistakes: &[(&str, &str)]) {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web/assets").join(module);
    let (fits, said) = held_to(script, table, &module).await;
    assert!(fits, "{said}");
    let text = std::fs::read_to_string(&module).unwrap();
    for (right, wrong) in mistakes {
        assert!(text.contains(right), "{right}");
        // Whichever test comes first makes the folder.
        std::fs::create_dir_all(crate::house::folder()).unwrap();
        let broken = crate::house::folder().join(format!("broken-{script}"));
        std::fs::write(&broken, text.replacen(right, wrong, 1)).unwrap();
        let (fits, said) = held_to(script, table, &broken).await;
        assert!(!fits, "{wrong} instead of {right}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_decides_as_the_server_does() {
    let mistakes = [
        ("rules.instruction ?? (ticket.has_note ? \"note\" : null)", "rules.instruction ?? null"),
        ("rules.instruction ?? (ticket.has_note ? \"note\" : null)", "ticket.has_note ? \"note\" : rules.instruction"),
        ("at < d.closes_at", "at <= d.closes_at"),
        ("15 * 60_000", "16 * 60_000"),
        ("&& !e.undone_at", ""),
        ("&& e.is_own &&", "&&"),
        ("e.entry_no ? least : e", "e.entry_no ? e : least"),
        ("&& zone_id && rules.zone_ids", "&& rules.zone_ids"),
        ("if (presented.kind === \"look\") return admitted(null);", ""),
        ("presented.checked !== \"yes\"", "!presented.checked"),
        ("ticket.kind === \"pass\" ?", "true ?"),
        ("at < w.until_at", "at <= w.until_at"),
        ("(current && isOf(current) && current) || ", "current || "),
        ("!w.gate_ids?.length || ", "!w.gate_ids?.length && "),
        ("counted >= most", "counted > most"),
        ("hasLeft && living.findLast(isOpen)", "null"),
        ("|| presented.lifts?.because === \"left_unscanned\"", ""),
        ("(holds(outsideOfDays) ? undefined : dayOutside(ticket.day_mask, ground.days, at))", "undefined"),
        (".at(-1) ?? days[0]", ".at(0) ?? days[0]"),
        ("at < d.opens_at && (dayMask >> d.day_index) & 1", "at < d.opens_at"),
        ("const index = day ?? (holds(outsideOfDays) ?", "const index = day ?? (false ?"),
        ("holds(\"wrong_day\") && ", ""),
        ("holds(\"wrong_gate\") && ", ""),
        ("holds(\"wrong_zone\") && ", ""),
        ("closed && holds(closed)", "closed"),
        ("bar && holds(bar[0])", "bar"),
        ("holds(\"needs_companion\") && ", ""),
        ("&& isOverridable(reason)", ""),
        ("presented.kind === \"entry\" && isOverridable", "isOverridable"),
        ("first: decision.first ?? first", "first: decision.first"),
        ("presented.lifts?.reasons.includes(reason) && ", "presented.lifts && "),
        ("\"wrong_day\", \"cancelled", "\"zone_full\", \"cancelled"),
        ("entry.entered_at < c.clears_at", "entry.entered_at <= c.clears_at"),
        ("c.clears_at <= at)", "c.clears_at < at)"),
        ("at < c.readmits_until", "at <= c.readmits_until"),
        ("e.entered_at >= since", "true"),
        ("const isBack = since !== null &&", "const isBack = since !== null ||"),
        ("presented.places + own", "presented.places"),
        ("(before.zone_id ?? null) === (zone_id ?? null)", "true"),
        ("place ? \"after_exit\" : rules.reentry", "rules.reentry"),
        ("zone && ground.inner.includes(zone) ? zone : null", "null"),
        ("(!h.ended_at || at < h.ended_at)", "!h.ended_at"),
        ("presented.places + own <= 0", "presented.places + own < 0"),
        ("presented.company === false", "presented.company"),
        ("rules.is_taken === false", "false"),
        ("&& !places.has(place)", ""),
        ("rules.needs_live_code && !presented.is_live", "rules.needs_live_code"),
        ("rules.needs_live_code && !presented.is_live", "!presented.is_live"),
        ("holds(\"live_code_required\") && rules", "rules"),
        ("&& !presented.is_live && !presented.is_band", "&& !presented.is_live"),
        ("presented.is_band && ticket.status === \"exchanged\"", "ticket.status === \"exchanged\""),
        ("presented.is_band && ticket.status === \"exchanged\"", "presented.is_band"),
        ("presented.is_band && ticket.status === \"valid\"", "false"),
    ];
    fits("decide.mjs", "/decisions.json", "gate-decide.js", &mistakes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_reads_codes_as_the_server_does() {
    let mistakes = [
        ("return bits === 0 ?", "return true ?"),
        ("|| body[19] & 0xfe", ""),
        ("text.length === length && text", "text"),
        ("key.state === \"revoked\"", "false"),
        ("key.state === \"pending\"", "false"),
        ("code.festival_id !== festival", "false"),
        ("gatefold-ticket-v1", "gatefold-ticket-v2"),
        ("if (!(await crypto.subtle.verify(\"Ed25519\", key.imported, code.signature, new Uint8Array(code.signed))))", "if (false)"),
        ("if (code.phone && !(await isShown(code.phone)))", "if (false)"),
        ("gatefold-live-v1", "gatefold-live-v2"),
        ("gatefold-show-v1", "gatefold-show-v2"),
        ("live[0] !== LIVE.kind", "false"),
        ("(live && bytes[19] !== 1)", "false"),
        ("Math.abs(age(seenAt)) <= SECONDS", "Math.abs(age(seenAt)) < SECONDS"),
        ("Math.abs(age(seenAt)) <= SECONDS", "age(seenAt) <= SECONDS"),
        ("Math.abs(age(seenAt)) <= SECONDS &&", ""),
        ("(seenAt === at ? SECONDS : ANSWER_SECONDS)", "SECONDS"),
        ("(seenAt === at ? SECONDS : ANSWER_SECONDS)", "Infinity"),
        ("- phone.at : Infinity", "- phone.at : 0"),
        ("...digest, ...seconds", "...digest"),
    ];
    fits("codes.mjs", "", "gate-code.js", &mistakes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_has_every_ticket_and_its_deltas_what_changed() {
    let house = House::open().await;
    let (festival, offer) = evening(&house).await;
    let tickets = sold(&house, &offer, 4, 2).await;
    let device = festival.device().await;

    let raw = bytes(&device, "?format=4").await;
    let whole = Pack::read(&raw);
    let listed: Vec<[u8; 8]> = whole.tickets.iter().map(|record| record[..8].try_into().unwrap()).collect();
    assert!(listed.is_sorted(), "tickets are sorted by number");
    assert_eq!(listed.iter().copied().collect::<BTreeSet<_>>(), tickets.iter().map(number).collect::<BTreeSet<_>>());
    assert!(whole.tickets.iter().all(|record| record[10..14] == [0, 0b111, 0, 0]), "valid on three days, generation 0");
    let groups: BTreeMap<[u8; 4], usize> = whole.tickets.iter().fold(BTreeMap::new(), |mut groups, record| {
        *groups.entry(record[14..].try_into().unwrap()).or_default() += 1;
        groups
    });
    assert_eq!(groups.into_values().collect::<Vec<_>>(), [2; 4], "two tickets an order");
    let all: Vec<u8> = whole.tickets.iter().flatten().copied().collect();
    assert_eq!(whole.head["digest"], data_encoding::HEXLOWER.encode(&gatefold::secrets::sha256(&all)));
    assert!(whole.admissions.is_empty());
    assert_eq!(whole.head["rules"]["days"].as_array().unwrap().len(), 3);
    assert_eq!(whole.head["rules"]["keys"][0]["state"], "active");
    let text = String::from_utf8_lossy(&raw);
    for private in ["example.org", "fan0", "private", "sealed", "email", "order_id"] {
        assert!(!text.contains(private), "{private} is in the pack");
    }

    // Somebody comes in, and leaves again: the same admission, twice behind the position of the device.
    house.advance("2026-06-19T18:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap() - house.app.clock.now());
    let code = tickets[0]["ticket_code"].as_str().unwrap();
    assert_eq!(device.scan(code, house.app.clock.now()).await.expect(201)["verdict"], "admitted");
    let entered = since(&device, whole.to()).await;
    assert!(entered.tickets.is_empty());
    let gate: uuid::Uuid = festival.gate.parse().unwrap();
    let entered_at = u32::try_from(house.app.clock.now().timestamp()).unwrap().to_be_bytes();
    let admission = |end: [u8; 3]| -> [u8; 19] { [&number(&tickets[0])[..], &end[..], &gate.as_bytes()[8..12], &entered_at[..]].concat().try_into().unwrap() };
    assert_eq!(entered.admissions, [admission([0, 1, 0])]);
    device.scan_as(&uuid::Uuid::now_v7().to_string(), code, house.app.clock.now(), json!({ "kind": "exit" })).await.expect(201);
    // A page of the version before names no format and reads what it knows: no gates, no moments.
    let old = bytes(&device, &format!("?tickets={}&admissions={}", whole.to().0, whole.to().1)).await;
    assert!(old.starts_with(b"GFP1") && old.ends_with(&[&[0, 0, 0, 1][..], &number(&tickets[0])[..], &[0, 1, 1][..]].concat()), "a page of before");
    let left = since(&device, entered.to()).await;
    assert_eq!(left.admissions, [admission([0, 1, 1])]);
    let nothing = since(&device, left.to()).await;
    assert_eq!((nothing.admissions.len(), nothing.tickets.len(), nothing.to(), &nothing.head["more"]), (0, 0, left.to(), &json!(false)));
    assert!(nothing.to().1 > whole.to().1);
    assert_eq!(nothing.head["list_digest"], whole.head["digest"], "nothing is missing");

    // The rules come once, and again when they change.
    let tag = whole.head["rules_tag"].as_str().unwrap();
    assert!(pack(&device, &format!("?format=4&rules={tag}")).await.head.get("rules").is_none());
    festival.promoter.make(&festival.path("/gates"), json!({ "name": { "en": "South Quay" } })).await;
    a_second().await;
    let changed = pack(&device, &format!("?format=4&rules={tag}")).await.head;
    assert_eq!(changed["rules"]["gates"].as_array().unwrap().len(), 2);
    assert_ne!(changed["rules_tag"], tag);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deltas_miss_nothing_while_everybody_buys_and_comes_in() {
    let house = House::open().await;
    let (festival, offer) = evening(&house).await;
    let device = festival.device().await;
    house.advance("2026-06-19T18:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap() - house.app.clock.now());
    let now = house.app.clock.now();
    let crowd = futures_util::future::join_all((0..40).map(|n| {
        let (anybody, device, offer) = (house.anybody(), device.clone(), offer.clone());
        async move {
            // They come over four seconds; what was read behind a position is believed for one.
            tokio::time::sleep(std::time::Duration::from_millis(100 * n)).await;
            let fan = anybody.order(&format!("crowd{n}@example.org"), &[(&offer, 3)]).await;
            fan.pay(&key(), "simulated_instant").await.expect(201);
            for ticket in fan.tickets().await {
                let code = ticket["ticket_code"].as_str().unwrap();
                device.scan(code, now).await.expect(201);
                if n % 2 == 0 {
                    device.scan_as(&uuid::Uuid::now_v7().to_string(), code, now, json!({ "kind": "exit" })).await.expect(201);
                }
            }
        }
    }));
    let (mut tickets, mut admissions) = (BTreeMap::new(), BTreeMap::new());
    let mut merge = |pack: &Pack| {
        tickets.extend(pack.tickets.iter().map(|r| (<[u8; 8]>::try_from(&r[..8]).unwrap(), *r)));
        admissions.extend(pack.admissions.iter().map(|r| (<[u8; 10]>::try_from(&r[..10]).unwrap(), *r)));
        (tickets.len(), admissions.len())
    };
    let (mut at, mut partial, mut crowd) = ((0, 0), 0, std::pin::pin!(crowd));
    loop {
        tokio::select! {
            _ = &mut crowd => break,
            delta = since(&device, at) => {
                at = delta.to();
                partial += usize::from(!delta.tickets.is_empty() || !delta.admissions.is_empty());
                merge(&delta);
            }
        }
    }
    assert!(partial >= 2, "the follower followed: {partial} deltas had something");
    a_second().await;
    let last = since(&device, at).await;
    assert_eq!(merge(&last), (120, 120));
    // A whole pack is believed for as long as reading it took, ten times; its list is kept for a minute.
    house.advance(TimeDelta::seconds(61));
    let mut whole = pack(&device, "?format=4").await;
    let begin = std::time::Instant::now();
    while whole.to() != last.to() {
        assert!(begin.elapsed() < std::time::Duration::from_secs(60), "{:?} after {:?}", whole.to(), last.to());
        a_second().await;
        whole = pack(&device, "?format=4").await;
    }
    assert_eq!(tickets.into_values().collect::<Vec<_>>(), whole.tickets);
    assert_eq!(admissions.into_values().collect::<BTreeSet<_>>(), whole.admissions.iter().copied().collect::<BTreeSet<_>>());
    assert_eq!(whole.admissions.iter().filter(|record| record[10] == 1).count(), 60, "who left has left");
    house.run_workers().await;
    house.close().await;
}

/// The digest of a list, as a device makes it: SHA-256 over its records by number.
fn digest(list: &BTreeMap<[u8; 8], [u8; 18]>) -> String {
    data_encoding::HEXLOWER.encode(&gatefold::secrets::sha256(&list.values().flatten().copied().collect::<Vec<u8>>()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_held_to_its_digest_once_a_minute() {
    let house = House::open().await;
    let (festival, offer) = evening(&house).await;
    let device = festival.device().await;
    let first = sold(&house, &offer, 2, 2).await;
    let whole = pack(&device, "?format=4").await;
    let by_number = |pack: &Pack| pack.tickets.iter().map(|r| (<[u8; 8]>::try_from(&r[..8]).unwrap(), *r)).collect::<BTreeMap<_, _>>();
    let mut list = by_number(&whole);
    assert_eq!(whole.head["digest"], digest(&list));

    // A phone reads the same bytes.
    let folder = crate::house::folder().join("digests");
    std::fs::create_dir_all(&folder).unwrap();
    let keep = async |name: &str, query: &str| std::fs::write(folder.join(name), bytes(&device, query).await).unwrap();
    keep("whole", "?format=4").await;

    // Between two digests: more are sold, one of before is re-issued, twice.
    let reissue = async || {
        let path = format!("/v1/tickets/{}/reissues", first[0]["ticket_id"].as_str().unwrap());
        festival.promoter.send("POST", &path, &json!({ "note": "lost" })).await.expect(200);
    };
    reissue().await;
    let fresh = since(&device, whole.to()).await;
    assert!(fresh.head.get("list_digest").is_none());
    list.extend(by_number(&fresh));
    sold(&house, &offer, 3, 1).await;
    reissue().await;
    house.advance(TimeDelta::seconds(61));

    // The kept list is brought up to date by the first who asks; what is sold from now on comes behind it.
    let held = since(&device, fresh.to()).await;
    list.extend(by_number(&held));
    assert_eq!((held.tickets.len(), &held.head["list_digest"]), (4, &json!(digest(&list))));
    keep("delta", &format!("?format=4&tickets={}&admissions=0", whole.to().0)).await;
    let module = concat!(env!("CARGO_MANIFEST_DIR"), "/src/web/assets/gate-pack.js");
    let script = format!("{HERE}/it/digest.mjs");
    let phone = tokio::process::Command::new("node").args([&script, module]).args([folder.join("whole"), folder.join("delta")]).output().await.unwrap();
    let phone: Value = serde_json::from_slice(&phone.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&phone.stderr)));
    assert_eq!(phone, json!({ "digest": digest(&list), "size": list.len() }));
    sold(&house, &offer, 1, 1).await;
    // A device that was away ends where the digest is, and goes on from there.
    let away = since(&device, (whole.to().0, 0)).await;
    let mut caught_up = by_number(&whole);
    caught_up.extend(by_number(&away));
    assert_eq!((away.to(), &away.head["more"], &away.head["list_digest"]), (held.to(), &json!(true), &json!(digest(&caught_up))));
    let last = since(&device, away.to()).await;
    assert_eq!((last.tickets.len(), last.head.get("list_digest"), &last.head["more"]), (1, None, &json!(false)));

    // A record that a device lost shows.
    caught_up.pop_first();
    assert_ne!(away.head["list_digest"], digest(&caught_up));
    // What a standby never knew is in no digest for longer than a quarter of an hour.
    let turned = "update tickets set position = -position where position = (select min(position) from tickets)";
    let mut database = house.database().await;
    sqlx::query(turned).execute(&mut database).await.unwrap();
    house.advance(TimeDelta::minutes(16));
    let known = since(&device, (whole.to().0, 0)).await.head["list_digest"].clone();
    let anew = whole_that(&device, |whole| whole.tickets.len() == 7).await;
    assert_eq!((&anew.head["digest"], anew.tickets.len()), (&known, 7));
    sqlx::query(turned).execute(&mut database).await.unwrap();
    house.run_workers().await;
    house.close().await;
}

/// Opens a box as a phone does, by the signature of the code that somebody shows.
fn opened(boxed: &[u8], code: &str) -> Option<Value> {
    use aes_gcm::{Aes256Gcm, KeyInit, aead::Aead};
    let bytes = data_encoding::BASE32_NOPAD.decode(&code.as_bytes()[2..]).unwrap();
    let mut key = [0; 32];
    hkdf::Hkdf::<sha2::Sha256>::new(None, &bytes[24..]).expand(b"gatefold-sealed-v1", &mut key).unwrap();
    let plain = Aes256Gcm::new(&key.into()).decrypt(boxed[..12].into(), &boxed[12..]).ok()?;
    Some(serde_json::from_slice(&plain).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_notes_open_by_the_code_alone_and_names_only_for_those_who_compare_them() {
    let house = House::open().await;
    let festival = house.promoter("Ada").await.festival("night-ferry").await;
    let pass = festival.pass("Weekend", 0b111).await;
    let terms = |instruction: Value| json!({ "check_instruction": instruction });
    let personal = festival.pass("Personal", 0b111).await;
    festival.promoter.send("PATCH", &format!("/v1/passes/{personal}"), &terms(json!("note"))).await.expect(422);
    festival.promoter.send("PATCH", &format!("/v1/passes/{personal}"), &terms(json!("identity"))).await.expect(200);
    let (plain, named) = (festival.offer(&pass, 50, 5_000).await, festival.offer(&personal, 50, 5_000).await);
    let buy = async |name: &str, offer: &str| {
        let fan = house.anybody().order_for(name, &format!("{}@example.org", key()), &[(offer, 1)]).await;
        fan.pay(&key(), "simulated_instant").await.expect(201);
        fan.tickets().await.remove(0)
    };
    let (wheels, jo, other) = (buy("Wim Dekker", &plain).await, buy("Jo Smit", &named).await, buy("Noor Haddad", &plain).await);
    house.run_workers().await;
    let code = |ticket: &Value| ticket["ticket_code"].as_str().unwrap().to_owned();
    let note = async |ticket: &Value, text: Value| {
        let path = format!("/v1/tickets/{}/note", ticket["ticket_id"].as_str().unwrap());
        festival.promoter.send("PUT", &path, &json!({ "note": text })).await
    };
    let scan_only = festival.device().await;
    let pairing = festival.promoter.make(&festival.path("/pairings"), json!({ "gate_id": festival.gate, "profile": "identity" })).await;
    let compares = house.anybody().pair(pairing["pairing_code"].as_str().unwrap()).await;
    let before = (pack(&scan_only, "?format=4").await, pack(&compares, "?format=4").await);
    assert!(before.0.sealed.is_empty(), "nobody wrote a note");
    assert_eq!(before.1.sealed.keys().copied().collect::<Vec<_>>(), [number(&jo)], "only of passes that ask for it");
    assert_eq!(opened(&before.1.sealed[&number(&jo)], &code(&jo)).unwrap()["name"], "Jo Smit");
    assert!(opened(&before.1.sealed[&number(&jo)], &code(&wheels)).is_none(), "another code opens nothing");

    assert_eq!(note(&wheels, json!("  Wheelchair: open the side gate. ")).await.expect(200)["note"], "Wheelchair: open the side gate.");
    note(&jo, json!("Guest of the band")).await.expect(200);
    note(&jo, json!("x".repeat(201))).await.expect(422);
    let raw = bytes(&scan_only, &format!("?format=4&tickets={}&admissions=0", before.0.to().0)).await;
    for private in ["Wheelchair", "Guest", "Jo Smit"] {
        assert!(!String::from_utf8_lossy(&raw).contains(private), "{private} is in the pack");
    }
    let heard = Pack::read(&raw);
    assert_eq!(heard.tickets.iter().map(|record| record[13]).collect::<Vec<_>>(), [8, 8]);
    assert_eq!(opened(&heard.sealed[&number(&wheels)], &code(&wheels)).unwrap()["note"], "Wheelchair: open the side gate.");
    assert_eq!(opened(&heard.sealed[&number(&jo)], &code(&jo)).unwrap(), json!({ "name": null, "note": "Guest of the band" }));
    let heard = since(&compares, before.1.to()).await;
    assert_eq!(opened(&heard.sealed[&number(&jo)], &code(&jo)).unwrap(), json!({ "name": "Jo Smit", "note": "Guest of the band" }));
    // A page of before knows nothing of boxes.
    assert!(bytes(&compares, "?format=3").await.starts_with(b"GFP3"));

    // Online the server says the same, to each what it may read.
    house.advance("2026-06-19T18:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap() - house.app.clock.now());
    let now = house.app.clock.now();
    let read = scan_only.scan(&code(&wheels), now).await.expect(201);
    assert_eq!((&read["verdict"], &read["instruction"], &read["note"]), (&json!("check"), &json!("note"), &json!("Wheelchair: open the side gate.")));
    let yes = json!({ "after": read["scan_id"], "checked": "yes" });
    assert_eq!(scan_only.scan_as(&uuid::Uuid::now_v7().to_string(), &code(&wheels), now, yes).await.expect(201)["verdict"], "admitted");
    let look = json!({ "kind": "look" });
    let seen = scan_only.scan_as(&uuid::Uuid::now_v7().to_string(), &code(&jo), now, look.clone()).await.expect(201);
    assert_eq!((&seen["instruction"], seen.get("holder_name")), (&json!("identity"), None));
    let seen = compares.scan_as(&uuid::Uuid::now_v7().to_string(), &code(&jo), now, look).await.expect(201);
    assert_eq!((&seen["holder_name"], &seen["note"]), (&json!("Jo Smit"), &json!("Guest of the band")));
    assert_eq!(scan_only.scan(&code(&other), now).await.expect(201)["verdict"], "admitted");

    // So does a phone without network, that reads names.
    let third = buy("Ana Sá", &named).await;
    note(&other, json!("Ramp at gate 4")).await.expect(200);
    let pairing = festival.promoter.make(&festival.path("/pairings"), json!({ "gate_id": festival.gate, "profile": "identity" })).await;
    let input = json!({ "url": house.url, "pairing_code": pairing["pairing_code"], "tickets": 4, "codes": [code(&third), code(&wheels)], "token": festival.promoter.token, "note": format!("/v1/tickets/{}/note", third["ticket_id"].as_str().unwrap()) });
    let seen = crate::browser::scene("names", &input).await;
    assert_eq!(seen["third"], json!(["Check", "Compare the name", "Ana Sá", "Guest of the band", true]), "{seen}");
    assert_eq!(seen["checked"], json!(["Admitted", null, "Ana Sá", "Guest of the band", true]), "{seen}");
    assert_eq!(seen["noted"], json!(["Refused", "Already inside", null, "Wheelchair: open the side gate.", true]), "{seen}");
    assert!(seen["sideways"].as_array().unwrap().is_empty() && seen["errors"].as_array().unwrap().is_empty(), "{seen}");

    // A code that is dead says nothing of the ticket that it was of.
    let path = format!("/v1/tickets/{}/reissues", other["ticket_id"].as_str().unwrap());
    festival.promoter.send("POST", &path, &json!({ "note": "lost" })).await.expect(200);
    let dead = scan_only.scan(&code(&other), now).await.expect(201);
    assert_eq!((&dead["reason"], dead.get("note")), (&json!("revoked"), None));

    // Another name, and no note any more: gates hear of both.
    let mut at = heard.to();
    loop {
        let next = since(&compares, at).await;
        at = next.to();
        if next.head["more"] == json!(false) {
            break;
        }
    }
    note(&jo, Value::Null).await.expect(200);
    crate::claims::Holder::of(&house.anybody(), &jo).claim("Joanna Smit").await.expect(200);
    let renamed = since(&compares, at).await;
    assert_eq!((renamed.tickets.len(), renamed.tickets[0][13]), (1, 0));
    assert_eq!(opened(&renamed.sealed[&number(&jo)], &code(&jo)).unwrap(), json!({ "name": "Joanna Smit", "note": null }));
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deltas_come_in_pages_and_who_is_ahead_of_the_feed_begins_anew() {
    let house = House::open().await;
    let festival = house.promoter("Ada").await.festival("night-ferry").await;
    let offer = festival.offer(&festival.pass("Weekend", 0b111).await, 5_000, 5_000).await;
    let device = festival.device().await;
    // What is kept of the list is of before.
    let one = house.anybody().order("one@example.org", &[(&offer, 1)]).await;
    one.pay(&key(), "simulated_instant").await.expect(201);
    assert_eq!(pack(&device, "?format=4").await.to(), (1, 0));
    let sales = (0..220).map(|n| {
        let (anybody, offer) = (house.anybody(), offer.clone());
        async move {
            let fan = anybody.order(&format!("page{n}@example.org"), &[(&offer, 10)]).await;
            fan.pay(&key(), "simulated_instant").await.expect(201);
        }
    });
    futures_util::future::join_all(sales).await;
    let first = since(&device, (1, 0)).await;
    assert!(first.head.get("list_digest").is_none(), "it ends where nobody made one");
    assert_eq!((first.tickets.len(), first.to().0, &first.head["more"]), (2_000, 2_001, &json!(true)));
    let second = since(&device, first.to()).await;
    assert_eq!((second.tickets.len(), second.to().0, &second.head["more"]), (200, 2_201, &json!(false)));
    let behind = whole_that(&device, |whole| whole.head["more"] == json!(true)).await;
    assert_eq!((behind.tickets.len(), behind.to().0, &behind.head["more"]), (1, 1, &json!(true)), "what was sold since comes behind it");
    house.advance(TimeDelta::seconds(61));
    let whole = whole_that(&device, |whole| whole.to().0 > 1).await;
    assert_eq!((whole.tickets.len(), whole.to().0, &whole.head["more"]), (2_201, 2_201, &json!(false)));
    // Whoever is far behind the kept list comes nearer by pages, and is held to it at its end.
    let far = since(&device, (1, 0)).await;
    assert_eq!((far.tickets.len(), far.head.get("list_digest"), &far.head["more"]), (2_000, None, &json!(true)));
    let near = since(&device, far.to()).await;
    assert_eq!((near.to().0, &near.head["list_digest"]), (2_201, &whole.head["digest"]));
    let parts: BTreeSet<_> = first.tickets.iter().chain(&second.tickets).collect();
    assert_eq!(whole.tickets.iter().filter(|record| !parts.contains(record)).count(), 1, "the ticket at position 1");
    // The feed went back behind this device: a backup was read back.
    for ahead in [(2_202, 0), (2_201, 1)] {
        let anew = since(&device, ahead).await;
        assert_eq!((&anew.head["from"]["tickets"], anew.tickets.len(), anew.to()), (&json!(0), 2_201, (2_201, 0)));
    }
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_and_its_exit_in_one_batch_are_both_there() {
    let house = House::open().await;
    let (festival, offer) = evening(&house).await;
    let tickets = sold(&house, &offer, 10, 4).await;
    let device = festival.device().await;
    house.advance("2026-06-19T18:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap() - house.app.clock.now());
    let now = house.app.clock.now();
    // All at once: what waits behind the first batch comes in one.
    let visits = tickets.iter().map(|ticket| {
        let (device, code) = (device.clone(), ticket["ticket_code"].as_str().unwrap().to_owned());
        async move {
            let id = || uuid::Uuid::now_v7().to_string();
            let (entry, exit) = (id(), id());
            let entered = device.scan_as(&entry, &code, now, json!({}));
            let left = async {
                tokio::task::yield_now().await;
                device.scan_as(&exit, &code, now, json!({ "kind": "exit" })).await
            };
            let (entered, left) = tokio::join!(entered, left);
            assert_eq!(entered.expect(201)["verdict"], "admitted");
            // An exit that ended an entry names its day; one that came before the entry ended nothing. Who left may come in again.
            let ended = left.expect(201).get("day").is_some();
            (ended, device.scan(&code, now).await.expect(201)["verdict"] == "admitted")
        }
    });
    let visits = futures_util::future::join_all(visits).await;
    assert!(visits.iter().all(|(ended, again)| ended == again), "an exit was lost: {visits:?}");
    assert!(visits.iter().any(|(ended, _)| *ended), "nobody left");
    let mut conn = house.database().await;
    let open: i64 = sqlx::query_scalar("select count(*) from admissions where left_at is null and undone_at is null").fetch_one(&mut conn).await.unwrap();
    assert_eq!(open, 40, "one open entry a ticket");
    house.close().await;
}

/// The drill of a key that leaked, and the rotation before it.
#[tokio::test(flavor = "multi_thread")]
async fn keys_are_rotated_and_revoked_while_gates_go_on() {
    let house = House::open().await;
    let (festival, offer) = evening(&house).await;
    let promoter = &festival.promoter;
    let old = sold(&house, &offer, 1, 4).await;
    house.advance("2026-06-19T18:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap() - house.app.clock.now());
    house.run_workers().await;
    let gate = festival.device().await;
    let now = house.app.clock.now();
    let rules = async || pack(&gate, "?format=4").await.head["rules"].clone();
    let states = |keys: &Value| keys.as_array().unwrap().iter().map(|k| format!("{} {}", k["key_id"], k["state"].as_str().unwrap())).collect::<Vec<_>>();
    let text = |ticket: &Value, name: &str| ticket[name].as_str().unwrap().to_owned();

    // The key that signs is not revoked.
    let revocation = festival.path("/signing-keys/1/revocations");
    promoter.send("POST", &revocation, &json!({})).await.expect(409);
    let keys = promoter.send("POST", &festival.path("/signing-keys"), &json!({})).await.expect(200);
    assert_eq!(states(&keys["items"]), ["1 verify_only", "2 active"]);
    promoter.send("PUT", &festival.path("/list-only"), &json!({})).await.expect(200);
    a_second().await;
    let fresh = sold(&house, &offer, 1, 1).await.remove(0);
    assert_eq!(data_encoding::BASE32_NOPAD.decode(&text(&fresh, "ticket_code").as_bytes()[2..]).unwrap()[1], 2, "new tickets are signed by the new key");
    for ticket in [&old[0], &fresh] {
        assert_eq!(gate.scan(&text(ticket, "ticket_code"), now).await.expect(201)["verdict"], "admitted");
    }
    let carried = rules().await;
    assert_eq!((states(&carried["keys"]), &carried["list_only"]), (vec!["1 verify_only".to_owned(), "2 active".to_owned()], &json!(true)));

    // What the leaked key signed opens nothing, until it is re-issued by the key of now.
    promoter.send("POST", &revocation, &json!({})).await.expect(200);
    let again = promoter.send("POST", &revocation, &json!({})).await.expect(200);
    assert!(again["items"][0]["revoked_at"].is_string(), "{again}");
    a_second().await;
    assert_eq!(gate.scan(&text(&old[1], "ticket_code"), now).await.expect(201)["reason"], "key_retired");
    // Without network a phone let it in meanwhile: whoever is in is in, and the ledger says by what.
    let late = json!({ "scan_id": uuid::Uuid::now_v7(), "ticket_code": old[1]["ticket_code"], "scanned_at": now, "verdict": "admitted" });
    let merged = gate.report(now, &[late]).await.expect(200);
    assert_eq!(merged["items"][0]["discrepancies"], json!(["revoked_admission"]));
    let reissued = promoter.send("POST", &format!("/v1/tickets/{}/reissues", text(&old[0], "ticket_id")), &json!({})).await.expect(200);
    assert_eq!(reissued["generation"], 1);
    let order = text(&old[0], "order_id");
    let mut conn = house.database().await;
    let key: i16 =
        sqlx::query_scalar("select key_id from tickets where ticket_id = $1::uuid").bind(text(&old[0], "ticket_id")).fetch_one(&mut conn).await.unwrap();
    assert_eq!(key, 2, "a re-issued code is signed by the key of now; order {order}");
    // All that it signed, by a worker: one email an order, and the codes of the pages open again. A ticket that is void, or signed since, stays.
    let reissues = festival.path("/signing-keys/1/reissues");
    promoter.send("POST", &festival.path("/signing-keys/2/reissues"), &json!({})).await.expect(409);
    promoter.send("POST", &festival.path("/signing-keys/9/reissues"), &json!({})).await.expect(404);
    assert_eq!(promoter.get(&reissues).await.expect(200), json!({ "key_id": 1, "done": 0 }));
    promoter.send("POST", &format!("/v1/tickets/{}/voidings", text(&old[2], "ticket_id")), &json!({})).await.expect(200);
    house.run_workers().await;
    let mails = house.emails().len();
    house.advance(chrono::TimeDelta::seconds(11));
    for _ in 0..2 {
        promoter.send("POST", &reissues, &json!({})).await.expect(200);
    }
    house.run_workers().await;
    let so_far = promoter.get(&reissues).await.expect(200);
    assert_eq!((&so_far["done"], so_far.get("ended_at")), (&json!(old.len() - 2), None), "{so_far}");
    house.advance(chrono::TimeDelta::minutes(2));
    house.run_workers().await;
    assert!(promoter.get(&reissues).await.expect(200)["ended_at"].is_string());
    let told: Vec<String> = house.emails().iter().take(house.emails().len() - mails).map(|email| email.subject.clone()).collect();
    assert_eq!(told, ["Your tickets have new codes: Night Ferry"], "they are of one order");
    let page = promoter.get(&festival.path("/tickets?limit=200")).await.expect(200);
    let generations: Vec<i64> = page["items"].as_array().unwrap().iter().map(|ticket| ticket["generation"].as_i64().unwrap()).collect();
    assert_eq!(generations.iter().filter(|generation| **generation == 1).count(), old.len() - 1, "{generations:?}");
    let left: i64 = sqlx::query_scalar("select count(*) from tickets where key_id = 1 and status = 'valid'").fetch_one(&mut conn).await.unwrap();
    assert_eq!(left, 0);
    promoter.send("DELETE", &festival.path("/list-only"), &json!({})).await.expect(200);
    a_second().await;
    assert_eq!(rules().await["list_only"], false);
    promoter.send("POST", &festival.path("/signing-keys/9/revocations"), &json!({})).await.expect(404);
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_re_issue_what_a_key_signed_once_and_go_on_where_one_stopped() {
    let house = House::open().await;
    let festival = house.promoter("Ada").await.festival("night-ferry").await;
    let offer = festival.offer(&festival.pass("Weekend", 0b111).await, 1_000, 5_000).await;
    let tickets = sold(&house, &offer, 86, 7).await;
    house.run_workers().await;
    festival.promoter.send("POST", &festival.path("/signing-keys"), &json!({})).await.expect(200);
    let reissues = festival.path("/signing-keys/1/reissues");
    festival.promoter.send("POST", &reissues, &json!({})).await.expect(200);
    assert_eq!(gatefold::tickets::walk(&house.app).await.unwrap(), 0, "what was made just now may have neighbours that are not committed yet");
    house.advance(chrono::TimeDelta::seconds(11));
    // Five hundred a step: one step, as if its server had stopped then, and four servers that go on at once.
    assert_eq!(gatefold::tickets::walk(&house.app).await.unwrap(), 500);
    assert_eq!(festival.promoter.get(&reissues).await.expect(200)["done"], 500);
    let looked: usize = crate::races::at_once(4, |_| {
        let app = house.app.clone();
        async move { gatefold::tickets::walk(&app).await.unwrap() }
    })
    .await
    .iter()
    .sum();
    assert_eq!(looked, 102);
    let mut conn = house.database().await;
    let (once, changes, letters): (i64, i64, i64) = sqlx::query_as(
        "select (select count(*) from tickets where generation = 1 and key_id = 2), (select count(*) from ticket_changes), \
                (select count(*) from emails where kind = 'codes_changed')",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    assert_eq!((once, changes, letters), (602, 602, 86), "of {} tickets", tickets.len());
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_band_is_in_the_pack_while_it_is_on_a_wrist() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let offer = festival.offer(&festival.pass("Weekend pass", 0b111).await, 10, 100).await;
    house.advance("2026-06-19T18:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap() - house.app.clock.now());
    let tickets = sold(&house, &offer, 1, 2).await;
    let (device, desk) = (festival.device().await, crate::bands::desk(&house, &festival).await);
    let first = desk.exchange(tickets[1]["ticket_code"].as_str().unwrap(), "04A1B2C3D4E5F7").await;
    let before = pack(&device, "?format=4").await;
    let given = desk.exchange(tickets[0]["ticket_code"].as_str().unwrap(), "04A1B2C3D4E5F6").await;
    assert!(first["given_at"].is_string() && given["given_at"].is_string(), "{given}");
    // As a device hashes what a band carries: HMAC-SHA256 under the salt of the rules, of which the first eight bytes count.
    let salt = data_encoding::BASE64.decode(before.head["rules"]["band_salt"].as_str().unwrap().as_bytes()).unwrap();
    let hash = |carried: &str| {
        let mut mac = <hmac::Hmac<sha2::Sha256> as hmac::KeyInit>::new_from_slice(&salt).unwrap();
        hmac::Mac::update(&mut mac, carried.as_bytes());
        hmac::Mac::finalize(mac).into_bytes()[..8].to_vec()
    };
    let band = |n: usize, hash: &[u8]| [&number(&tickets[n])[..], hash].concat();
    let read = |pack: &Pack| pack.bands.iter().map(|band| band.to_vec()).collect::<Vec<_>>();
    assert_eq!(read(&before), [band(1, &hash("04A1B2C3D4E5F7"))]);
    let delta = since(&device, before.to()).await;
    assert_eq!(read(&delta), [band(0, &hash("04A1B2C3D4E5F6"))]);
    assert!(bytes(&device, "?format=2").await.starts_with(b"GFP2"), "a page of before reads on");
    let returned = device.http.request("POST", &format!("/v1/tickets/{}/band-ends", given["ticket_id"].as_str().unwrap())).bearer_auth(&desk.0.token);
    crate::actors::answer(returned.json(&json!({ "why": "returned" }))).await.expect(200);
    let ended = since(&device, delta.to()).await;
    assert_eq!(read(&ended), [band(0, &[0; 8])]);
    house.run_workers().await;
    house.close().await;
}

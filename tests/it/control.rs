//! The control room: live, in words and drawn, and the ledger decided by name.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::{actors::key, house::House};

/// A request with a form.
pub fn form(request: reqwest::RequestBuilder, pairs: &[(&str, &str)]) -> reqwest::RequestBuilder {
    let escaped = |text: &str| text.replace(' ', "+").replace(',', "%2C").replace('@', "%40");
    let body: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
    request.header("content-type", "application/x-www-form-urlencoded").body(body.join("&"))
}

/// Signs a member in by the link of the email; the cookie of the session.
pub async fn signed_in(house: &House, email: &str) -> String {
    form(house.anybody().request("POST", "/sign-in"), &[("email", email)]).send().await.unwrap();
    house.run_workers().await;
    let link = house.emails().iter().find_map(|e| e.text.lines().find(|l| l.contains("/sign-in/")).map(str::to_owned)).unwrap();
    let entered = house.anybody().request("POST", link.trim_start_matches(&house.url)).send().await.unwrap();
    entered.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned()
}

/// The parts of the control room, as the next event tells them.
async fn parts(response: &mut reqwest::Response, text: &mut String) -> Value {
    loop {
        if let Some(end) = text.find("\n\n") {
            let event: String = text.drain(..end + 2).collect();
            if let Some(data) = event.lines().find_map(|l| l.strip_prefix("data: ")) {
                return serde_json::from_str(data).unwrap();
            }
            continue;
        }
        let piece = tokio::time::timeout(std::time::Duration::from_secs(15), response.chunk()).await.expect("an event").unwrap().expect("more");
        text.push_str(std::str::from_utf8(&piece).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_sees_what_happens_at_the_gates_and_decides_by_name() {
    let house = House::open().await;
    let promoter = house.promoter("Night Ferry Foundation").await;
    let festival = promoter.festival("night-ferry").await;
    let offer = festival.offer(&festival.pass("Weekend pass", 0b111).await, 100, 13900).await;
    let fan = house.anybody().order("mara@x.example", &[(&offer, 2)]).await;
    fan.pay(&key(), "simulated_instant").await.expect(201);
    let codes: Vec<String> = fan.tickets().await.iter().map(|t| t["ticket_code"].as_str().unwrap().to_owned()).collect();
    house.run_workers().await;
    house.advance("2026-06-19T18:00:00Z".parse::<DateTime<Utc>>().unwrap() - house.app.clock.now());
    house.run_workers().await;
    let mut conn = house.database().await;
    let email: String = sqlx::query_scalar("select email from members order by created_at limit 1").fetch_one(&mut conn).await.unwrap();
    let cookie = signed_in(&house, &email).await;
    let desk = |method: &str, path: &str| house.anybody().request(method, &format!("/desk/night-ferry{path}")).header("cookie", &cookie);

    let page = desk("GET", "/gates").send().await.unwrap().text().await.unwrap();
    for words in ["Control room", "No device is paired.", "Nobody was refused.", "Nothing open."] {
        assert!(page.contains(words), "{words} is not on the empty page");
    }
    let mut response = desk("GET", "/gates/live").send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut text = String::new();
    let first = parts(&mut response, &mut text).await;
    assert!(first["devices"].as_str().unwrap().contains("No device"), "{first}");

    // Two devices; one ticket let in by both; eleven forged codes; one battery nearly empty.
    let (north, south) = (festival.device().await, festival.device().await);
    let now = house.app.clock.now();
    north.scan(&codes[0], now).await.expect(201);
    let second = json!({ "scan_id": uuid::Uuid::now_v7(), "ticket_code": codes[0], "scanned_at": now + TimeDelta::seconds(30), "verdict": "admitted" });
    house.advance(TimeDelta::minutes(1));
    let now = house.app.clock.now();
    south.report(now, &[second]).await.expect(200);
    let forged = format!("{}{}", &codes[1][..codes[1].len() - 2], if codes[1].ends_with("AA") { "BA" } else { "AA" });
    for _ in 0..11 {
        assert_eq!(south.scan(&forged, now).await.expect(201)["reason"], "forged");
    }
    let pulse =
        crate::actors::answer(house.anybody().request("POST", "/v1/heartbeats").bearer_auth(&south.token).json(&json!({ "waiting": 3, "battery": 11 })));
    assert!(pulse.await.expect(200)["server_time"].is_string());
    house.run_workers().await;
    let seen = loop {
        let seen = parts(&mut response, &mut text).await;
        if seen["alarm"].as_str().unwrap().contains("Forged codes.") && seen["ledger"].as_str().unwrap().contains("In twice") {
            break seen;
        }
    };
    let part = |name: &str| seen[name].as_str().unwrap().to_owned();
    assert!(part("devices").contains("11 %") && part("devices").contains("not heard yet"), "{}", part("devices"));
    assert!(part("reasons").contains("Forged") && part("arrivals").contains("North Quay"), "{seen}");
    drop(response);

    // Decided by name, taken along, opened again.
    let page = desk("GET", "/gates").send().await.unwrap().text().await.unwrap();
    let action = page.split("action=\"").filter_map(|rest| rest.split('"').next()).find(|action| action.contains("/discrepancies/")).unwrap();
    let action = action.trim_start_matches("/desk/night-ferry").to_owned();
    let decide =
        async |pairs: &[(&str, &str)]| form(desk("POST", &action).header("sec-fetch-site", "same-origin"), pairs).send().await.unwrap().status().as_u16();
    assert_eq!(decide(&[("decision", "fraud"), ("note", "two phones, one picture")]).await, 303);
    assert_eq!(decide(&[("decision", "whatever")]).await, 400);
    let page = desk("GET", "/gates").send().await.unwrap().text().await.unwrap();
    for words in ["Nothing open.", "two phones, one picture", "Fraud", "Open again"] {
        assert!(page.contains(words), "{words}");
    }
    let table = desk("GET", "/gates/discrepancies.csv").send().await.unwrap().text().await.unwrap();
    assert_eq!(table.lines().count(), 2, "{table}");
    assert_eq!(decide(&[("decision", "open")]).await, 303);

    // A stranger finds nothing; nobody decides from another site.
    let stranger = house.anybody().request("GET", "/desk/night-ferry/gates/live").send().await.unwrap().status().as_u16();
    assert!(matches!(stranger, 303 | 404), "{stranger}");
    let foreign = form(desk("POST", &action).header("sec-fetch-site", "cross-site"), &[("decision", "fraud")]).send().await.unwrap();
    assert_eq!(foreign.status(), 403);
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_holds_gates_and_puts_everybody_out() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let offer = festival.offer(&festival.pass("Weekend pass", 0b111).await, 100, 13900).await;
    let fan = house.anybody().order("mara@x.example", &[(&offer, 2)]).await;
    fan.pay(&key(), "simulated_instant").await.expect(201);
    let codes: Vec<String> = fan.tickets().await.iter().map(|t| t["ticket_code"].as_str().unwrap().to_owned()).collect();
    house.run_workers().await;
    house.advance("2026-06-19T18:00:00Z".parse::<DateTime<Utc>>().unwrap() - house.app.clock.now());
    house.run_workers().await;
    let mut conn = house.database().await;
    let email: String = sqlx::query_scalar("select email from members order by created_at limit 1").fetch_one(&mut conn).await.unwrap();
    let cookie = signed_in(&house, &email).await;
    let desk = |method: &str, path: &str| {
        house.anybody().request(method, &format!("/desk/night-ferry{path}")).header("cookie", &cookie).header("sec-fetch-site", "same-origin")
    };
    let page = async || desk("GET", "/gates").send().await.unwrap().text().await.unwrap();
    let sent = async |path: &str, pairs: &[(&str, &str)]| form(desk("POST", path), pairs).send().await.unwrap().status().as_u16();
    let action = |page: &str, end: &str| {
        let found = page.split("action=\"").filter_map(|rest| rest.split('"').next()).find(|action| action.ends_with(end)).unwrap();
        found.trim_start_matches("/desk/night-ferry").to_owned()
    };
    let device = festival.device().await;
    let shown = async |code: &str| {
        house.advance(TimeDelta::seconds(1));
        // What gates know of rules is at most a second old.
        tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
        let answer = device.scan(code, house.app.clock.now()).await.expect(201);
        answer["reason"].as_str().or(answer["verdict"].as_str()).unwrap().to_owned()
    };
    assert!(page().await.contains("Gates work as usual."));
    assert_eq!(shown(&codes[0]).await, "admitted");

    assert_eq!(sent("/gates/holds", &[("what", &format!("gate {}", festival.gate)), ("note", "crush at the barrier")]).await, 303);
    assert_eq!(sent("/gates/holds", &[("what", "everything")]).await, 400);
    let held = page().await;
    assert!(held.contains("On hold:") && held.contains("crush at the barrier") && held.contains("Release"), "{held}");
    assert_eq!(shown(&codes[1]).await, "gate_on_hold");
    let release = action(&held, "/end");
    let foreign = house.anybody().request("POST", &format!("/desk/night-ferry{release}")).header("cookie", &cookie).header("sec-fetch-site", "cross-site");
    assert_eq!(form(foreign, &[]).send().await.unwrap().status(), 403);
    assert_eq!(sent(&release, &[]).await, 303);

    // A clearing asks twice; one that is for tonight by the clock of the festival is called off.
    assert_eq!(sent("/gates/clearings", &[("what", "")]).await, 400);
    assert_eq!(sent("/gates/clearings", &[("what", ""), ("sure", "yes"), ("clears_at", "2026-06-20T04:30")]).await, 303);
    assert_eq!(sent("/gates/clearings", &[("what", ""), ("sure", "yes"), ("clears_at", "tonight")]).await, 400);
    let planned = page().await;
    assert!(planned.contains("Everybody will be out:") && planned.contains("Saturday 20 June, 04:30"), "{planned}");
    assert_eq!(sent(&action(&planned, "/call-off"), &[]).await, 303);
    assert_eq!(sent("/gates/clearings", &[("what", ""), ("sure", "yes"), ("readmits", "60"), ("note", "thunderstorm")]).await, 303);
    let cleared = page().await;
    assert!(cleared.contains("Everybody was out:") && cleared.contains("thunderstorm") && !cleared.contains("Call off"), "{cleared}");
    assert_eq!(shown(&codes[0]).await, "admitted");
    // Whoever is in a tent on the site is on the site once.
    let tent = festival.gate_into(json!({ "name": { "en": "Tent" }, "is_inner": true })).await;
    let tent = crate::actors::Festival { gate: tent, ..festival.clone() }.device().await;
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    assert_eq!(tent.scan(&codes[0], house.app.clock.now()).await.expect(201)["verdict"], "admitted");
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    // For the authorities: numbers with their basis, and what was done.
    let sheet = desk("GET", "/gates/situation").send().await.unwrap().text().await.unwrap();
    for words in
        ["Situation sheet", "Printed by Night Ferry Foundation", "Whoever left is subtracted where the exit was scanned.", "thunderstorm", "Silent devices: 2"]
    {
        assert!(sheet.contains(words), "{words}: {sheet}");
    }
    assert!(sheet.contains("<b>1</b>"), "one is in: {sheet}");
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_desk_pairs_phones_begins_a_shift_and_issues_cards() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    house.advance("2026-06-19T18:00:00Z".parse::<DateTime<Utc>>().unwrap() - house.app.clock.now());
    let mut conn = house.database().await;
    let email: String = sqlx::query_scalar("select email from members order by created_at limit 1").fetch_one(&mut conn).await.unwrap();
    let cookie = signed_in(&house, &email).await;
    let desk = |method: &str, path: &str| {
        house.anybody().request(method, &format!("/desk/night-ferry/devices{path}")).header("cookie", &cookie).header("sec-fetch-site", "same-origin")
    };
    let text = async |path: &str| desk("GET", path).send().await.unwrap().text().await.unwrap();
    let sent = async |path: &str, pairs: &[(&str, &str)]| {
        let response = form(desk("POST", path), pairs).send().await.unwrap();
        let to = response.headers().get("location").map(|to| to.to_str().unwrap().trim_start_matches("/desk/night-ferry/devices").to_owned());
        (response.status().as_u16(), to.unwrap_or_default())
    };
    let empty = text("").await;
    assert!(empty.contains("Begin a shift") && empty.contains("No device is paired."), "{empty}");

    // One phone by a code; the address of its picture is not sent to any server.
    let (status, shown) = sent("/pairings", &[("gate", &festival.gate), ("profile", "scan"), ("most", "1")]).await;
    assert_eq!(status, 303);
    let page = text(&shown).await;
    let code = page.split("class=\"human\">").nth(1).unwrap().split('<').next().unwrap().to_owned();
    assert!(page.contains("<svg class=\"qr\""), "{page}");
    let device = house.anybody().pair(&code).await;
    assert!(text(&shown).await.contains("This code pairs nothing any more."));
    assert_eq!(sent("/pairings", &[("gate", "nowhere"), ("most", "1")]).await.0, 400);

    // The digits of the shift sign its member in there.
    assert_eq!(sent("/shift", &[("hours", "8")]).await, (303, "#shift".to_owned()));
    let page = text("").await;
    let digits = page.split("<output>").nth(1).unwrap().split('<').next().unwrap().to_owned();
    let sign_in = async || {
        let body = json!({ "shift_code": digits });
        crate::actors::answer(house.anybody().request("POST", "/v1/device-shifts").bearer_auth(&device.token).json(&body)).await
    };
    assert_eq!(sign_in().await.expect(200)["name"], "Night Ferry Foundation");
    assert!(text("").await.contains("Night Ferry Foundation, signed in until"));
    assert_eq!(sent("/shift/end", &[]).await.0, 303);
    sign_in().await.expect(403);

    // The phone that shows the desk becomes a supervisor's, its member signed in; without a shift it does not.
    assert_eq!(sent("/phone", &[]).await, (303, "#shift".to_owned()));
    sent("/shift", &[("hours", "4")]).await;
    let response = form(desk("POST", "/phone"), &[]).send().await.unwrap();
    assert_eq!(response.headers()["location"], "/gate");
    let own = response.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let gate = house.anybody().request("GET", "/gate").header("cookie", own).send().await.unwrap().text().await.unwrap();
    assert!(gate.contains("Name, order number or email"), "{gate}");

    // A card is issued, shown with its picture, revoked; a sheet alike.
    let (status, shown) = sent("/cards", &[("name", "Kim de Vries"), ("day", "1"), ("overrides", "5")]).await;
    assert_eq!(status, 303);
    let card = text(&shown).await;
    assert!(card.contains("Kim de Vries") && card.contains("0 of 5 overrides") && card.contains("<svg class=\"qr\""), "{card}");
    assert_eq!(sent(&format!("{shown}/revoke"), &[]).await.0, 303);
    let card = text(&shown).await;
    assert!(card.contains("This card opens nothing any more.") && !card.contains("<svg class=\"qr\""), "{card}");
    let (_, shown) = sent("/pairings", &[("gate", &festival.gate), ("profile", "scan"), ("most", "20")]).await;
    let sheet = text(&shown).await;
    assert!(sheet.contains("Practice codes") && sheet.matches("<svg class=\"qr\"").count() == 4, "{sheet}");
    assert!(text("").await.contains("Sheet "), "a sheet that is good is listed");
    assert_eq!(sent(&format!("{shown}/revoke"), &[]).await.0, 303);
    assert!(text(&shown).await.contains("This code pairs nothing any more."));

    // A device is revoked; from another site, and by a stranger, nothing is.
    let revoke = format!("/{}/revoke", device.id);
    let foreign =
        house.anybody().request("POST", &format!("/desk/night-ferry/devices{revoke}")).header("cookie", &cookie).header("sec-fetch-site", "cross-site");
    assert_eq!(form(foreign, &[]).send().await.unwrap().status(), 403);
    assert_eq!(sent(&revoke, &[]).await.0, 303);
    assert!(text("").await.contains("Revoked: 1"));
    // What it did between its last word and that nobody knows, and the sheet says so.
    let lost = festival.device().await;
    let beat = house.anybody().request("POST", "/v1/heartbeats").bearer_auth(&lost.token).json(&json!({ "waiting": 12 }));
    crate::actors::answer(beat).await.expect(200);
    house.run_workers().await;
    house.advance(TimeDelta::minutes(20));
    // One that reported all until it was revoked leaves none.
    let done = festival.device().await;
    let beat = house.anybody().request("POST", "/v1/heartbeats").bearer_auth(&done.token).json(&json!({ "waiting": 0 }));
    crate::actors::answer(beat).await.expect(200);
    house.run_workers().await;
    for device in [&lost, &done] {
        assert_eq!(sent(&format!("/{}/revoke", device.id), &[]).await.0, 303);
    }
    let at = |minutes: i64| (house.app.clock.now() - TimeDelta::minutes(minutes) + TimeDelta::hours(2)).format("%H:%M").to_string();
    let gap = "was revoked: nobody knows what it let in from ";
    for page in ["/gates", "/gates/situation"] {
        let page = house.anybody().request("GET", &format!("/desk/night-ferry{page}")).header("cookie", &cookie).send().await.unwrap().text().await.unwrap();
        let said: Vec<&str> = page.split(gap).skip(1).map(|rest| rest.split("</").next().unwrap()).collect();
        assert!(matches!(said[..], [one] if one.contains(&at(20)) && one.contains(&at(0)) && one.ends_with("Scans that waited on it: 12.")), "{said:?}");
    }
    let elsewhere = house.promoter("Brine").await.festival("brine").await.device().await;
    assert_eq!(sent(&format!("/{}/revoke", elsewhere.id), &[]).await.0, 404);
    let stranger = house.anybody().request("GET", "/desk/night-ferry/devices").send().await.unwrap();
    assert!(matches!(stranger.status().as_u16(), 303 | 404) || stranger.url().path() == "/sign-in", "{}", stranger.url());
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_gates_sent_to_the_help_desk_waits_until_they_come_in_or_somebody_decides() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let pass = festival.pass("Personal", 0b111).await;
    festival.promoter.send("PATCH", &format!("/v1/passes/{pass}"), &json!({ "check_instruction": "identity" })).await.expect(200);
    let offer = festival.offer(&pass, 100, 13900).await;
    let fan = house.anybody().order("mara@x.example", &[(&offer, 3)]).await;
    fan.pay(&key(), "simulated_instant").await.expect(201);
    let tickets = fan.tickets().await;
    let code = |n: usize| tickets[n]["ticket_code"].as_str().unwrap().to_owned();
    let id = |n: usize| tickets[n]["ticket_id"].as_str().unwrap().to_owned();
    house.run_workers().await;
    house.advance("2026-06-19T18:00:00Z".parse::<DateTime<Utc>>().unwrap() - house.app.clock.now());
    let device = festival.device().await;
    let now = || house.app.clock.now();
    let cases = async || -> Vec<(String, bool)> {
        let listed = festival.promoter.get(&festival.path("/help-desk-cases")).await.expect(200);
        listed["items"].as_array().unwrap().iter().map(|c| (c["ticket_id"].as_str().unwrap().to_owned(), c["was_sent"].as_bool().unwrap())).collect()
    };
    let answer = async |n: usize, checked: &str| {
        let first = device.scan(&code(n), now()).await.expect(201);
        assert_eq!(first["verdict"], "check");
        let more = json!({ "after": first["scan_id"], "checked": checked });
        device.scan_as(&uuid::Uuid::now_v7().to_string(), &code(n), now(), more).await.expect(201)
    };
    // A check that is not answered yet is nobody's case; after two minutes it is.
    assert_eq!(device.scan(&code(0), now()).await.expect(201)["verdict"], "check");
    assert_eq!(cases().await, []);
    house.advance(TimeDelta::minutes(1));
    answer(1, "help_desk").await;
    assert_eq!(cases().await, [(id(1), true)]);
    house.advance(TimeDelta::seconds(61));
    answer(2, "yes").await;
    assert_eq!(cases().await, [(id(1), true), (id(0), false)], "newest first, and who came in waits for nobody");

    // One comes in after all; of the other somebody decides, by name.
    answer(0, "yes").await;
    assert_eq!(cases().await, [(id(1), true)]);
    let decide = async |ticket: &str, body: Value| festival.promoter.send("POST", &format!("/v1/tickets/{ticket}/help-desk-decisions"), &body).await;
    decide(&id(1), json!({ "outcome": "bribed" })).await.expect(422);
    decide(&crate::claims::like(&id(1)), json!({ "outcome": "solved" })).await.expect(404);
    decide(&id(1), json!({ "outcome": "sent_away", "note": "no document" })).await.expect(200);
    assert_eq!(cases().await, []);
    let written: (String, String) = sqlx::query_as("select outcome, note from help_desk_decisions").fetch_one(&mut house.database().await).await.unwrap();
    assert_eq!(written, ("sent_away".to_owned(), "no document".to_owned()));
    house.advance(TimeDelta::minutes(1));
    answer(1, "help_desk").await;
    assert_eq!(cases().await, [(id(1), true)], "they came again");

    // A phone without network checked and let in; its report is no case. One that sent somebody there is.
    let offline = |n: usize, id: uuid::Uuid, verdict: &str, minutes: i64, more: Value| {
        let mut scan = json!({ "scan_id": id, "ticket_code": code(n), "scanned_at": now() - TimeDelta::minutes(minutes), "verdict": verdict });
        scan.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        scan
    };
    let (first, second) = (uuid::Uuid::now_v7(), uuid::Uuid::now_v7());
    let later = house.anybody().order("late@x.example", &[(&offer, 1)]).await;
    later.pay(&key(), "simulated_instant").await.expect(201);
    let of_late = later.tickets().await.remove(0)["ticket_code"].clone();
    house.run_workers().await;
    house.advance(TimeDelta::minutes(30));
    let mut checked = offline(0, first, "check", 20, json!({}));
    let mut entered = offline(0, second, "admitted", 19, json!({ "after": first, "checked": "yes" }));
    checked["ticket_code"] = of_late.clone();
    entered["ticket_code"] = of_late;
    device.report(now(), &[checked, entered]).await.expect(200);
    house.advance(TimeDelta::minutes(3));
    assert_eq!(cases().await, [(id(1), true)], "whoever came in without network waits for nobody");

    // The same in the control room.
    let email: String = sqlx::query_scalar("select email from members order by created_at limit 1").fetch_one(&mut house.database().await).await.unwrap();
    let cookie = signed_in(&house, &email).await;
    let desk = |method: &str, path: &str| house.anybody().request(method, &format!("/desk/night-ferry{path}")).header("cookie", &cookie);
    let page = desk("GET", "/gates").send().await.unwrap().text().await.unwrap();
    assert!(page.contains("Sent there by the staff.") && page.contains("Compare the name"), "{page}");
    let sent =
        form(desk("POST", &format!("/gates/help-desk/{}", id(1))), &[("outcome", "solved"), ("note", "it was him")]).header("sec-fetch-site", "same-origin");
    assert_eq!(sent.send().await.unwrap().status(), 303);
    assert!(desk("GET", "/gates").send().await.unwrap().text().await.unwrap().contains("Nobody waits."));
    house.run_workers().await;
    house.close().await;
}

//! The settlement: what came in is what is owed, by account and by day of the festival, on a page, as CSV and as XLSX.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::{actors::key, control::signed_in, house::House, refunds::refund, releases::bundle};

/// The sums of a sheet by account, with what they are about.
fn sums(sheet: &Value) -> Vec<(String, i64)> {
    let one = |row: &Value| {
        let about =
            row["tax_ppm"].as_i64().map(|ppm| ppm.to_string()).or(row["artist"].as_str().map(str::to_owned)).or(row["provider"].as_str().map(str::to_owned));
        (format!("{} {}", row["account"].as_str().unwrap(), about.unwrap_or_default()).trim().to_owned(), row["minor"].as_i64().unwrap())
    };
    sheet["rows"].as_array().unwrap().iter().map(one).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_in_is_whose_it_is_day_by_day() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let offer = bundle(&festival, &festival.pass("Weekend pass", 0b111).await, 100).await;
    let read = async |query: &str| festival.promoter.get(&festival.path(&format!("/settlement{query}"))).await;
    assert_eq!(read("").await.expect(200)["items"], json!([]), "nothing moved yet");
    festival.promoter.send("PUT", &festival.path("/booking-fee"), &json!({ "fixed_minor": 100, "borne_by": "buyer", "is_kept": true })).await.expect(200);
    // On the 3rd two are sold, shortly before midnight in Amsterdam; on the 4th one of them goes back, less the fee and ten euros.
    house.advance("2026-03-03T22:59:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap() - house.app.clock.now());
    let fan = house.anybody().order("mara@x.example", &[(&offer, 2)]).await;
    fan.pay(&key(), "simulated_instant").await.expect(201);
    house.run_workers().await;
    house.advance(TimeDelta::minutes(2));
    let body = json!({ "parts": [{ "line_no": 1, "units": 1 }], "kept": { "minor": 1000, "currency": "EUR" }, "reason": "asked" });
    refund(&festival.promoter, &fan.order, &key(), &body).await.expect(201);
    let waiting = read("").await.expect(200)["items"][0].clone();
    assert!(sums(&waiting).contains(&("owed".to_owned(), 13800)), "asked for and not gone: {waiting}");
    house.run_workers().await;

    let whole = read("").await.expect(200)["items"].clone();
    assert_eq!(whole.as_array().unwrap().len(), 1);
    let sheet = &whole[0];
    assert_eq!((&sheet["currency"], &sheet["total_minor"]), (&json!("EUR"), &json!(29800 - 13800)));
    let money: i64 = sums(sheet).iter().filter(|(name, _)| name.starts_with("provider")).map(|(_, minor)| minor).sum();
    let whose: i64 = sums(sheet).iter().filter(|(name, _)| !name.starts_with("provider")).map(|(_, minor)| minor).sum();
    assert_eq!((money, whose), (16000, 16000));
    for one in [("kept", 1000), ("fee", 200), ("tax 90000", 1091), ("provider simulated", 16000), ("owed", 0), ("rights Night Ferry", 1313)] {
        assert!(sums(sheet).contains(&(one.0.to_owned(), one.1)), "{one:?}: {sheet}");
    }
    let days: Vec<&str> = sheet["days"].as_array().unwrap().iter().map(|day| day["day"].as_str().unwrap()).collect();
    assert_eq!(days, ["2026-03-03", "2026-03-04"]);
    let first = read("?until=2026-03-03").await.expect(200)["items"][0].clone();
    assert_eq!((&first["total_minor"], first["days"].as_array().unwrap().len()), (&json!(29800), 1));
    let second = read("?from=2026-03-04&until=2026-03-04").await.expect(200)["items"][0].clone();
    assert_eq!(second["total_minor"], -13800);
    assert_eq!(read("?from=2026-03-04&until=2026-03-03").await.status, 422);
    assert_eq!(read("?from=yesterday").await.status, 400);

    // As tables: for programs, and for people; for nobody else.
    let csv = festival.promoter.request("GET", &festival.path("/settlement.csv")).send().await.unwrap().text().await.unwrap();
    assert!(csv.starts_with("day,account,about,release_id,currency,minor,amount\r\n"), "{csv}");
    assert!(csv.contains("2026-03-04,kept,,,EUR,1000,10.00\r\n") && csv.contains("2026-03-04,provider,simulated,,EUR,-13800,-138.00\r\n"), "{csv}");
    assert!(csv.contains("2026-03-03,tax,9 %,,EUR,2182,21.82\r\n") && csv.contains("Night Ferry: Harbour Tapes"), "{csv}");
    let xlsx = festival.promoter.request("GET", &festival.path("/settlement.xlsx")).send().await.unwrap();
    assert!(xlsx.headers()["content-type"].to_str().unwrap().contains("spreadsheetml"));
    assert!(xlsx.bytes().await.unwrap().starts_with(b"PK"));

    // On the page of the desk.
    let email: String = sqlx::query_scalar("select email from members order by created_at limit 1").fetch_one(&mut house.database().await).await.unwrap();
    let cookie = signed_in(&house, &email).await;
    let page = async |query: &str| {
        let response = house.anybody().request("GET", &format!("/desk/night-ferry/settlement{query}")).header("cookie", &cookie).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
        response.text().await.unwrap()
    };
    let shown = page("").await;
    assert!(
        shown.contains("€160.00") && shown.contains("Harbour Tapes") && shown.contains("2026\u{2011}03\u{2011}04") && shown.contains("settlement.xlsx?"),
        "{shown}"
    );
    assert!(page("?from=2026-03-04&until=2026-03-03").await.contains("That is no period"));
    assert!(page("?from=2027-01-01&until=").await.contains("Nothing moved in this time"));
    let stranger = house.anybody().request("GET", "/desk/night-ferry/settlement.csv").send().await.unwrap();
    assert_eq!(stranger.status().as_u16(), 303, "sign in first");
    house.run_workers().await;
    house.close().await;
}

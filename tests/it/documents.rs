//! Invoices and credit notes through the public face: numbered without gaps whoever races, for whom the buyer said, printed in two languages.

use std::path::PathBuf;

use gatefold::documents::issue_due;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    actors::{Answer, Fan, Festival, answer, key},
    house::House,
    refunds::refund,
    releases::bundle,
};

async fn writing(house: &House, mode: &str) -> (Festival, String) {
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let offer = bundle(&festival, &festival.pass("Weekend pass", 0b111).await, 1000).await;
    let seller = json!({ "name": "Night Ferry Foundation", "address": "Pier 9\n1019 AB Amsterdam", "tax_number": "NL821945332B01", "note": { "en": "Thank you.", "zh": "谢谢。" } });
    let invoicing = json!({ "mode": mode, "prefix": "NF26", "seller": seller });
    festival.promoter.send("PUT", &festival.path("/invoicing"), &invoicing).await.expect(200);
    assert_eq!(festival.promoter.get(&festival.path("/invoicing")).await.expect(200)["invoicing"], invoicing);
    (festival, offer)
}

async fn bought(house: &House, offer: &str, email: &str, quantity: i64) -> Fan {
    let fan = house.anybody().order_for("Mara Lindqvist 林小野", email, &[(offer, quantity)]).await;
    fan.pay(&key(), "simulated_instant").await.expect(201);
    fan
}

async fn bill(fan: &Fan, details: &Value) -> Answer {
    answer(fan.request("PUT", "/billing").json(details)).await
}

/// Number and total of the documents of an order.
async fn documents(fan: &Fan) -> Vec<(String, i64)> {
    let items = fan.get("/documents").await.expect(200)["items"].clone();
    items.as_array().unwrap().iter().map(|d| (d["full_number"].as_str().unwrap().to_owned(), d["total"]["minor"].as_i64().unwrap())).collect()
}

async fn pdf(fan: &Fan, no: usize, language: &str) -> Vec<u8> {
    let id = fan.get("/documents").await.expect(200)["items"][no]["document_id"].as_str().unwrap().to_owned();
    let response = fan.request("GET", &format!("/documents/{id}/document.pdf?language={language}")).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers()["content-type"].to_str().unwrap()), (200, "application/pdf"));
    response.bytes().await.unwrap().to_vec()
}

/// The text of a PDF as another program reads it, and whether it is tagged and brings all of its fonts.
async fn read(pdf: &[u8]) -> String {
    const SCRIPT: &str = "import sys, pypdf\nd = pypdf.PdfReader(sys.argv[1])\nroot = d.trailer['/Root']\nassert root['/MarkInfo']['/Marked'] and '/StructTreeRoot' in root\n\
        for page in d.pages:\n  for font in page['/Resources']['/Font'].values():\n    inner = font.get_object()['/DescendantFonts'][0].get_object()['/FontDescriptor']\n    \
        assert '/FontFile2' in inner or '/FontFile3' in inner, inner\n  print(page.extract_text())";
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/python/bin/python");
    let python = PathBuf::from(std::env::var_os("GATEFOLD_PYTHON").unwrap_or_else(|| own.into()));
    let file = crate::house::folder().join(format!("{}.pdf", uuid::Uuid::new_v4()));
    std::fs::write(&file, pdf).unwrap();
    let done = Command::new(python).arg("-c").arg(SCRIPT).arg(&file).output().await.unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    // Kerning looks like a blank to some readers: blanks are left out on both sides.
    String::from_utf8(done.stdout).unwrap().replace(' ', "")
}

/// Whether a paper says something.
fn says(paper: &str, words: &str) -> bool {
    paper.contains(&words.replace(' ', ""))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_order_that_costs_something_has_an_invoice_and_what_goes_back_a_credit_note() {
    let house = House::open().await;
    let (festival, offer) = writing(&house, "always").await;
    let fee = json!({ "fixed_minor": 150, "borne_by": "buyer", "tax_ppm": 210_000, "is_kept": false });
    festival.promoter.send("PUT", &festival.path("/booking-fee"), &fee).await.expect(200);
    festival.promoter.make(&festival.path("/vouchers"), json!({ "code": "TENOFF", "terms": {}, "minor_off": 1000 })).await;
    festival.promoter.make(&festival.path("/vouchers"), json!({ "code": "GUEST", "terms": {}, "percent_off": 100 })).await;
    let fan = bought(&house, &offer, "mara@x.example", 2).await;
    let order = async |code: &str| {
        let body = json!({ "email": "jonas@x.example", "lines": [{ "offer_id": offer, "quantity": 1 }], "voucher": code });
        let placed = answer(house.anybody().request("POST", "/v1/orders").header("idempotency-key", key()).json(&body)).await.expect(201);
        let text = |name: &str| placed[name].as_str().unwrap().to_owned();
        Fan { http: house.anybody(), order: text("order_id"), secret: text("secret") }
    };
    let (lowered, guest, held) = (order("tenoff").await, order("guest").await, order("tenoff").await);
    lowered.pay(&key(), "simulated_instant").await.expect(201);
    guest.pay(&key(), "free").await.expect(201);
    // Who it is for, said while it is held: the form of the number is checked.
    for (details, pointer) in [
        (json!({ "name": " " }), "/name"),
        (json!({ "name": "Hull Records", "vat_number": "NL821945332B01" }), "/country"),
        (json!({ "name": "Hull Records", "country": "DE", "vat_number": "12345" }), "/vat_number"),
    ] {
        let refused = bill(&held, &details).await;
        assert_eq!((refused.status, refused.body["errors"][0]["pointer"].as_str()), (422, Some(pointer)), "{refused:?}");
    }
    let details = json!({ "name": "Hull Records", "address": "Crane Street 3\n20457 Hamburg", "country": "DE", "vat_number": "de 123 456 789" });
    assert_eq!(bill(&held, &details).await.expect(200)["vat_number"], "DE123456789");
    house.run_workers().await;
    assert!(documents(&held).await.is_empty() && documents(&guest).await.is_empty(), "nothing paid, nothing written");
    assert_eq!(bill(&guest, &details).await.status, 409, "it costs nothing");
    held.pay(&key(), "simulated_instant").await.expect(201);
    house.run_workers().await;
    let mut first: Vec<(String, i64)> = [documents(&fan).await, documents(&lowered).await].concat();
    first.sort();
    assert_eq!(first.iter().map(|(number, _)| number.as_str()).collect::<Vec<_>>(), ["NF26-000001", "NF26-000002"]);
    assert_eq!(documents(&held).await, [("NF26-000003".to_owned(), 13900)]);
    assert_eq!(bill(&held, &json!({ "name": "Too late" })).await.status, 409);

    // On paper, in both languages.
    let english = read(&pdf(&held, 0, "en").await).await;
    for words in [
        "Invoice NF26-000003",
        "Night Ferry Foundation",
        "Tax number NL821945332B01",
        "Hull Records",
        "20457 Hamburg",
        "VAT number DE123456789",
        "The weekend and the record",
        "€139.00",
        "€10.00 off each",
        "€1.50 booking fee inside",
        "9 %",
        "21 %",
        "Thank you.",
    ] {
        assert!(says(&english, words), "{words}: {english}");
    }
    let chinese = read(&pdf(&fan, 0, "zh").await).await;
    for words in ["账单", "林小野", "通票加唱片", "€298.00", "不含税", "谢谢。"] {
        assert!(says(&chinese, words), "{words}: {chinese}");
    }

    // One unit of two goes back, a fifth of it is kept; a refund that is on its way is no credit note yet.
    let body = json!({ "parts": [{ "line_no": 1, "units": 1 }], "kept": { "minor": 3000, "currency": "EUR" }, "reason": "asked" });
    refund(&festival.promoter, &fan.order, &key(), &body).await.expect(201);
    assert_eq!(issue_due(&house.app).await.unwrap(), 0);
    assert_eq!(documents(&fan).await.len(), 1);
    house.run_workers().await;
    assert_eq!(documents(&fan).await[1], ("NF26-C000001".to_owned(), 11900));
    let note = read(&pdf(&fan, 1, "en").await).await;
    for words in ["Credit note NF26-C000001", "About invoice: NF26-00000", "€149.00", "Kept by agreement", "−€30.00", "€119.00"] {
        assert!(says(&note, words), "{words}: {note}");
    }
    // Its page has them, in the language of its reader.
    let page = house.anybody().request("GET", &format!("/o/{}/{}", fan.order, fan.secret)).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("Credit note NF26-C000001") && page.contains("document.pdf?lang=en"), "{page}");
    let listed = festival.promoter.get(&festival.path("/documents?limit=2")).await.expect(200);
    assert!(listed["items"].as_array().unwrap().len() == 2 && listed["next"].is_string(), "{listed}");
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_have_no_gaps_whoever_writes_at_once() {
    let house = House::open().await;
    let (festival, offer) = writing(&house, "always").await;
    let mut fans = Vec::new();
    for i in 0..40 {
        fans.push(bought(&house, &offer, &format!("fan{i}@x.example"), 1).await);
    }
    let entries: i64 = sqlx::query_scalar("select count(*) from documents_due").fetch_one(&mut house.database().await).await.unwrap();
    assert!(entries >= 8, "{entries}: four workers have something to race for");
    let app = &house.app;
    let (a, b, c, d) = tokio::join!(issue_due(app), issue_due(app), issue_due(app), issue_due(app));
    assert_eq!(a.unwrap() + b.unwrap() + c.unwrap() + d.unwrap(), 40);
    let mut numbers = Vec::new();
    for fan in &fans {
        let own = documents(fan).await;
        assert_eq!(own.len(), 1, "{own:?}");
        numbers.push(own[0].0.clone());
    }
    numbers.sort();
    assert_eq!(numbers, (1..=40).map(|no| format!("NF26-{no:06}")).collect::<Vec<_>>());
    // Another festival of the same seller cannot begin its numbers alike.
    let body = json!({ "slug": "salt", "kind": "festival", "name": { "en": "Salt" }, "lead": { "en": "x" }, "place": { "en": "y" }, "currency": "EUR", "time_zone": "Europe/Amsterdam", "spot": "#ffd21f", "language": "en" });
    let other = festival.promoter.make("/v1/festivals", body).await["festival_id"].as_i64().unwrap();
    let same = json!({ "mode": "always", "prefix": "NF26", "seller": { "name": "x", "address": "y" } });
    assert_eq!(festival.promoter.send("PUT", &format!("/v1/festivals/{other}/invoicing"), &same).await.status, 409);
    house.run_workers().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_request_an_invoice_is_written_for_who_asks_with_what_went_back_since() {
    let house = House::open().await;
    let (festival, offer) = writing(&house, "on_request").await;
    let (fan, other) = (bought(&house, &offer, "mara@x.example", 2).await, bought(&house, &offer, "jonas@x.example", 1).await);
    let body = json!({ "parts": [{ "line_no": 1, "units": 1 }], "reason": "asked" });
    refund(&festival.promoter, &fan.order, &key(), &body).await.expect(201);
    house.run_workers().await;
    assert!(documents(&fan).await.is_empty() && documents(&other).await.is_empty());
    // From the page of the order; a wrong number comes back with what was typed.
    let url = format!("/o/{}/{}/billing", fan.order, fan.secret);
    let send = async |fields: &[(&str, &str)]| house.anybody().request("POST", &url).form(fields).header("origin", &house.url).send().await.unwrap();
    let wrong = send(&[("name", "Hull Records"), ("country", "de"), ("vat", "99")]).await;
    assert_eq!(wrong.status().as_u16(), 422);
    let page = wrong.text().await.unwrap();
    assert!(page.contains("not how VAT numbers") && page.contains("Hull Records") && page.contains("value=\"DE\""), "{page}");
    let saved = send(&[("name", "Hull Records"), ("address", "Crane Street 3"), ("country", "de"), ("vat", "123456789")]).await;
    assert_eq!(saved.status().as_u16(), 303, "{}", saved.text().await.unwrap());
    house.run_workers().await;
    assert_eq!(documents(&fan).await, [("NF26-000001".to_owned(), 29800), ("NF26-C000001".to_owned(), 14900)]);
    assert!(documents(&other).await.is_empty());
    let rest = json!({ "reason": "asked" });
    refund(&festival.promoter, &fan.order, &key(), &rest).await.expect(201);
    refund(&festival.promoter, &other.order, &key(), &rest).await.expect(201);
    house.run_workers().await;
    assert_eq!((documents(&fan).await.len(), documents(&other).await.len()), (3, 0));
    // Written no more, what goes back of an order that has one is noted still.
    let off = json!({ "mode": "off", "prefix": "NF26", "seller": { "name": "Night Ferry Foundation", "address": "Pier 9" } });
    let third = bought(&house, &offer, "noor@x.example", 1).await;
    bill(&third, &json!({ "name": "Noor" })).await.expect(200);
    house.run_workers().await;
    festival.promoter.send("PUT", &festival.path("/invoicing"), &off).await.expect(200);
    refund(&festival.promoter, &third.order, &key(), &rest).await.expect(201);
    house.run_workers().await;
    assert_eq!(documents(&third).await.len(), 2);
    let fourth = bought(&house, &offer, "iris@x.example", 1).await;
    assert_eq!(bill(&fourth, &json!({ "name": "Iris" })).await.status, 409);
    let page = house.anybody().request("GET", &format!("/o/{}/{}", fourth.order, fourth.secret)).send().await.unwrap().text().await.unwrap();
    assert!(!page.contains("billing-name"), "{page}");
    // A document of another order is none of this one's, whatever is named.
    let foreign = third.get("/documents").await.expect(200)["items"][0]["document_id"].as_str().unwrap().to_owned();
    assert_eq!(fan.get(&format!("/documents/{foreign}/document.pdf")).await.status, 404);
    let stranger = house.anybody().request("GET", &format!("/o/{}/{}", fan.order, other.secret)).send().await.unwrap();
    assert_eq!(stranger.status().as_u16(), 404);
    house.run_workers().await;
    house.close().await;
}

//! The import of a running order as festivals publish it.

use serde_json::json;

use crate::{actors::answer, house::House};

const GLASTONBURY: &str = include_str!("../data/glastonbury-2025-main-stages.csv");

#[tokio::test(flavor = "multi_thread")]
async fn a_published_running_order_goes_in_whole_and_twice_changes_nothing() {
    let house = House::open().await;
    let promoter = house.promoter("Worthy Farm").await;
    let made = promoter
        .make(
            "/v1/festivals",
            json!({ "slug": "glastonbury", "kind": "festival", "name": { "en": "Glastonbury" }, "lead": {}, "place": {}, "currency": "GBP",
                    "time_zone": "Europe/London", "spot": "#9fd3b6", "language": "en" }),
        )
        .await;
    let id = made["festival_id"].as_i64().unwrap();
    for (index, name, date, next) in [(0, "Thursday", 26, 27), (1, "Friday", 27, 28), (2, "Saturday", 28, 29), (3, "Sunday", 29, 30)] {
        let day = json!({ "name": { "en": name }, "opens_at": format!("2025-06-{date}T08:00:00Z"), "closes_at": format!("2025-06-{next}T06:00:00Z") });
        promoter.send("PUT", &format!("/v1/festivals/{id}/days/{index}"), &day).await.expect(200);
    }
    let import = || answer(promoter.request("POST", &format!("/v1/festivals/{id}/lineup-imports")).header("content-type", "text/csv").body(GLASTONBURY));
    let report = import().await.expect(201);
    assert_eq!((report["created"].as_i64(), report["refused"].as_i64(), report["stages_created"].as_i64()), (Some(240), Some(0), Some(10)), "{report}");
    let after_midnight = report["lines"].as_array().unwrap().iter().filter(|l| l["remark"].as_str().is_some_and(|r| r.contains("ends after midnight"))).count();
    assert_eq!(after_midnight, 11);
    // Every remark is about midnight: no line's day contradicts its times.
    assert!(report["lines"].as_array().unwrap().iter().filter_map(|l| l["remark"].as_str()).all(|r| r.contains("after midnight")), "{report}");
    let sets = promoter.get(&format!("/v1/festivals/{id}/sets")).await.expect(200);
    let sets = sets["items"].as_array().unwrap();
    assert_eq!(sets.len(), 240);
    assert!(sets.iter().all(|s| s["starts_at"].as_str() < s["ends_at"].as_str()));
    assert!(sets.iter().filter(|s| s["act_id"].is_null()).count() > 1, "TBA is no act");
    let acts = promoter.get(&format!("/v1/festivals/{id}/acts")).await.expect(200);
    assert_eq!(Some(acts["items"].as_array().unwrap().len() as u64), report["acts_created"].as_u64());
    assert!(acts["items"].as_array().unwrap().len() < 240);
    let again = import().await.expect(201);
    assert_eq!((again["unchanged"].as_i64(), again["created"].as_i64()), (Some(240), Some(0)));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_lines_are_named_and_the_others_go_in() {
    let house = House::open().await;
    let festival = house.promoter("Night Ferry Foundation").await.festival("night-ferry").await;
    let lines = json!([
        { "act": "林小野", "stage": "Dry Dock", "day": "Saturday", "start": "2026-06-20T21:30:00", "end": "2026-06-20T22:45:00" },
        { "act": "Salt Radio", "stage": "", "start": "2026-06-20T21:30:00", "end": "2026-06-20T22:45:00" },
        { "act": "Salt Radio", "stage": "Dry Dock", "start": "tonight", "end": "2026-06-20T22:45:00" },
        { "act": "Salt Radio", "stage": "Dry Dock", "start": "2026-07-20T21:30:00", "end": "2026-07-20T22:45:00" }
    ]);
    let report = festival.promoter.send("POST", &festival.path("/lineup-imports"), &lines).await.expect(201);
    let outcomes: Vec<&str> = report["lines"].as_array().unwrap().iter().map(|l| l["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["created", "refused", "refused", "refused"]);
    let no_table =
        answer(festival.promoter.request("POST", &festival.path("/lineup-imports")).header("content-type", "text/csv").body("band,where\nx,y\n")).await;
    assert_eq!(no_table.problem(), "invalid");
    house.close().await;
}

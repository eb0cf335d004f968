//! Whatever ink a promoter chooses, everything printed with it can be read.

use serde_json::{Value, json};

use crate::{browser::scene, house::House};

/// What is printed over what, with the least contrast that the look names, by day and by night, as rendered and rounded. Text
/// needs 4.5 (WCAG 2.2, 1.4.3), lines and shapes 3 (1.4.11).
const NAMED: [(&str, &str, f64, f64); 6] = [
    ("--spot-on", "--spot", 4.58, 4.58),
    ("--spot-ink", "--paper", 5.29, 5.47),
    ("--spot-ink", "--card", 4.59, 4.62),
    ("--print", "--ground", 4.58, 5.76),
    ("--ink", "--spot-wash", 11.66, 11.66),
    ("--faded", "--spot-wash", 4.73, 6.15),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_ink_of_a_promoter_can_be_read_by_day_and_by_night() {
    let house = House::open().await;
    let pairs: Vec<[&str; 2]> = NAMED.iter().map(|(over, under, ..)| [*over, *under]).collect();
    let seen = scene("sweep", &json!({ "url": house.url, "pairs": pairs, "levels": 18 })).await;
    assert_eq!(seen["errors"], json!([]));
    for (i, (over, under, light, dark)) in NAMED.into_iter().enumerate() {
        for (scheme, named) in [("light", light), ("dark", dark)] {
            let worst: &Value = &seen[scheme][i];
            assert_eq!((worst["over"].as_str(), worst["under"].as_str(), worst["spots"].as_i64()), (Some(over), Some(under), Some(5_832)));
            let contrast = worst["contrast"].as_f64().unwrap();
            assert!(contrast >= named - 0.005, "{over} on {under}, {scheme}: {worst}");
        }
    }
    // The sweep looks: inks follow the spot, and black or white follow it, too.
    assert!(seen["light"][1]["shades"].as_i64().unwrap() > 1_000, "{seen}");
    assert_eq!(seen["light"][0]["shades"], 2, "black and white: {seen}");
    house.close().await;
}

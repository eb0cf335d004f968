//! The acts and sets of the demo, through the same import that promoters use.

use chrono::TimeDelta;

use crate::{
    accounts::Staff,
    app::App,
    fault::Fault,
    festivals::{self, Day, Festival, Site, Stage},
    id::StageId,
    lineup::{self, ActTerms, ImportLine},
    words::{Language, Text},
};

/// Acts with their name in Latin letters and their row on the poster.
const ACTS: [(&str, Option<&str>, i16); 24] = [
    ("林小野", Some("Lin Xiaoye"), 1),
    ("Salt Radio", None, 1),
    ("Ines Okafor", None, 1),
    ("南方慢车", Some("Southern Slow Train"), 2),
    ("Halogen Choir", None, 2),
    ("Tessa Vane", None, 2),
    ("夜班司机", Some("Night Shift Driver"), 2),
    ("The Quiet Cartographers", None, 2),
    ("Kestrel Arcade", None, 3),
    ("白噪声少年", Some("White Noise Youth"), 3),
    ("Concrete Swim Team", None, 3),
    ("Second Harbour", None, 3),
    ("雾港", Some("Fog Harbour"), 3),
    ("Low Battery Orchestra", None, 3),
    ("许晚舟", Some("Xu Wanzhou"), 3),
    ("Blackout Bakery", None, 3),
    ("铁皮月亮", Some("Tin Moon"), 3),
    ("Oda Lind Trio", None, 3),
    ("纸飞机俱乐部", Some("Paper Plane Club"), 3),
    ("Rope and Anchor", None, 3),
    ("潮汐电台", Some("Tidal Radio"), 3),
    ("Lantern Hours", None, 3),
    ("Northbound", None, 3),
    ("Slow Voltage", None, 3),
];

/// Sets by day: stage, act, minutes after 14:00, minutes long.
const SETS: [(usize, &str, &str, i64, i64); 30] = [
    (0, "Dry Dock", "Second Harbour", 120, 50),
    (0, "Boiler House", "Blackout Bakery", 150, 45),
    (0, "Lighthouse", "Oda Lind Trio", 180, 45),
    (0, "Dry Dock", "Tessa Vane", 250, 60),
    (0, "Boiler House", "夜班司机", 330, 60),
    (0, "Lighthouse", "Northbound", 350, 50),
    (0, "Dry Dock", "Salt Radio", 480, 90),
    (0, "Boiler House", "Slow Voltage", 580, 60),
    (0, "Cargo Hold", "潮汐电台", 600, 130),
    (1, "Boiler House", "Blackout Bakery", 120, 45),
    (1, "Lighthouse", "Oda Lind Trio", 135, 45),
    (1, "Dry Dock", "纸飞机俱乐部", 150, 45),
    (1, "Cargo Hold", "铁皮月亮", 180, 50),
    (1, "Boiler House", "白噪声少年", 200, 50),
    (1, "Lighthouse", "许晚舟", 225, 45),
    (1, "Dry Dock", "Kestrel Arcade", 240, 50),
    (1, "Cargo Hold", "Low Battery Orchestra", 280, 50),
    (1, "Boiler House", "Concrete Swim Team", 390, 60),
    (1, "Lighthouse", "Ines Okafor", 420, 60),
    (1, "Dry Dock", "林小野", 450, 75),
    (1, "Cargo Hold", "Rope and Anchor", 470, 60),
    (1, "Boiler House", "Halogen Choir", 500, 70),
    (1, "Lighthouse", "雾港", 530, 60),
    (1, "Dry Dock", "", 570, 90),
    (2, "Lighthouse", "Lantern Hours", 60, 50),
    (2, "Boiler House", "The Quiet Cartographers", 150, 60),
    (2, "Cargo Hold", "Low Battery Orchestra", 200, 50),
    (2, "Dry Dock", "Tessa Vane", 260, 60),
    (2, "Boiler House", "Concrete Swim Team", 330, 60),
    (2, "Dry Dock", "南方慢车", 420, 80),
];

/// Books the line-up.
///
/// # Errors
/// [`Fault`].
pub async fn book(app: &App, staff: &Staff, festival: &Festival, days: &[Day]) -> Result<(), Fault> {
    let (id, now, zone) = (festival.festival_id, app.clock.now(), &festival.terms.time_zone);
    for (i, (en, zh)) in [("Dry Dock", "船坞"), ("Boiler House", "锅炉房"), ("Lighthouse", "灯塔"), ("Cargo Hold", "货舱")].into_iter().enumerate() {
        let stage = Stage { stage_id: StageId::fresh(id, now), zone_id: None, name: Text::both(en, zh), sort: i16::try_from(i).unwrap_or(0) };
        festivals::add(app, staff, id, &Site::Stage(stage)).await?;
    }
    for (name, latin, billing) in ACTS {
        let terms = ActTerms { name: name.to_owned(), latin_name: latin.map(str::to_owned), billing };
        lineup::add_act(app, staff, id, &terms).await?;
    }
    let local = |at| Language::En.at(at, zone).zoned().datetime().to_string();
    let lines: Vec<ImportLine> = SETS
        .iter()
        .filter_map(|(day, stage, act, from, length)| {
            let day = days.get(*day)?;
            // Days open at seven; the first set is at two in the afternoon.
            let starts = day.opens_at + TimeDelta::hours(7) + TimeDelta::minutes(*from);
            let ends = starts + TimeDelta::minutes(*length);
            Some(ImportLine { act: (*act).to_owned(), stage: (*stage).to_owned(), day: String::new(), start: local(starts), end: local(ends) })
        })
        .collect();
    let report = lineup::import(app, staff, id, &lines).await?;
    if report.refused > 0 {
        return Err(Fault::House(format!("the line-up of the demo has {} wrong lines", report.refused)));
    }
    Ok(())
}

//! What holds for whatever a stranger sends to a gate: each function panics where a parser does not keep its word. Fed by cargo-fuzz (`targets/`), and by
//! the corpus in every run of the tests (`tests/it/corpus.rs`).

use data_encoding::BASE32_NOPAD;
use gatefold::{
    entry::{
        api::ScanBatch,
        head_counts::{HeadCount, api::NewHeadCounts},
        merge::Reported,
        overrides::card::CardCode,
    },
    id::FestivalId,
    keys::Ring,
    tickets::code::{Shown, TicketCode},
};
use poem_openapi::types::{ParseFromJSON, ToJSON};

/// A text that a camera or a scanner reads, and the bytes as each kind of code: what is read is written again as it was. How many are read.
pub fn code(data: &[u8]) -> usize {
    let mut read = 0;
    let text = String::from_utf8_lossy(data);
    let bodies = ["G1", "G2", "G3", "G5"].map(|prefix| format!("{prefix}{}", BASE32_NOPAD.encode(data)));
    for text in bodies.iter().map(String::as_str).chain([&*text]) {
        if let Ok((code, signature)) = TicketCode::parse(text) {
            let again = format!("G1{}", BASE32_NOPAD.encode(&[code.bytes().as_slice(), &signature].concat()));
            assert_eq!(again, text, "a code is read and written");
            read += 1;
        }
        if let Some((card, signature)) = CardCode::parse(text) {
            let again = format!("G3{}", BASE32_NOPAD.encode(&[card.bytes().as_slice(), &signature].concat()));
            assert_eq!(again, text, "a card is read and written");
            read += 1;
        }
        // Nobody signs for a festival without keys.
        assert!(Shown::signed(text, FestivalId(217), &Ring::default()).is_err());
    }
    read
}

/// A body in which a device reports what it did without network: what is read is written and read again alike. How many are read.
pub fn batch(data: &[u8]) -> usize {
    let mut read = 0;
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(data) else { return read };
    if let Ok(batch) = ScanBatch::parse_from_json(Some(json.clone())) {
        let written = batch.to_json();
        let Ok(again) = ScanBatch::parse_from_json(written.clone()) else { panic!("{written:?} is not read again") };
        assert_eq!(again.to_json(), written, "a batch is written and read");
        read += 1;
        batch.scans.into_iter().map(Reported::from).for_each(drop);
    }
    if let Ok(counts) = NewHeadCounts::parse_from_json(Some(json)) {
        let written = counts.to_json();
        let Ok(again) = NewHeadCounts::parse_from_json(written.clone()) else { panic!("{written:?} is not read again") };
        assert_eq!(again.to_json(), written, "head counts are written and read");
        read += 1;
        counts.counts.into_iter().map(HeadCount::from).for_each(drop);
    }
    read
}

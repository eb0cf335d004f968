//! The corpus of fuzzing, played in every run: what cargo-fuzz found worth keeping, and what must never be accepted again.

use std::path::Path;

#[path = "../fuzz/properties.rs"]
mod properties;

fn play(corpus: &str, property: fn(&[u8])) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(corpus);
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    for file in &files {
        let data = std::fs::read(file).unwrap();
        assert!(std::panic::catch_unwind(|| property(&data)).is_ok(), "{} breaks a parser", file.display());
    }
    files.len()
}

#[test]
fn the_corpus_of_fuzzing_breaks_no_parser() {
    assert!(play("code", properties::code) >= 20 && play("batch", properties::batch) >= 10);
}

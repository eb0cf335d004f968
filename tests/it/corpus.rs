//! The corpus of fuzzing, played in every run: what cargo-fuzz found worth keeping, and what must never be accepted again.

use std::path::Path;

#[path = "../fuzz/properties.rs"]
mod properties;

/// How many files there are, and how many of them are read.
fn play(corpus: &str, property: fn(&[u8]) -> usize) -> (usize, usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(corpus);
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    let mut read = 0;
    for file in &files {
        let data = std::fs::read(file).unwrap();
        let played = std::panic::catch_unwind(|| property(&data));
        read += played.unwrap_or_else(|_| panic!("{} breaks a parser", file.display()));
    }
    (files.len(), read)
}

#[test]
fn the_corpus_of_fuzzing_breaks_no_parser() {
    let [(codes, read), (batches, taken)] = [play("code", properties::code), play("batch", properties::batch)];
    assert!(codes >= 20 && read >= 10 && batches >= 10 && taken >= 10, "{codes} {read} {batches} {taken}");
}

//! The picture of a ticket on paper: 25 mm wide, a tenth of it under a thumb or a blot, read by two decoders at least that know nothing of each other.

use gatefold::tickets::picture::{Surface, png};
use image::{GrayImage, Luma};

/// Modules of the quiet zone on each side; the code has 49.
const QUIET: u32 = 4;
/// Pixels of a module: 25 mm are 294 pixels, as a camera or a scanner at 300 dots an inch sees it.
const SCALE: u32 = 6;
/// The side of a square that covers a tenth of the code, in modules: 15.5 of 49, rounded up.
const BLOT: u32 = 16;

/// The code with a blot whose corner is at a module.
fn blotted(png: &[u8], (left, top): (u32, u32), ink: u8) -> GrayImage {
    let mut picture = image::load_from_memory(png).unwrap().to_luma8();
    let at = |module: u32| (module + QUIET) * SCALE;
    for y in at(top)..at(top + BLOT) {
        for x in at(left)..at(left + BLOT) {
            picture.put_pixel(x, y, Luma([ink]));
        }
    }
    picture
}

async fn by_zbar(picture: &GrayImage, name: &str) -> Option<String> {
    std::fs::create_dir_all(crate::house::folder()).unwrap();
    let file = crate::house::folder().join(format!("print-{name}.png"));
    picture.save(&file).unwrap();
    by_zbar_file(&file).await
}

/// What zbar reads in a picture.
pub async fn by_zbar_file(file: &std::path::Path) -> Option<String> {
    let read = tokio::process::Command::new("zbarimg").args(["--quiet", "--raw", "-Sdisable", "-Sqrcode.enable"]).arg(file).output().await;
    let text = String::from_utf8(read.expect("zbarimg is missing: apt-get install zbar-tools").stdout).unwrap();
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// What rqrr reads in a picture.
pub fn by_rqrr(picture: &GrayImage) -> Option<String> {
    let [width, height] = [picture.width(), picture.height()].map(|side| usize::try_from(side).unwrap());
    let mut prepared = rqrr::PreparedImage::prepare_from_greyscale(width, height, |x, y| picture.as_raw()[y * width + x]);
    prepared.detect_grids().into_iter().find_map(|grid| grid.decode().ok()).map(|(_, text)| text)
}

/// What zxing reads in pictures: the reader of the gate's page, where a browser has none.
async fn by_zxing(files: &[std::path::PathBuf]) -> Vec<Option<String>> {
    let home = crate::house::folder().join("zxing");
    let folder = home.clone();
    tokio::task::spawn_blocking(move || gatefold::scanner::obtain(&folder, &|_| {})).await.unwrap().expect("the QR reader");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/zxing.mjs");
    let read = tokio::process::Command::new("node").arg(script).arg(home.join("scanner")).args(files).output().await.unwrap();
    serde_json::from_slice(&read.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&read.stderr)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_printed_ticket_is_read_with_a_tenth_of_it_covered() {
    let text = format!("G1{}Q", "A7KM".repeat(35));
    assert_eq!(text.len(), 143);
    let code = png(&text, Surface::Print, usize::try_from(SCALE).unwrap()).unwrap();
    // Outside of the three eyes: the middle, the edges between the eyes, the lower right.
    let places = [("middle", (16, 16)), ("top", (16, 0)), ("left", (0, 16)), ("right", (33, 16)), ("bottom", (16, 33)), ("corner", (33, 33))];
    let covered: Vec<(String, GrayImage)> =
        places.iter().flat_map(|(name, place)| [0, 255].map(|ink| (format!("{name}-{ink}"), blotted(&code, *place, ink)))).collect();
    let mut files = Vec::new();
    for (name, picture) in &covered {
        assert_eq!(by_zbar(picture, name).await.as_deref(), Some(text.as_str()), "zbar, {name}");
        files.push(crate::house::folder().join(format!("print-{name}.png")));
        // rqrr finds its way to the fourth corner by the small pattern there: without it, it does not guess.
        assert!(name.starts_with("corner") || by_rqrr(picture).as_deref() == Some(text.as_str()), "rqrr, {name}");
    }
    let read = by_zxing(&files).await;
    let lost: Vec<&str> = covered.iter().zip(&read).filter(|(_, read)| read.as_deref() != Some(text.as_str())).map(|((name, _), _)| name.as_str()).collect();
    assert!(lost.is_empty(), "zxing did not read {lost:?}");
    // The negative control: half of it is too much for anybody.
    let mut picture = image::load_from_memory(&code).unwrap().to_luma8();
    for y in 0..picture.height() / 2 {
        for x in 0..picture.width() {
            picture.put_pixel(x, y, Luma([128]));
        }
    }
    assert_eq!((by_rqrr(&picture), by_zbar(&picture, "half").await), (None, None));
    assert_eq!(by_zxing(&[crate::house::folder().join("print-half.png")]).await, [None]);
}

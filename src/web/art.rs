//! The picture made from a name: where no poster or cover was uploaded, the server prints one as SVG in two fills, so it
//! follows ink and theme. Seed: FNV-1a 64 of the UTF-8 name; bits 47-48 choose the printing, xorshift64 (13, 7, 17) draws.

use std::fmt::Write;

use maud::{Markup, PreEscaped, html};

/// The draw of a name.
struct Draw(u64);

impl Draw {
    fn new(name: &str) -> Self {
        let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Self(seed)
    }

    fn printing(&self) -> u64 {
        self.0 >> 47 & 3
    }

    /// A number below `n`.
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) % n
    }
}

/// Writes into the picture; writing to a String does not fail.
macro_rules! put {
    ($out:expr, $($arg:tt)*) => { let _ = write!($out, $($arg)*); };
}

/// A poster: 600 x 520, set at the foot of its panel.
#[must_use]
pub fn poster(name: &str) -> Markup {
    let mut draw = Draw::new(name);
    let mut out = String::new();
    match draw.printing() {
        0 => moonrise(&mut out, &mut draw, name),
        1 => split(&mut out, &mut draw, name),
        2 => steps(&mut out, &mut draw, 520),
        _ => tape(&mut out, name, 520.0),
    }
    html! { svg class="art" viewBox="0 0 600 520" preserveAspectRatio="xMidYMax meet" aria-hidden="true" { (PreEscaped(out)) } }
}

/// A cover: 600 x 600.
#[must_use]
pub fn cover(name: &str, label: &str) -> Markup {
    let mut draw = Draw::new(name);
    let mut out = String::from("<rect class=\"g\" width=\"600\" height=\"600\"/>");
    if draw.printing() == 3 {
        tape(&mut out, name, 600.0);
    } else {
        steps(&mut out, &mut draw, 600);
    }
    html! { svg viewBox="0 0 600 600" preserveAspectRatio="xMidYMid slice" role="img" aria-label=(label) { (PreEscaped(out)) } }
}

/// The broken record of problem pages.
#[must_use]
pub fn broken(name: &str) -> Markup {
    let mut out = String::new();
    split(&mut out, &mut Draw::new(name), name);
    html! { svg class="art broken" viewBox="0 0 600 520" preserveAspectRatio="xMidYMax meet" aria-hidden="true" { (PreEscaped(out)) } }
}

/// A record: disc, grooves, light, label.
fn record(out: &mut String, draw: &mut Draw, (x, y): (u64, u64), radius: u64) {
    put!(out, "<circle class=\"p\" cx=\"{x}\" cy=\"{y}\" r=\"{radius}\"/><g class=\"gl\">");
    let mut groove = radius * 35 / 100;
    while groove + 6 < radius {
        let width = if draw.below(9) == 0 { "4" } else { "0.9" };
        put!(out, "<circle cx=\"{x}\" cy=\"{y}\" r=\"{groove}\" stroke-width=\"{width}\"/>");
        groove += 6;
    }
    put!(out, "</g><circle class=\"g\" cx=\"{x}\" cy=\"{y}\" r=\"{}\"/><circle class=\"p\" cx=\"{x}\" cy=\"{y}\" r=\"7\"/>", radius * 31 / 100);
}

/// A record half under a horizon, its light as bars on the water.
fn moonrise(out: &mut String, draw: &mut Draw, name: &str) {
    let id = format!("sky-{:x}", Draw::new(name).0 & 0xffff);
    put!(out, "<clipPath id=\"{id}\"><rect x=\"0\" y=\"-400\" width=\"600\" height=\"745\"/></clipPath><g clip-path=\"url(#{id})\">");
    record(out, draw, (300, 262), 250);
    put!(out, "</g><rect class=\"p\" x=\"-900\" y=\"345\" width=\"2400\" height=\"3\"/>");
    let (mut y, mut height) = (358, 4);
    for step in 0..10 {
        let width = 520_u64.saturating_sub(step * 36) - draw.below(40);
        let x = 300 - width / 2 + draw.below(30) - 15;
        put!(out, "<rect class=\"p\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"/>");
        if draw.below(3) == 0 {
            put!(out, "<rect class=\"g\" x=\"{}\" y=\"{y}\" width=\"{}\" height=\"{height}\"/>", 240 + draw.below(80), 40 + draw.below(50));
        }
        y += height + 8 + step;
        height += 1 + step % 2;
    }
}

/// A record cut at the fold, one half slid down.
fn split(out: &mut String, draw: &mut Draw, name: &str) {
    let slide = 60 + draw.below(60);
    let id = format!("half-{:x}", Draw::new(name).0 & 0xffff);
    for (side, x, y) in [("l", 0, 212), ("r", 302, 212 + slide)] {
        put!(out, "<clipPath id=\"{id}{side}\"><rect x=\"{x}\" y=\"-200\" width=\"298\" height=\"1200\"/></clipPath><g clip-path=\"url(#{id}{side})\">");
        record(out, draw, (300, y), 196);
        out.push_str("</g>");
    }
}

/// A sheet of quarter records.
fn steps(out: &mut String, draw: &mut Draw, height: u64) {
    for row in 0..height.div_ceil(100) {
        for column in 0..6_u64 {
            let (x, y) = (column * 100, row * 100);
            match draw.below(7) {
                0 => {}
                1 => {
                    put!(
                        out,
                        "<rect class=\"p\" x=\"{x}\" y=\"{y}\" width=\"100\" height=\"100\"/><circle class=\"g\" cx=\"{}\" cy=\"{}\" r=\"12\"/>",
                        x + 50,
                        y + 50
                    );
                }
                2 => {
                    put!(out, "<circle class=\"p\" cx=\"{0}\" cy=\"{1}\" r=\"50\"/><g class=\"gl\">", x + 50, y + 50);
                    for r in [20, 26, 32, 38, 44] {
                        put!(out, "<circle cx=\"{}\" cy=\"{}\" r=\"{r}\" stroke-width=\"0.9\"/>", x + 50, y + 50);
                    }
                    out.push_str("</g>");
                }
                corner => {
                    let grooves = draw.below(2) == 0;
                    let (cx, cy) = (x + if corner % 2 == 0 { 100 } else { 0 }, y + if corner < 5 { 0 } else { 100 });
                    let (ex, ey) = (if cx == x { x + 100 } else { x }, if cy == y { y + 100 } else { y });
                    let sweep = u8::from((cx == x) == (cy == y));
                    put!(out, "<path class=\"p\" d=\"M{cx} {cy}L{ex} {cy}A100 100 0 0 {sweep} {cx} {ey}z\"/>");
                    if grooves {
                        for r in [35_i64, 52, 69, 86] {
                            let sx = i64::try_from(cx).unwrap_or(0) + if cx == x { r } else { -r };
                            let sy = i64::try_from(cy).unwrap_or(0) + if cy == y { r } else { -r };
                            put!(out, "<path class=\"gl\" stroke-width=\"1.2\" d=\"M{sx} {cy}A{r} {r} 0 0 {sweep} {cx} {sy}\"/>");
                        }
                    }
                }
            }
        }
    }
}

/// One bar a letter, its height by its place in the alphabet.
fn tape(out: &mut String, name: &str, height: f64) {
    let letters: Vec<u32> = name.chars().filter(|c| c.is_alphanumeric()).take(24).map(|c| c.to_lowercase().next().map_or(0, u32::from)).collect();
    let count = f64::from(u32::try_from(letters.len().max(1)).unwrap_or(1));
    let pitch = 600.0 / count;
    for (i, letter) in letters.iter().enumerate() {
        let place = f64::from(letter.wrapping_sub(97) % 26) / 26.0;
        let (x, y) = (pitch * f64::from(u32::try_from(i).unwrap_or(0)) + pitch * 0.1, height * 0.15 + place * height * 0.65);
        let (width, centre) = (pitch * 0.8, pitch * 0.5 + pitch * f64::from(u32::try_from(i).unwrap_or(0)));
        put!(out, "<rect class=\"p\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{:.1}\"/>", height + 400.0 - y);
        put!(out, "<circle class=\"g\" cx=\"{centre:.1}\" cy=\"{:.1}\" r=\"{:.1}\"/>", y + pitch * 0.6, pitch * 0.22);
        put!(out, "<circle class=\"p\" cx=\"{centre:.1}\" cy=\"{:.1}\" r=\"{:.1}\"/>", y + pitch * 0.6, pitch * 0.05);
    }
}

/// The length of the longest word of a title in letters, as the stylesheet counts: M and W 1.3, I and J .6, a Chinese
/// character 1.75. In tenths.
#[must_use]
pub fn letters(title: &str) -> u32 {
    let word = |word: &str| -> u32 {
        word.chars()
            .map(|c| match c.to_ascii_uppercase() {
                'M' | 'W' => 13,
                'I' | 'J' => 6,
                c if u32::from(c) > 0x2e7f => 17,
                _ => 10,
            })
            .sum()
    };
    title.split_whitespace().map(word).max().unwrap_or(80).clamp(25, 160)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_always_prints_the_same_picture() {
        for name in ["Night Ferry", "退潮", "Midsummer", "x"] {
            assert_eq!(poster(name).into_string(), poster(name).into_string());
            assert!(cover(name, "x").into_string().contains("<rect"));
        }
        assert_ne!(poster("Night Ferry").into_string(), poster("Low Tide").into_string());
    }

    #[test]
    fn letters_are_counted_as_the_stylesheet_counts() {
        assert_eq!(letters("Night Ferry"), 50);
        assert_eq!(letters("夜渡"), 34);
        assert_eq!(letters("Concrete Garden"), 80);
    }
}

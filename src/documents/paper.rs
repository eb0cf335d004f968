//! A document on paper: pages of A4 as tagged PDF (PDF/UA-1, ISO 14289-1, as far as `krilla` checks it), its fonts inside. Lays out, decides nothing.
//!
//! Latin, Greek and Cyrillic letters come from DejaVu, which the house carries; Chinese ones from a font of the machine, because none is small enough to
//! be carried. `krilla` chooses no font by itself: a text is cut into runs by what each font has.

use std::{num::NonZeroU16, sync::OnceLock};

use krilla::{
    Document, SerializeSettings,
    configure::{Accessibility, ConfigurationBuilder},
    destination::XyzDestination,
    geom::{PathBuilder, Point},
    metadata::Metadata,
    outline::{Outline, OutlineNode},
    page::PageSettings,
    paint::Stroke,
    surface::Surface,
    tagging::{Artifact, ArtifactType, ContentTag, Identifier, SpanTag, TableHeaderScope, Tag, TagGroup, TagTree},
    text::{Font, TextDirection},
};

/// What is printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paper {
    /// The language of its words (BCP 47).
    pub language: String,
    /// Its title: `Invoice NF26-000001`.
    pub title: String,
    /// Who writes it: what they are called here, a name, then lines.
    pub from: Vec<String>,
    /// Who it is for: the same.
    pub to: Vec<String>,
    /// What it is about: names and values.
    pub facts: Vec<(String, String)>,
    /// Its tables.
    pub tables: Vec<Table>,
    /// Sentences below.
    pub notes: Vec<String>,
}

/// A table: the first column is text, the others are numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// What its columns say.
    pub head: Vec<String>,
    /// Its rows: the cells, and small lines below the first one.
    pub rows: Vec<(Vec<String>, Vec<String>)>,
    /// Its last row, printed large.
    pub sum: Option<Vec<String>>,
}

/// The paper could not be printed.
#[derive(Debug, thiserror::Error)]
#[error("the document cannot be printed: {0}")]
pub struct NoPaper(String);

/// A4, in points.
const WIDTH: f32 = 595.0;
const HEIGHT: f32 = 842.0;
const LEFT: f32 = 56.0;
const RIGHT: f32 = WIDTH - LEFT;
/// Below this a new page begins.
const BOTTOM: f32 = HEIGHT - 72.0;
/// The width of a column of numbers.
const COLUMN: f32 = 84.0;

/// A font, to measure with and to embed.
struct Face {
    font: Font,
    shapes: rustybuzz::Face<'static>,
}

impl Face {
    fn of(data: &'static [u8], index: u32) -> Option<Self> {
        Some(Self { font: Font::new(data.into(), index)?, shapes: rustybuzz::Face::from_slice(data, index)? })
    }

    fn has(&self, letter: char) -> bool {
        self.shapes.glyph_index(letter).is_some()
    }

    /// How wide a text is, in ems.
    fn width(&self, text: &str) -> f32 {
        let mut buffer = rustybuzz::UnicodeBuffer::new();
        buffer.push_str(text);
        buffer.guess_segment_properties();
        let shaped = rustybuzz::shape(&self.shapes, &[], buffer);
        let units: i32 = shaped.glyph_positions().iter().map(|at| at.x_advance).sum();
        length(units) / length(self.shapes.units_per_em())
    }
}

/// A number of units, columns or letters as a length; the sizes of pages are far below where it would be rounded.
fn length(n: i32) -> f32 {
    let clamped = n.clamp(-8_000_000, 8_000_000);
    f32::from(i16::try_from(clamped / 1_000).unwrap_or_default()) * 1_000.0 + f32::from(i16::try_from(clamped % 1_000).unwrap_or_default())
}

/// The fonts of one weight, the one that is asked first first.
type Weight = Vec<Face>;

struct Fonts {
    plain: Weight,
    bold: Weight,
}

/// The fonts of the house, read once; those of the machine too.
fn fonts() -> &'static Fonts {
    static FONTS: OnceLock<Fonts> = OnceLock::new();
    FONTS.get_or_init(|| {
        let mut machine = fontdb::Database::new();
        machine.load_system_fonts();
        let chinese = |weight: fontdb::Weight| {
            let names = [
                "Noto Sans CJK SC",
                "Noto Sans SC",
                "Source Han Sans SC",
                "Source Han Sans CN",
                "WenQuanYi Micro Hei",
                "WenQuanYi Zen Hei",
                "Droid Sans Fallback",
            ];
            let families: Vec<fontdb::Family<'_>> = names.iter().map(|name| fontdb::Family::Name(name)).collect();
            let id = machine.query(&fontdb::Query { families: &families, weight, ..fontdb::Query::default() })?;
            let (data, index) = machine.with_face_data(id, |data, index| (data.to_vec(), index))?;
            // For as long as the process lives, once.
            Face::of(Box::leak(data.into_boxed_slice()), index)
        };
        let weight = |latin: &'static [u8], weight: fontdb::Weight| Face::of(latin, 0).into_iter().chain(chinese(weight)).collect();
        Fonts { plain: weight(dejavu::sans_condensed::regular(), fontdb::Weight::NORMAL), bold: weight(dejavu::sans_condensed::bold(), fontdb::Weight::BOLD) }
    })
}

/// Whether the machine has what it takes to print Chinese.
#[must_use]
pub fn prints_chinese() -> bool {
    fonts().plain.iter().any(|face| face.has('票'))
}

/// A text in runs of one font each. A letter that no font has is printed as an empty box, never left out.
fn runs<'a>(weight: &'a [Face], text: &str) -> Vec<(&'a Face, String)> {
    let mut runs: Vec<(&Face, String)> = Vec::new();
    for letter in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        let (face, letter) = match weight.iter().find(|face| face.has(letter)) {
            Some(face) => (face, letter),
            None => (&weight[0], '\u{25a1}'),
        };
        match runs.last_mut() {
            Some((last, run)) if std::ptr::eq(*last, face) => run.push(letter),
            _ => runs.push((face, letter.to_string())),
        }
    }
    runs
}

fn width(weight: &[Face], text: &str, size: f32) -> f32 {
    runs(weight, text).iter().map(|(face, run)| face.width(run) * size).sum()
}

/// A text in lines that fit, broken at blanks, and where a word is too long, or between Chinese letters, anywhere.
fn lines(weight: &[Face], text: &str, size: f32, most: f32) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_inclusive(|c: char| c == ' ' || is_chinese(c)) {
        if !line.is_empty() && width(weight, &format!("{line}{}", word.trim_end()), size) > most {
            lines.push(std::mem::take(&mut line).trim_end().to_owned());
        }
        for letter in word.chars() {
            if !line.is_empty() && width(weight, &line, size) + size > most && width(weight, &format!("{line}{letter}"), size) > most {
                lines.push(std::mem::take(&mut line));
            }
            line.push(letter);
        }
    }
    lines.push(line.trim_end().to_owned());
    lines
}

fn is_chinese(letter: char) -> bool {
    matches!(u32::from(letter), 0x2e80..=0x9fff | 0xf900..=0xfaff | 0xff00..=0xffef | 0x2_0000..=0x3_ffff)
}

/// A piece of text with its place on the page.
struct Piece {
    page: usize,
    at: Point,
    bold: bool,
    size: f32,
    text: String,
}

/// What is put on pages, in the order in which it is read.
enum Part {
    Block(TagGroup, Vec<Piece>),
    Table(Vec<Vec<(TagGroup, Vec<Piece>)>>),
}

/// Lays out: keeps the place where the next thing comes.
struct Layout {
    page: usize,
    y: f32,
    rules: Vec<(usize, f32, f32)>,
    parts: Vec<Part>,
}

impl Layout {
    fn room(&mut self, height: f32) {
        if self.y + height > BOTTOM {
            self.page += 1;
            self.y = LEFT + 16.0;
        }
    }

    fn piece(&self, x: f32, y: f32, bold: bool, size: f32, text: &str) -> Piece {
        Piece { page: self.page, at: Point::from_xy(x, y), bold, size, text: text.to_owned() }
    }

    /// A block of lines.
    fn block(&mut self, tag: TagGroup, texts: &[(String, bool, f32)], x: f32, most: f32) {
        let mut pieces = Vec::new();
        for (text, bold, size) in texts {
            for line in lines(weight(*bold), text, *size, most) {
                self.room(size * 1.35);
                self.y += size * 1.35;
                pieces.push(self.piece(x, self.y, *bold, *size, &line));
            }
        }
        self.parts.push(Part::Block(tag, pieces));
    }

    fn rule(&mut self, thick: f32) {
        self.rules.push((self.page, self.y, thick));
    }

    fn table(&mut self, table: &Table) {
        let columns = table.head.len().max(1);
        let first = RIGHT - LEFT - COLUMN * (length(i32::try_from(columns).unwrap_or(1)) - 1.0);
        let mut rows = vec![self.row(&table.head, &[], true, 9.0, first, true)];
        self.y += 5.0;
        self.rule(1.5);
        for (cells, small) in &table.rows {
            rows.push(self.row(cells, small, false, 10.0, first, false));
            self.y += 5.0;
            self.rule(0.4);
        }
        if let Some(sum) = &table.sum {
            rows.push(self.row(sum, &[], true, 13.0, first, false));
            self.y += 7.0;
            self.rule(1.5);
        }
        self.parts.push(Part::Table(rows));
        self.y += 16.0;
    }

    fn row(&mut self, cells: &[String], small: &[String], bold: bool, size: f32, first: f32, is_head: bool) -> Vec<(TagGroup, Vec<Piece>)> {
        let text = cells.first().map(String::as_str).unwrap_or_default();
        let mut texts: Vec<(String, f32)> = lines(weight(bold), text, size, first - 8.0).into_iter().map(|line| (line, size)).collect();
        texts.extend(small.iter().flat_map(|line| lines(weight(false), line, 8.0, first - 8.0)).map(|line| (line, 8.0)));
        self.room(texts.iter().map(|(_, size)| size * 1.4).sum::<f32>() + 8.0);
        let top = self.y + 6.0;
        let mut y = top;
        let mut pieces = Vec::new();
        for (line, size) in &texts {
            y += size * 1.4;
            pieces.push(self.piece(LEFT, y, bold, *size, line));
        }
        let head = |scope| TagGroup::new(Tag::TH(scope));
        let mut row = vec![(head(if is_head { TableHeaderScope::Column } else { TableHeaderScope::Row }), pieces)];
        for (i, cell) in cells.iter().enumerate().skip(1) {
            let end = LEFT + first + COLUMN * length(i32::try_from(i).unwrap_or(0));
            // A number that is wider than its column takes what it needs of the one before: it is never cut.
            let x = end - width(weight(bold), cell, size);
            let tag = if is_head { head(TableHeaderScope::Column) } else { TagGroup::new(Tag::TD) };
            row.push((tag, vec![self.piece(x, top + size * 1.4, bold, size, cell)]));
        }
        self.y = y;
        row
    }
}

fn weight(bold: bool) -> &'static Weight {
    if bold { &fonts().bold } else { &fonts().plain }
}

/// Prints a paper.
///
/// # Errors
/// [`NoPaper`] when a font of the house is broken.
pub fn print(paper: &Paper) -> Result<Vec<u8>, NoPaper> {
    let mut layout = Layout { page: 0, y: LEFT, rules: Vec::new(), parts: Vec::new() };
    let heading = TagGroup::new(Tag::Hn(NonZeroU16::MIN, Some(paper.title.clone())));
    let paragraph = || TagGroup::new(Tag::P);
    layout.block(heading, &[(paper.title.clone(), true, 24.0)], LEFT, RIGHT - LEFT);
    layout.y += 14.0;
    layout.rule(1.5);
    layout.y += 10.0;
    let top = layout.y;
    let party = |of: &[String]| of.iter().enumerate().map(|(i, line)| (line.clone(), i == 1, if i == 0 { 8.0 } else { 10.0 })).collect::<Vec<_>>();
    layout.block(paragraph(), &party(&paper.from), LEFT, 220.0);
    let left_end = (layout.page, layout.y);
    (layout.page, layout.y) = (0, top);
    layout.block(paragraph(), &party(&paper.to), 320.0, RIGHT - 320.0);
    if (layout.page, layout.y) < left_end {
        (layout.page, layout.y) = left_end;
    }
    layout.y += 18.0;
    let facts: Vec<_> = paper.facts.iter().map(|(name, value)| (format!("{name}: {value}"), false, 10.0)).collect();
    layout.block(paragraph(), &facts, LEFT, RIGHT - LEFT);
    layout.y += 18.0;
    for table in &paper.tables {
        layout.table(table);
    }
    for note in &paper.notes {
        layout.y += 4.0;
        layout.block(paragraph(), &[(note.clone(), false, 9.0)], LEFT, RIGHT - LEFT);
    }
    written(paper, layout)
}

fn written(paper: &Paper, layout: Layout) -> Result<Vec<u8>, NoPaper> {
    let failed = |why: &dyn std::fmt::Debug| NoPaper(format!("{why:?}"));
    let configuration = ConfigurationBuilder::new().with_accessibility_validator(Accessibility::UA1).finish().map_err(|why| failed(&why))?;
    let mut document = Document::new_with(SerializeSettings { configuration, enable_tagging: true, ..SerializeSettings::default() });
    let pages = layout.page + 1;
    // What is drawn on a page, with the place that its name has in the tree.
    let mut names: Vec<Vec<Identifier>> = Vec::new();
    let mut flat: Vec<&Piece> = Vec::new();
    for part in &layout.parts {
        match part {
            Part::Block(_, pieces) => flat.extend(pieces),
            Part::Table(rows) => flat.extend(rows.iter().flatten().flat_map(|(_, pieces)| pieces)),
        }
    }
    names.resize_with(flat.len(), Vec::new);
    for page_no in 0..pages {
        let settings = PageSettings::from_wh(WIDTH, HEIGHT).ok_or_else(|| NoPaper("a page has a size".to_owned()))?;
        let mut page = document.start_page_with(settings);
        let mut surface = page.surface();
        for (_, y, thick) in layout.rules.iter().filter(|(page, ..)| *page == page_no) {
            surface.start_tagged(ContentTag::Artifact(Artifact::with_kind(ArtifactType::Other)));
            rule(&mut surface, *y, *thick);
            surface.end_tagged();
        }
        for (i, piece) in flat.iter().enumerate().filter(|(_, piece)| piece.page == page_no) {
            names[i].push(surface.start_tagged(ContentTag::Span(SpanTag::empty().with_lang(Some(&paper.language)))));
            draw(&mut surface, piece);
            surface.end_tagged();
        }
        if pages > 1 {
            let text = format!("{} / {pages}", page_no + 1);
            let x = RIGHT - width(weight(false), &text, 8.0);
            surface.start_tagged(ContentTag::Artifact(Artifact::with_kind(ArtifactType::Footer)));
            draw(&mut surface, &Piece { page: page_no, at: Point::from_xy(x, HEIGHT - 40.0), bold: false, size: 8.0, text });
            surface.end_tagged();
        }
        surface.finish();
        page.finish();
    }
    let mut names = names.into_iter();
    let mut fill = |mut group: TagGroup, pieces: Vec<Piece>| {
        for name in names.by_ref().take(pieces.len()).flatten() {
            group.push(name);
        }
        group
    };
    let mut tree = TagTree::new();
    for part in layout.parts {
        match part {
            Part::Block(group, pieces) => tree.push(fill(group, pieces)),
            Part::Table(rows) => {
                let mut table = TagGroup::new(Tag::Table);
                for row in rows {
                    let mut group = TagGroup::new(Tag::TR);
                    for (cell, pieces) in row {
                        group.push(fill(cell, pieces));
                    }
                    table.push(group);
                }
                tree.push(table);
            }
        }
    }
    document.set_tag_tree(tree);
    let mut outline = Outline::new();
    outline.push_child(OutlineNode::new(paper.title.clone(), XyzDestination::new(0, Point::from_xy(LEFT, LEFT))));
    document.set_outline(outline);
    document.set_metadata(Metadata::new().title(paper.title.clone()).language(paper.language.clone()).creator("Gatefold".to_owned()));
    document.finish().map_err(|why| failed(&why))
}

fn rule(surface: &mut Surface<'_>, y: f32, thick: f32) {
    let mut line = PathBuilder::new();
    line.move_to(LEFT, y);
    line.line_to(RIGHT, y);
    if let Some(line) = line.finish() {
        surface.set_stroke(Some(Stroke { width: thick, ..Stroke::default() }));
        surface.draw_path(&line);
        surface.set_stroke(None);
    }
}

fn draw(surface: &mut Surface<'_>, piece: &Piece) {
    let mut x = piece.at.x;
    for (face, run) in runs(weight(piece.bold), &piece.text) {
        surface.draw_text(Point::from_xy(x, piece.at.y), face.font.clone(), piece.size, &run, false, TextDirection::Auto);
        x += face.width(&run) * piece.size;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_people_are_called_is_printed() {
        let names =
            ["👨\u{200d}👩 \u{fe0f}", "\u{feff}\u{e000}\u{0}\u{7}", "שלום", "مرحبا", "ไทย", "e\u{301}\u{301}\u{301}", "", "한국", "𠮷野家", "\u{202e}gnp"];
        let rows = names.iter().map(|name| (vec![(*name).to_owned(), "1".to_owned()], vec![(*name).to_owned()])).collect();
        let table = Table { head: vec!["What".to_owned(), "Amount".to_owned()], rows, sum: None };
        let long = "x".repeat(500);
        let paper = Paper {
            language: "en".to_owned(),
            title: "Invoice 1".to_owned(),
            from: names.iter().map(|name| (*name).to_owned()).collect(),
            to: vec![String::new(), long.clone()],
            facts: vec![(String::new(), long)],
            tables: vec![table.clone(), table],
            notes: vec!["word ".repeat(400); 4],
        };
        let pdf = print(&paper).unwrap();
        assert!(pdf.starts_with(b"%PDF-1.7"));
        assert!(print(&Paper { title: "Nothing".to_owned(), language: "zh-Hans".to_owned(), ..Paper::default() }).is_ok());
    }

    #[test]
    fn a_line_is_broken_at_blanks_and_where_a_word_is_too_long_anywhere() {
        let broken = lines(weight(false), "the weekend and the record", 10.0, 70.0);
        assert!(broken.len() > 1 && broken.iter().all(|line| width(weight(false), line, 10.0) <= 70.0), "{broken:?}");
        assert_eq!(broken.join(" "), "the weekend and the record");
        let long = lines(weight(false), &"w".repeat(40), 10.0, 70.0);
        assert!(long.len() > 1 && long.iter().all(|line| width(weight(false), line, 10.0) <= 70.0), "{long:?}");
    }
}

//! All words of pages and emails: one catalog, English and Chinese side by side (Project Fluent).
//!
//! A page says `w.t("held")`; a word with a value says `w.f("held-until", [("time", ..)])`. A test compares the keys of the
//! two files and looks for keys that nobody says.

use std::{borrow::Cow, sync::OnceLock};

use chrono::{DateTime, Utc};
use fluent_bundle::{FluentArgs, FluentResource, FluentValue, concurrent::FluentBundle};
use jiff::{Timestamp, Zoned, tz::TimeZone};
use poem_openapi::{Enum, Object};
use serde::{Deserialize, Serialize};

/// The English words, for the test that compares the keys.
pub const ENGLISH: &str = include_str!("en.ftl");
/// The Chinese words, for the test that compares the keys.
pub const CHINESE: &str = include_str!("zh.ftl");

/// A language that Gatefold speaks to fans and staff.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Enum, Serialize, Deserialize, sqlx::Type)]
#[oai(rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Language {
    /// English.
    #[default]
    En,
    /// Chinese in simplified characters.
    Zh,
}

impl Language {
    /// The tag of BCP 47 for `lang` attributes.
    #[must_use]
    pub fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Zh => "zh-Hans",
        }
    }

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::En => Self::Zh,
            Self::Zh => Self::En,
        }
    }

    /// Chooses by the header `Accept-Language` (RFC 9110 12.5.4): the first of ours in the order of preference.
    #[must_use]
    pub fn from_header(header: Option<&str>) -> Self {
        let mut wishes: Vec<(f32, Self)> = header
            .unwrap_or_default()
            .split(',')
            .take(20)
            .filter_map(|wish| {
                let (tag, quality) = wish.split_once(";q=").unwrap_or((wish, "1"));
                let language = match tag.trim().get(..2)?.to_ascii_lowercase().as_str() {
                    "zh" => Self::Zh,
                    "en" => Self::En,
                    _ => return None,
                };
                Some((quality.trim().parse().unwrap_or(0.0), language))
            })
            .collect();
        wishes.sort_by(|a, b| b.0.total_cmp(&a.0));
        wishes.first().map_or(Self::En, |(_, language)| *language)
    }

    fn bundle(self) -> &'static FluentBundle<FluentResource> {
        static BUNDLES: OnceLock<[FluentBundle<FluentResource>; 2]> = OnceLock::new();
        let [english, chinese] = BUNDLES.get_or_init(|| {
            [("en", ENGLISH), ("zh-Hans", CHINESE)].map(|(tag, text)| {
                let mut bundle = FluentBundle::new_concurrent(vec![tag.parse().unwrap_or_default()]);
                bundle.set_use_isolating(false);
                let resource = FluentResource::try_new(text.to_owned()).unwrap_or_else(|(resource, _)| resource);
                let _ = bundle.add_resource(resource);
                bundle
            })
        });
        match self {
            Self::En => english,
            Self::Zh => chinese,
        }
    }

    /// A word of the catalog.
    #[must_use]
    pub fn t(self, key: &str) -> Cow<'static, str> {
        self.say(key, None)
    }

    /// A word of the catalog with values.
    #[must_use]
    pub fn f<const N: usize>(self, key: &str, values: [(&str, String); N]) -> Cow<'static, str> {
        let mut args = FluentArgs::new();
        for (name, value) in values {
            // A whole number chooses plural forms; everything else is text.
            let value = value.parse::<i64>().map_or_else(|_| FluentValue::from(value.clone()), FluentValue::from);
            args.set(name.to_owned(), value);
        }
        self.say(key, Some(&args))
    }

    fn say(self, key: &str, args: Option<&FluentArgs<'_>>) -> Cow<'static, str> {
        let bundle = self.bundle();
        match bundle.get_message(key).and_then(|message| message.value()) {
            Some(pattern) => Cow::Owned(bundle.format_pattern(pattern, args, &mut Vec::new()).into_owned()),
            None => Cow::Owned(key.to_owned()),
        }
    }
}

/// A text that a promoter writes in one or both languages. The one that is missing is read from the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Object, Serialize, Deserialize)]
#[oai(deny_unknown_fields, skip_serializing_if_is_none)]
pub struct Text {
    /// English.
    #[oai(validator(max_length = 2000))]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub en: Option<String>,
    /// Chinese in simplified characters.
    #[oai(validator(max_length = 2000))]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub zh: Option<String>,
}

impl Text {
    /// A text in English.
    #[must_use]
    pub fn en(text: &str) -> Self {
        Self { en: Some(text.to_owned()), zh: None }
    }

    /// A text in both languages.
    #[must_use]
    pub fn both(en: &str, zh: &str) -> Self {
        Self { en: Some(en.to_owned()), zh: Some(zh.to_owned()) }
    }

    /// The text for a reader, in their language where it exists.
    #[must_use]
    pub fn read(&self, language: Language) -> &str {
        self.written(language).map_or("", |(text, _)| text)
    }

    /// The text for a reader and the language it is really written in.
    #[must_use]
    pub fn written(&self, language: Language) -> Option<(&str, Language)> {
        self.exactly(language).map(|t| (t, language)).or_else(|| self.exactly(language.other()).map(|t| (t, language.other())))
    }

    /// The text in exactly this language.
    #[must_use]
    pub fn exactly(&self, language: Language) -> Option<&str> {
        match language {
            Language::En => self.en.as_deref(),
            Language::Zh => self.zh.as_deref(),
        }
        .filter(|text| !text.trim().is_empty())
    }

    /// Whether nothing is written.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.written(Language::En).is_none()
    }
}

/// An instant in the zone of a festival. The zone was checked when the festival was made; UTC stands in for nothing else.
#[must_use]
pub fn zoned(at: DateTime<Utc>, zone: &str) -> Zoned {
    let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
    Timestamp::from_microsecond(at.timestamp_micros()).unwrap_or_default().to_zoned(zone)
}

/// A moment as pages print it.
#[derive(Clone, Debug)]
pub struct Moment {
    at: Zoned,
    language: Language,
}

impl Language {
    /// A moment in the zone of a festival, to be printed in this language.
    #[must_use]
    pub fn at(self, at: DateTime<Utc>, zone: &str) -> Moment {
        Moment { at: zoned(at, zone), language: self }
    }
}

impl Moment {
    /// `14:00`
    #[must_use]
    pub fn time(&self) -> String {
        self.at.strftime("%H:%M").to_string()
    }

    /// `20:14:30`
    #[must_use]
    pub fn second(&self) -> String {
        self.at.strftime("%H:%M:%S").to_string()
    }

    /// `Friday`, `星期五`
    #[must_use]
    pub fn weekday(&self) -> String {
        match self.language {
            Language::En => self.at.strftime("%A").to_string(),
            Language::Zh => {
                let days = ["一", "二", "三", "四", "五", "六", "日"];
                format!("星期{}", days[usize::from(self.at.weekday().to_monday_zero_offset().unsigned_abs())])
            }
        }
    }

    /// `19 June`, `6月19日`
    #[must_use]
    pub fn date(&self) -> String {
        match self.language {
            Language::En => self.at.strftime("%-d %B").to_string(),
            Language::Zh => format!("{}月{}日", self.at.month(), self.at.day()),
        }
    }

    /// `19 June 2026`, `2026年6月19日`
    #[must_use]
    pub fn full_date(&self) -> String {
        match self.language {
            Language::En => self.at.strftime("%-d %B %Y").to_string(),
            Language::Zh => format!("{}年{}月{}日", self.at.year(), self.at.month(), self.at.day()),
        }
    }

    /// `Friday 19 June, 14:00`, `6月19日星期五 14:00`
    #[must_use]
    pub fn long(&self) -> String {
        match self.language {
            Language::En => format!("{} {}, {}", self.weekday(), self.date(), self.time()),
            Language::Zh => format!("{}{} {}", self.date(), self.weekday(), self.time()),
        }
    }

    /// The zoned time behind it.
    #[must_use]
    pub fn zoned(&self) -> &Zoned {
        &self.at
    }
}

/// A range of festival days as a poster prints it: `19–21 June 2026`, `2026年6月19日至21日`.
#[must_use]
pub fn date_range(language: Language, from: DateTime<Utc>, to: DateTime<Utc>, zone: &str) -> String {
    let (a, b) = (language.at(from, zone), language.at(to, zone));
    let (x, y) = (a.zoned(), b.zoned());
    let same_month = x.year() == y.year() && x.month() == y.month();
    match (language, x.date() == y.date(), same_month) {
        (_, true, _) => a.full_date(),
        (Language::En, false, true) => format!("{}–{}", x.day(), b.full_date()),
        (Language::En, false, false) => format!("{} – {}", a.date(), b.full_date()),
        (Language::Zh, false, true) => format!("{}至{}日", a.full_date(), y.day()),
        (Language::Zh, false, false) => format!("{}至{}", a.full_date(), b.date()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_languages_know_the_same_words() {
        let keys = |text: &str| -> std::collections::BTreeSet<String> {
            text.lines().filter(|l| l.starts_with(|c: char| c.is_ascii_lowercase())).filter_map(|l| l.split_once(" =")).map(|(k, _)| k.to_owned()).collect()
        };
        let (english, chinese) = (keys(ENGLISH), keys(CHINESE));
        assert_eq!(english.symmetric_difference(&chinese).collect::<Vec<_>>(), Vec::<&String>::new());
        assert!(FluentResource::try_new(ENGLISH.to_owned()).is_ok());
        assert!(FluentResource::try_new(CHINESE.to_owned()).is_ok());
    }

    #[test]
    fn the_readers_language_is_chosen_by_wish() {
        assert_eq!(Language::from_header(Some("zh-CN,zh;q=0.9,en;q=0.8")), Language::Zh);
        assert_eq!(Language::from_header(Some("de, en;q=0.5, zh;q=0.9")), Language::Zh);
        assert_eq!(Language::from_header(Some("nonsense;q=x")), Language::En);
        assert_eq!(Language::from_header(None), Language::En);
    }

    #[test]
    fn moments_are_printed_as_each_language_writes_them() {
        let at = "2026-06-19T12:00:00Z".parse().unwrap();
        assert_eq!(Language::En.at(at, "Europe/Amsterdam").long(), "Friday 19 June, 14:00");
        assert_eq!(Language::Zh.at(at, "Europe/Amsterdam").long(), "6月19日星期五 14:00");
        let end = "2026-06-21T20:00:00Z".parse().unwrap();
        assert_eq!(date_range(Language::En, at, end, "Europe/Amsterdam"), "19–21 June 2026");
        assert_eq!(date_range(Language::Zh, at, end, "Europe/Amsterdam"), "2026年6月19日至21日");
    }
}

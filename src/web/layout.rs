//! What every page shares: the shell, the spine, the run-out, who reads and in which language.

use maud::{DOCTYPE, Markup, html};
use poem::{FromRequest, Request, RequestBody, Response};

use crate::{
    app::App,
    festivals::Festival,
    http::{cookies::cookie, problem::Problem},
    words::{Language, Text},
};

/// A reader of a page: their language, and where they are.
#[derive(Clone, Debug)]
pub struct Reader {
    /// The language they read: `?lang=`, their cookie, or what their browser asks for.
    pub language: Language,
    /// Path of the page, for the switch of languages.
    pub path: String,
    /// Whether they chose the language just now.
    chosen: bool,
}

impl<'a> FromRequest<'a> for Reader {
    async fn from_request(request: &'a Request, _body: &mut RequestBody) -> poem::Result<Self> {
        let asked = request.uri().query().and_then(|q| url::form_urlencoded::parse(q.as_bytes()).find(|(name, _)| name == "lang").map(|(_, v)| v.into_owned()));
        let named = |name: Option<&str>| match name {
            Some("zh") => Some(Language::Zh),
            Some("en") => Some(Language::En),
            _ => None,
        };
        let cookie = cookie(request, "gf_lang");
        let chosen = named(asked.as_deref());
        let language = chosen.or(named(cookie.as_deref())).unwrap_or_else(|| Language::from_header(request.header("accept-language")));
        Ok(Self { language, path: request.uri().path().to_owned(), chosen: chosen.is_some() })
    }
}

impl Reader {
    /// Lets the browser remember a language that was chosen just now.
    pub fn remember(&self, response: &mut Response) {
        let cookie = format!("gf_lang={}; Path=/; Max-Age=31536000; SameSite=Lax", if self.language == Language::Zh { "zh" } else { "en" });
        if self.chosen
            && let Ok(value) = cookie.parse()
        {
            response.headers_mut().append("set-cookie", value);
        }
    }

    /// A word of the catalog.
    #[must_use]
    pub fn t(&self, key: &str) -> std::borrow::Cow<'static, str> {
        self.language.t(key)
    }

    /// A word of the catalog with values.
    #[must_use]
    pub fn f<const N: usize>(&self, key: &str, values: [(&str, String); N]) -> std::borrow::Cow<'static, str> {
        self.language.f(key, values)
    }
}

/// A text of a promoter, marked with its language where it is not the reader's.
#[must_use]
pub fn text(text: &Text, reader: Language) -> Markup {
    match text.written(reader) {
        Some((words, language)) if language == reader => html! { (words) },
        Some((words, language)) => html! { span lang=(language.tag()) { (words) } },
        None => html! {},
    }
}

/// A name in its own script: Chinese characters are marked as Chinese.
#[must_use]
pub fn name(name: &str) -> Markup {
    if name.chars().any(|c| ('\u{2e80}'..='\u{9fff}').contains(&c)) {
        html! { span lang="zh-Hans" { (name) } }
    } else {
        html! { (name) }
    }
}

/// What the shell of a page says.
pub struct Shell<'a> {
    /// Who reads.
    pub reader: &'a Reader,
    /// The title of the window.
    pub title: String,
    /// The festival whose sleeve it wears.
    pub festival: Option<&'a Festival>,
    /// Whether the page may be kept and looked at by others: pages of one person may not.
    pub private: bool,
    /// Seconds after which the page asks again.
    pub refresh: Option<u32>,
    /// Whether the script of the page keeps it fresh: then only readers without script are sent the page again.
    pub script_refreshes: bool,
}

impl Shell<'_> {
    /// The page around its main part. `main` is the whole `main` element.
    #[must_use]
    pub fn page(&self, main: &Markup) -> Response {
        let language = self.reader.language;
        let festival = self.festival;
        let home = festival.map_or_else(|| "/".to_owned(), |f| format!("/f/{}", f.terms.slug));
        let body = html! {
            (DOCTYPE)
            html lang=(language.tag()) data-sleeve=[festival.map(|f| &f.terms.slug)] {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    @if let Some(seconds) = self.refresh {
                        @if self.script_refreshes { noscript { meta http-equiv="refresh" content=(seconds); } } @else { meta http-equiv="refresh" content=(seconds); }
                    }
                    title { (self.title) }
                    link rel="stylesheet" href="/assets/gatefold.css";
                    link rel="stylesheet" href="/assets/sleeves.css";
                    link rel="icon" href="/assets/mark.svg" type="image/svg+xml";
                    script type="module" src="/assets/gatefold.js" {}
                }
                body {
                    a class="skip" href="#content" { (self.reader.t("to-content")) }
                    header class="spine" {
                        a class="mark" href="/" { (mark()) " Gatefold" }
                        @if let Some(f) = festival {
                            a class="title" href=(home) { (both(&f.terms.name)) }
                            span class="number" { (f.festival_id.catalog_number()) }
                        }
                    }
                    (main)
                    footer class="runout" {
                        p {
                            @if let Some(f) = festival { (text(&f.terms.place, language)) " · " }
                            a href=(format!("{}?lang={}", self.reader.path, if language == Language::En { "zh" } else { "en" })) lang=(language.other().tag()) hreflang=(language.other().tag()) {
                                (language.other().t("language-name"))
                            }
                        }
                        p { (self.reader.t("by-gatefold")) @if let Some(f) = festival { " · " (f.festival_id.catalog_number()) } }
                    }
                }
            }
        };
        let mut response = Response::builder().content_type("text/html; charset=utf-8").body(body.into_string());
        let keep = if self.private { "no-store" } else { "no-cache" };
        response.headers_mut().insert("cache-control", poem::http::HeaderValue::from_static(keep));
        response.headers_mut().insert("vary", poem::http::HeaderValue::from_static("Accept-Language, Cookie"));
        self.reader.remember(&mut response);
        response
    }
}

/// A name in both languages, neither in brackets.
#[must_use]
pub fn both(name: &Text) -> Markup {
    html! {
        @if let Some(en) = name.exactly(Language::En) { (en) " " }
        @if let Some(zh) = name.exactly(Language::Zh) { span lang="zh-Hans" { (zh) } }
    }
}

/// The mark: a sleeve that opens.
#[must_use]
pub fn mark() -> Markup {
    html! { svg viewBox="0 0 24 12" aria-hidden="true" { path fill-rule="evenodd" d="M0 0h11.4v12H0zM12.6 0H24v12H12.6zM12 1.8a4.2 4.2 0 1 0 .01 0zM12 5a1 1 0 1 1-.01 0z" {} } }
}

/// A page that says one thing: a large sentence, what happened, what to do.
#[derive(Default)]
pub struct Notice {
    /// The large sentence.
    pub title: String,
    /// What happened.
    pub lead: String,
    /// What to do, as links: address and words. The first is the way out.
    pub ways: Vec<(String, String)>,
    /// What stands small at its foot.
    pub small: String,
    /// What is etched into the cover.
    pub etched: String,
}

/// Prints a notice in a shell.
#[must_use]
pub fn notice(shell: &Shell<'_>, notice: &Notice) -> Response {
    let name = shell.festival.map_or("Gatefold", |f| f.terms.name.read(f.terms.language));
    shell.page(&html! {
        main class="gatefold" id="content" {
            section class="panel cover flood" {
                @if !notice.etched.is_empty() { p class="etched" aria-hidden="true" { (notice.etched) } }
                (super::art::broken(name))
            }
            div class="panel problem" {
                h1 { (notice.title) }
                p class="lead" { (notice.lead) }
                div class="actions" {
                    @for (i, (href, words)) in notice.ways.iter().enumerate() {
                        a class=(if i == 0 { "button" } else { "button plain" }) href=(href) { (words) }
                    }
                }
                @if !notice.small.is_empty() { p class="small faded" { (notice.small) } }
            }
        }
    })
}

/// What a page answers: a response, or a problem that the door prints.
pub type PageResult = poem::Result<Response>;

/// The app in a request.
///
/// # Errors
/// Never in a house that was put together.
pub fn app(request: &Request) -> Result<&App, Problem> {
    request.data::<App>().ok_or_else(|| Problem::internal("the app is not in the request"))
}

/// Sends the reader to another page after a form (RFC 9110 15.4.4).
#[must_use]
pub fn see_other(to: &str) -> Response {
    Response::builder()
        .status(poem::http::StatusCode::SEE_OTHER)
        .header("location", to)
        .header("cache-control", "no-store")
        .header("content-type", "text/plain")
        .finish()
}

impl Reader {
    /// A reader of an error page, of whom little is known.
    #[must_use]
    pub fn of(language: Language, path: &str) -> Self {
        Self { language, path: path.to_owned(), chosen: false }
    }
}

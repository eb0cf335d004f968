//! Who is calling, as extractors of the JSON API. The security argument comes first, so that a stranger learns nothing
//! about the schema.

use poem::{
    Request, RequestBody,
    web::headers::{Authorization, HeaderMapExt, authorization::Bearer},
};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaSecurityScheme, Registry},
};

use super::{Denied, Device, Staff, device_of, store};
use crate::{
    app::App,
    http::{
        cookies::{same_origin, secret},
        problem::{FORBIDDEN, Problem, UNAUTHORIZED},
    },
};

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        FORBIDDEN.because(denied.to_string())
    }
}

fn app(request: &Request) -> Result<&App, Problem> {
    request.data::<App>().ok_or_else(|| Problem::internal("the app is not in the request"))
}

fn bearer(request: &Request) -> Option<String> {
    request.headers().typed_get::<Authorization<Bearer>>().map(|auth| auth.token().to_owned())
}

fn scheme(registry: &mut Registry, name: &'static str, description: &'static str) {
    registry.create_security_scheme(
        name,
        MetaSecurityScheme {
            ty: "http",
            description: Some(description),
            name: None,
            key_in: None,
            scheme: Some("bearer"),
            bearer_format: None,
            flows: None,
            openid_connect_url: None,
        },
    );
}

const PROMOTER: &str = "A program of the promoter: `gf_live_..`, made in the dashboard or by `gatefold invite`, with scopes.";
const DEVICE: &str = "A paired gate device: `gf_gate_..`, from `POST /v1/devices`. The page of the gate sends it as a cookie from its own origin.";
/// The cookie of a gate device.
pub const DEVICE_COOKIE: &str = "gf_device";
const FAN: &str = "A fan with the secret of one order: `gf_order_` and the last part of the order's link.";

/// A program of a promoter.
pub struct AsStaff(pub Staff);

/// A paired gate device.
pub struct AsDevice(pub Device);

/// A fan with the secret of an order. Whether it is the right one is known when the order is.
pub struct AsFan(pub String);

/// Whoever may look at an order: its fan or its promoter.
pub enum Reader {
    /// The fan, with the secret.
    Fan(String),
    /// The promoter.
    Staff(Staff),
}

/// Anybody; a program of a promoter sees its own drafts too.
pub struct Anyone(pub Option<Staff>);

async fn staff(request: &Request) -> Result<Staff, Problem> {
    let token = bearer(request).ok_or_else(|| UNAUTHORIZED.problem())?;
    store::staff_of_token(app(request)?, &token).await?.ok_or_else(|| UNAUTHORIZED.problem())
}

macro_rules! extractor {
    ($name:ident, [$($scheme:literal => $about:expr),+], $request:ident => $body:expr) => {
        impl<'a> ApiExtractor<'a> for $name {
            const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
            type ParamType = ();
            type ParamRawType = ();

            fn register(registry: &mut Registry) {
                $(scheme(registry, $scheme, $about);)+
            }

            fn security_schemes() -> Vec<&'static str> {
                vec![$($scheme),+]
            }

            async fn from_request($request: &'a Request, _body: &mut RequestBody, _opts: ExtractParamOptions<()>) -> poem::Result<Self> {
                let outcome: Result<Self, Problem> = $body;
                Ok(outcome?)
            }
        }
    };
}

extractor!(AsStaff, ["promoter" => PROMOTER], request => staff(request).await.map(Self));

extractor!(AsDevice, ["device" => DEVICE], request => {
    let token = match bearer(request) {
        Some(token) => Some(token),
        None => secret(request, DEVICE_COOKIE)?,
    };
    if bearer(request).is_none() && token.is_some() {
        same_origin(request)?;
    }
    match token {
        None => Err(UNAUTHORIZED.problem()),
        Some(token) => match device_of(app(request)?, &token).await {
            Ok(Some(device)) => Ok(Self(device)),
            Ok(None) => Err(UNAUTHORIZED.problem()),
            Err(error) => Err(error.into()),
        },
    }
});

extractor!(AsFan, ["fan" => FAN], request => {
    bearer(request).and_then(|token| token.strip_prefix("gf_order_").map(str::to_owned)).map(Self).ok_or_else(|| UNAUTHORIZED.problem())
});

extractor!(Reader, ["fan" => FAN, "promoter" => PROMOTER], request => {
    match bearer(request) {
        None => Err(UNAUTHORIZED.problem()),
        Some(token) => match token.strip_prefix("gf_order_") {
            Some(secret) => Ok(Self::Fan(secret.to_owned())),
            None => staff(request).await.map(Self::Staff),
        },
    }
});

impl<'a> ApiExtractor<'a> for Anyone {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        scheme(registry, "promoter", PROMOTER);
    }

    fn security_schemes() -> Vec<&'static str> {
        vec!["promoter"]
    }

    fn has_security_fallback() -> bool {
        true
    }

    async fn from_request(request: &'a Request, _body: &mut RequestBody, _opts: ExtractParamOptions<()>) -> poem::Result<Self> {
        if bearer(request).is_none() {
            return Ok(Self(None));
        }
        Ok(Self(Some(staff(request).await?)))
    }
}

/// Whether a token reaches a festival; a token of another festival finds nothing there.
///
/// # Errors
/// A problem `not-found`.
pub fn reach(staff: &Staff, festival: crate::id::FestivalId) -> Result<(), Problem> {
    if staff.reaches(festival) { Ok(()) } else { Err(crate::http::problem::NOT_FOUND.problem()) }
}

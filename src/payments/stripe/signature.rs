//! The signature of Stripe's notifications (<https://docs.stripe.com/webhooks#verify-manually>): `t=<unix seconds>,v1=<hex>[,v1=<hex>..]`, where v1 is
//! HMAC-SHA256 under the secret of the endpoint over the seconds, a dot and the body byte by byte; pure.

use data_encoding::HEXLOWER_PERMISSIVE;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// How far from now a signature may have been made, in seconds.
pub const TOLERANCE: i64 = 300;

/// Whether a header signs a body under one of the secrets, now. Schemes that we do not know are passed by, as Stripe asks.
#[must_use]
pub fn is_right<S: AsRef<[u8]>>(header: &str, body: &[u8], secrets: &[S], now: i64) -> bool {
    let (mut sent, mut macs) = (None, Vec::new());
    for part in header.split(',').take(32) {
        match part.trim().split_once('=') {
            Some(("t", seconds)) if sent.is_none() => sent = Some(seconds),
            Some(("t", _)) => return false,
            Some(("v1", hex)) => macs.extend(HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok()),
            _ => {}
        }
    }
    let Some(seconds) = sent else { return false };
    let Ok(at) = seconds.parse::<i64>() else { return false };
    if now.abs_diff(at) > TOLERANCE.unsigned_abs() {
        return false;
    }
    secrets.iter().any(|secret| {
        let Ok(mut right) = Hmac::<Sha256>::new_from_slice(secret.as_ref()) else { return false };
        right.update(seconds.as_bytes());
        right.update(b".");
        right.update(body);
        // `verify_slice` compares in constant time.
        macs.iter().any(|mac| right.clone().verify_slice(mac).is_ok())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign(secret: &str, at: i64, body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(format!("{at}.").as_bytes());
        mac.update(body);
        data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes())
    }

    const NOW: i64 = 1_790_000_000;

    #[test]
    fn a_known_answer() {
        // `printf '1790000000.{"id":"evt_1"}' | openssl dgst -sha256 -hmac whsec_known`
        assert_eq!(sign("whsec_known", NOW, br#"{"id":"evt_1"}"#), "9b658ee1a66f3233d76d5c0a9e0b2396aac35d5825b14ad24c57b453e2590949");
    }

    #[test]
    fn one_of_several_secrets_and_signatures_is_enough() {
        let body = br#"{"id":"evt_1"}"#;
        let right = sign("new", NOW, body);
        for header in [
            format!("t={NOW},v1={right}"),
            format!("t={NOW},v1={},v1={right},v0=6ffb", sign("other", NOW, body)),
            format!("v1={right},t={NOW}"),
            format!("t={NOW}, v1={}", right.to_uppercase()),
        ] {
            assert!(is_right(&header, body, &["old", "new"], NOW), "{header}");
            assert!(!is_right(&header, body, &["old"], NOW), "{header}");
            assert!(!is_right(&header, b"{\"id\":\"evt_2\"}", &["new"], NOW), "{header}");
            assert!(!is_right::<&str>(&header, body, &[], NOW), "{header}");
        }
    }

    #[test]
    fn old_broken_and_bent_headers_are_refused() {
        let body = b"{}";
        let right = sign("s", NOW, body);
        for now in [NOW - TOLERANCE, NOW + TOLERANCE] {
            assert!(is_right(&format!("t={NOW},v1={right}"), body, &["s"], now));
        }
        for now in [NOW - TOLERANCE - 1, NOW + TOLERANCE + 1, i64::MIN, i64::MAX] {
            assert!(!is_right(&format!("t={NOW},v1={right}"), body, &["s"], now));
        }
        for header in ["", "t=,v1=", "v1", &format!("v1={right}"), &format!("t={NOW}"), &format!("t={NOW},v0={right}"), &format!("t={NOW},t={NOW},v1={right}")]
        {
            assert!(!is_right(header, body, &["s"], NOW), "{header}");
        }
        assert!(!is_right(&format!("t=0{NOW},v1={right}"), body, &["s"], NOW), "the seconds are signed as they are written");
        assert!(!is_right(&format!("t={NOW},v1={}", &right[..62]), body, &["s"], NOW), "a part of it is not enough");
    }
}

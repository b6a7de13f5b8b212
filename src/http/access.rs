//! Who may see monitoring, where the configuration asks for credentials.

use data_encoding::BASE64;
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use sha2::{Digest as _, Sha256};

use super::pages::{self, Answer};
use crate::config::options::Monitoring;

/// Whether a request with these headers may be answered: no credentials are configured, or it presents
/// them as `Basic` user and password or as a `Bearer` token.
pub(super) fn is_allowed(configured: &Monitoring, headers: &HeaderMap) -> bool {
    if configured.user.is_none() && configured.token.is_none() {
        return true;
    }
    let presented = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
    let Some((scheme, credentials)) = presented.and_then(split_at_blank) else {
        return false;
    };
    if scheme.eq_ignore_ascii_case(b"bearer") {
        let token = configured.token.as_ref();
        return token.is_some_and(|token| is_same(token.expose().as_bytes(), credentials));
    }
    let (Some(user), Some(password)) = (&configured.user, &configured.password) else {
        return false;
    };
    let expected = format!("{user}:{}", password.expose());
    scheme.eq_ignore_ascii_case(b"basic")
        && BASE64
            .decode(credentials)
            .is_ok_and(|credentials| is_same(expected.as_bytes(), &credentials))
}

/// Asks for credentials.
pub(super) fn challenge(status: StatusCode) -> Answer {
    let mut answer = pages::refusal(status, "");
    let realm = HeaderValue::from_static("Basic realm=\"monitoring\", Bearer");
    answer.headers_mut().insert(WWW_AUTHENTICATE, realm);
    answer
}

fn split_at_blank(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let place = memchr::memchr(b' ', text)?;
    let (scheme, rest) = text.split_at_checked(place)?;
    Some((scheme, rest.trim_ascii()))
}

/// Compares digests, so that the time it takes tells nothing about the secret.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    Sha256::digest(one) == Sha256::digest(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn headers(value: &str) -> HeaderMap {
        let value = HeaderValue::from_str(value).unwrap();
        HeaderMap::from_iter([(AUTHORIZATION, value)])
    }

    #[test]
    fn credentials_open_and_nothing_else_does() {
        let open = Monitoring::default();
        assert!(is_allowed(&open, &HeaderMap::new()));
        let closed = Monitoring {
            user: Some("eve".to_owned()),
            password: Some(Secret::new("secret")),
            token: Some(Secret::new("t0ken")),
            ..Monitoring::default()
        };
        let basic = format!("Basic {}", BASE64.encode(b"eve:secret"));
        for good in [&*basic, "bearer t0ken", "Bearer  t0ken "] {
            assert!(is_allowed(&closed, &headers(good)), "{good}");
        }
        let wrong = format!("Basic {}", BASE64.encode(b"eve:secrets"));
        let bad = [
            &*wrong,
            "Bearer token",
            "Bearer",
            "t0ken",
            "Basic t0ken",
            "Digest t0ken",
        ];
        for bad in bad {
            assert!(!is_allowed(&closed, &headers(bad)), "{bad}");
        }
        assert!(!is_allowed(&closed, &HeaderMap::new()));
    }
}

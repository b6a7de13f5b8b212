//! Passwords and tokens: plain ones compared without telling anything by time, bcrypt hashes, and a short memory
//! of those that were right.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ring::hmac;

use super::rules::Secret;

/// For how long a password that matched a bcrypt hash is known to match. Long enough for a reconnect storm, short
/// enough that the memory holds nothing for long.
const VERIFIED_FOR: Duration = Duration::from_secs(30);

/// How many verified passwords are remembered at once.
const VERIFIED_LIMIT: usize = 1024;

/// What is kept of a configured password or token: enough to compare, and no plain text. Two that were stored under
/// one key are equal if the configured texts are.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum StoredPassword {
    /// The keyed digest of a plain password.
    Plain([u8; 32]),
    /// A bcrypt hash.
    Bcrypt(Arc<str>),
}

impl fmt::Debug for StoredPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

/// The key under which passwords are compared and remembered; random in each process.
#[derive(Clone)]
pub(super) struct PasswordKey(hmac::Key);

impl PasswordKey {
    pub(super) fn new(random: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, random))
    }

    pub(super) fn store(&self, secret: &Secret) -> StoredPassword {
        let text = secret.expose();
        if is_bcrypt(text) {
            StoredPassword::Bcrypt(text.into())
        } else {
            StoredPassword::Plain(bytes(&hmac::sign(&self.0, text.as_bytes())))
        }
    }

    /// Whether a presented password is the plain one behind the digest. Takes the same time for every password of
    /// the same length, right or wrong.
    pub(super) fn matches(&self, stored: &[u8; 32], presented: &str) -> bool {
        hmac::verify(&self.0, presented.as_bytes(), stored).is_ok()
    }

    /// A number that belongs to a name, which nobody without the key can foresee.
    pub(super) fn scatter(&self, name: &str) -> u64 {
        let tag = hmac::sign(&self.0, name.as_bytes());
        tag.as_ref()
            .iter()
            .take(8)
            .fold(0, |number, &byte| number << 8 | u64::from(byte))
    }

    fn remembered_as(&self, hash: &str, presented: &str) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(hash.as_bytes());
        // No hash holds this byte, so that the border between the two cannot move.
        context.update(&[0]);
        context.update(presented.as_bytes());
        bytes(&context.sign())
    }
}

impl fmt::Debug for PasswordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordKey([REDACTED])")
    }
}

fn bytes(tag: &hmac::Tag) -> [u8; 32] {
    tag.as_ref().try_into().unwrap_or_default()
}

/// Passwords that were lately verified against bcrypt hashes, by keyed digest.
#[derive(Debug, Default)]
pub(super) struct Verified(Mutex<HashMap<[u8; 32], Instant>>);

impl Verified {
    pub(super) fn knows(
        &self,
        key: &PasswordKey,
        hash: &str,
        presented: &str,
        now: Instant,
    ) -> bool {
        let digest = key.remembered_as(hash, presented);
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .get(&digest)
            .is_some_and(|since| is_fresh(*since, now))
    }

    pub(super) fn remember(&self, key: &PasswordKey, hash: &str, presented: &str, now: Instant) {
        let digest = key.remembered_as(hash, presented);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= VERIFIED_LIMIT {
            known.retain(|_, since| is_fresh(*since, now));
        }
        if known.len() < VERIFIED_LIMIT {
            known.insert(digest, now);
        }
    }
}

fn is_fresh(since: Instant, now: Instant) -> bool {
    now.saturating_duration_since(since) < VERIFIED_FOR
}

/// Whether a configured password is meant as a bcrypt hash: `$2a$`, `$2b$`, `$2x$` or `$2y$`, two digits, `$`.
pub(super) fn is_bcrypt(text: &str) -> bool {
    matches!(
        text.as_bytes(),
        [b'$', b'2', b'a' | b'b' | b'x' | b'y', b'$', tens, ones, b'$', ..]
            if tens.is_ascii_digit() && ones.is_ascii_digit()
    )
}

/// Whether a bcrypt hash could match any password: its length, cost and alphabet are right.
pub(super) fn is_usable_bcrypt(text: &str) -> bool {
    let cost = bcrypt_cost(text);
    let rest = text.get(7..).unwrap_or_default();
    let in_alphabet = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'/';
    is_bcrypt(text) && (4..=31).contains(&cost) && rest.len() == 53 && rest.bytes().all(in_alphabet)
}

/// The cost of a bcrypt hash, as the exponent of 2.
pub(super) fn bcrypt_cost(text: &str) -> u32 {
    text.get(4..6)
        .and_then(|digits| digits.parse().ok())
        .unwrap_or_default()
}

/// Whether a password matches a bcrypt hash. Takes 50 ms and more: never to be called on a task.
pub(super) fn bcrypt_matches(hash: &str, presented: &str) -> bool {
    bcrypt::verify(presented, hash).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(
        clippy::disallowed_methods,
        reason = "any instant will do as the test's beginning"
    )]
    fn start() -> Instant {
        Instant::now()
    }

    fn key() -> PasswordKey {
        PasswordKey::new(&[7; 32])
    }

    #[test]
    fn plain_passwords() {
        let StoredPassword::Plain(stored) = key().store(&Secret::new("s3cret")) else {
            panic!("not a hash");
        };
        assert!(key().matches(&stored, "s3cret"));
        for wrong in ["", "s3cre", "s3cret ", "S3cret"] {
            assert!(!key().matches(&stored, wrong));
        }
        assert!(
            !PasswordKey::new(&[8; 32]).matches(&stored, "s3cret"),
            "digests are keyed"
        );
    }

    #[test]
    fn bcrypt_prefixes() {
        let rest = "N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy";
        for version in ["2a", "2b", "2x", "2y"] {
            let hash = format!("${version}$10${rest}");
            assert!(is_bcrypt(&hash) && is_usable_bcrypt(&hash) && bcrypt_cost(&hash) == 10);
        }
        for plain in ["", "$2a$1$x", "2a$10$", "$2c$10$", "$1$10$", "$2a$1x$"] {
            assert!(!is_bcrypt(plain), "{plain}");
        }
        for broken in ["$2a$10$", "$2a$03$", "$2a$99$"] {
            assert!(is_bcrypt(broken) && !is_usable_bcrypt(&format!("{broken}short")));
        }
    }

    #[test]
    fn bcrypt_hashes_of_other_programs_match() {
        // A test vector of the jBCrypt project, under the name of each version.
        let rest = "06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i";
        for version in ["2a", "2b", "2y"] {
            let hash = format!("${version}${rest}");
            assert!(bcrypt_matches(&hash, "abc"), "{hash}");
            assert!(!bcrypt_matches(&hash, "abC"));
        }
        assert!(!bcrypt_matches("$2a$10$short", ""));
    }

    #[test]
    fn verified_passwords_are_forgotten_in_time_and_number() {
        let (key, verified, now) = (key(), Verified::default(), start());
        verified.remember(&key, "hash", "right", now);
        assert!(verified.knows(&key, "hash", "right", now));
        assert!(!verified.knows(&key, "hash", "wrong", now));
        assert!(!verified.knows(&key, "other hash", "right", now));
        assert!(!verified.knows(&key, "hash", "right", now + VERIFIED_FOR));
        for number in 0..2 * VERIFIED_LIMIT {
            verified.remember(&key, "hash", &number.to_string(), now);
        }
        assert_eq!(verified.0.lock().unwrap().len(), VERIFIED_LIMIT);
        verified.remember(&key, "hash", "later", now + VERIFIED_FOR);
        assert_eq!(verified.0.lock().unwrap().len(), 1);
    }
}

//! Signatures of user nkeys over the nonce of INFO.

use std::sync::LazyLock;

use data_encoding::{Encoding, Specification};
use nkeys::{KeyPair, KeyPairType};

/// Longest signature text that is decoded, in bytes: 64 bytes take 88 characters, and line ends may be among them.
const SIGNATURE_TEXT_LIMIT: usize = 256;

const LETTERS_AND_DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// The alphabet for URLs, without padding.
static URL_SAFE: LazyLock<Option<Encoding>> = LazyLock::new(|| lenient("-_", None));

/// The standard alphabet, with padding.
static STANDARD: LazyLock<Option<Encoding>> = LazyLock::new(|| lenient("+/", Some('=')));

/// Base64 as nats-server decodes it: line ends are skipped, surplus bits not looked at.
fn lenient(last_two: &str, padding: Option<char>) -> Option<Encoding> {
    let mut specification = Specification::new();
    specification.symbols.push_str(LETTERS_AND_DIGITS);
    specification.symbols.push_str(last_two);
    specification.padding = padding;
    specification.ignore.push_str("\r\n");
    specification.check_trailing_bits = false;
    specification.encoding().ok()
}

/// Why a signature does not prove a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignatureError {
    Missing,
    NotBase64,
    /// There was no nonce to sign, so that a signature could come from anywhere.
    NoNonce,
    Wrong,
}

/// Reads the public part of a user nkey; `None` if it is none.
pub(super) fn user_key(text: &str) -> Option<KeyPair> {
    let key = KeyPair::from_public_key(text).ok()?;
    (key.key_pair_type() == KeyPairType::User).then_some(key)
}

/// Checks a signature over the nonce.
pub(super) fn verify(key: &KeyPair, nonce: &[u8], signature: &str) -> Result<(), SignatureError> {
    if signature.is_empty() {
        return Err(SignatureError::Missing);
    }
    if nonce.is_empty() {
        return Err(SignatureError::NoNonce);
    }
    let signature = decode(signature).ok_or(SignatureError::NotBase64)?;
    key.verify(nonce, &signature)
        .map_err(|_| SignatureError::Wrong)
}

fn decode(text: &str) -> Option<Vec<u8>> {
    if text.len() > SIGNATURE_TEXT_LIMIT {
        return None;
    }
    let with = |encoding: &Option<Encoding>| encoding.as_ref()?.decode(text.as_bytes()).ok();
    with(&URL_SAFE).or_else(|| with(&STANDARD))
}

#[cfg(test)]
mod tests {
    use data_encoding::{BASE64, BASE64URL, BASE64URL_NOPAD};

    use super::*;

    #[test]
    fn both_base64_alphabets_are_read() {
        // Nonces until both alphabets have been seen with the characters in which they differ.
        let key = KeyPair::new_from_raw(KeyPairType::User, [7; 32]).unwrap();
        let public = user_key(&key.public_key()).unwrap();
        let mut differing = 0;
        for number in 0..16_u32 {
            let nonce = number.to_string().into_bytes();
            let signature = key.sign(&nonce).unwrap();
            let standard = BASE64.encode(&signature);
            differing += u32::from(standard.contains('+') && standard.contains('/'));
            assert_eq!(verify(&public, &nonce, &standard), Ok(()));
            assert_eq!(
                verify(&public, &nonce, &BASE64URL_NOPAD.encode(&signature)),
                Ok(())
            );
            let (head, tail) = standard.split_at(40);
            assert_eq!(
                verify(&public, &nonce, &format!("{head}\r\n{tail}")),
                Ok(())
            );
        }
        assert!(differing > 0);
        let signature = key.sign(b"-").unwrap();
        let padded = BASE64URL.encode(&signature).replace('+', "-");
        if padded.contains('-') || padded.contains('_') {
            assert_eq!(
                verify(&public, b"-", &padded),
                Err(SignatureError::NotBase64)
            );
        }
    }

    #[test]
    fn what_proves_nothing() {
        let key = KeyPair::new_user();
        let public = user_key(&key.public_key()).unwrap();
        let sign = |nonce: &[u8]| BASE64URL_NOPAD.encode(&key.sign(nonce).unwrap());
        assert_eq!(verify(&public, b"nonce", ""), Err(SignatureError::Missing));
        assert_eq!(
            verify(&public, b"nonce", "%"),
            Err(SignatureError::NotBase64)
        );
        assert_eq!(
            verify(&public, b"nonce", &"A".repeat(300)),
            Err(SignatureError::NotBase64)
        );
        assert_eq!(
            verify(&public, b"", &sign(b"")),
            Err(SignatureError::NoNonce)
        );
        assert_eq!(
            verify(&public, b"nonce", &sign(b"other")),
            Err(SignatureError::Wrong)
        );
        // GHSA-g33f: lengths that are no Ed25519 signature.
        for length in [0, 1, 63, 65, 128] {
            let text = BASE64URL_NOPAD.encode(&vec![0; length]);
            assert!(verify(&public, b"nonce", &text).is_err(), "{length}");
        }
        let stranger = KeyPair::new_user();
        let signature = BASE64URL_NOPAD.encode(&stranger.sign(b"nonce").unwrap());
        assert_eq!(
            verify(&public, b"nonce", &signature),
            Err(SignatureError::Wrong)
        );
    }

    /// GHSA-g33f: truncated and otherwise broken keys.
    #[test]
    fn only_user_keys_are_user_keys() {
        let key = KeyPair::new_user().public_key();
        assert!(user_key(&key).is_some());
        for end in 0..key.len() {
            assert!(user_key(&key[..end]).is_none(), "{end}");
        }
        let mut flipped = key.as_bytes().to_vec();
        flipped[20] = if flipped[20] == b'A' { b'B' } else { b'A' };
        assert!(user_key(std::str::from_utf8(&flipped).unwrap()).is_none());
        assert!(user_key(&KeyPair::new_account().public_key()).is_none());
        assert!(user_key(&KeyPair::new_user().seed().unwrap()).is_none());
        assert!(user_key(&"é".repeat(28)).is_none());
    }
}

//! `pinned_certs`: clients' keys that are let in, whatever authority signed them.

use std::collections::HashSet;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use ring::digest;

use super::TlsError;
use crate::auth::certificate_public_key;

/// SHA-256 digests of public keys in DER (`SubjectPublicKeyInfo`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PinnedCertificates(HashSet<Vec<u8>>);

impl PinnedCertificates {
    /// Reads the digests, 64 hexadecimal digits each; without any, every certificate is admitted.
    ///
    /// # Errors
    /// The first text that is no digest.
    pub fn new(digests: &[String]) -> Result<Self, TlsError> {
        let read = |text: &String| match HEXLOWER_PERMISSIVE.decode(text.as_bytes()) {
            Ok(bytes) if bytes.len() == digest::SHA256_OUTPUT_LEN => Ok(bytes),
            _ => Err(TlsError::PinnedCertificate(text.to_lowercase())),
        };
        digests.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Whether a peer with this certificate, or without one, may stay.
    #[must_use]
    pub fn admit(&self, certificate: Option<&[u8]>) -> bool {
        let digest = || certificate.and_then(key_digest);
        self.0.is_empty() || digest().is_some_and(|digest| self.0.contains(digest.as_ref()))
    }
}

/// What `pinned_certs` would have to list for a certificate in DER; `None` if it is none.
#[must_use]
pub fn pin_of(certificate: &[u8]) -> Option<String> {
    key_digest(certificate).map(|digest| HEXLOWER.encode(digest.as_ref()))
}

fn key_digest(certificate: &[u8]) -> Option<digest::Digest> {
    let key = certificate_public_key(certificate)?;
    Some(digest::digest(&digest::SHA256, &key))
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXUPPER;
    use rcgen::{CertificateParams, KeyPair, PublicKeyData as _};

    use super::*;

    #[test]
    fn only_pinned_keys_are_admitted() {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(Vec::new())
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let digest = digest::digest(&digest::SHA256, &key.subject_public_key_info());
        for text in [
            HEXLOWER.encode(digest.as_ref()),
            HEXUPPER.encode(digest.as_ref()),
        ] {
            let pinned = PinnedCertificates::new(&[text]).unwrap();
            assert!(pinned.admit(Some(certificate.der())));
            assert_eq!(
                pin_of(certificate.der()).unwrap(),
                HEXLOWER.encode(digest.as_ref())
            );
            assert!(!pinned.admit(None) && !pinned.admit(Some(b"garbage")));
        }
        let other = PinnedCertificates::new(&["00".repeat(32)]).unwrap();
        assert!(!other.admit(Some(certificate.der())));
        let none = PinnedCertificates::new(&[]).unwrap();
        assert!(none.admit(None) && none.admit(Some(certificate.der())));
    }

    #[test]
    fn what_is_no_digest_is_named() {
        for text in ["", "00", &"00".repeat(33), &"0g".repeat(32)] {
            let error = PinnedCertificates::new(&[text.to_owned()]).unwrap_err();
            assert!(
                error
                    .to_string()
                    .starts_with(&format!("'pinned_certs' key {text} does not"))
            );
        }
    }
}

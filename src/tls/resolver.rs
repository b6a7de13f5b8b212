//! The choice among several certificates.

use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::auth::CertificateNames;

/// Shows the first certificate that suits the client, or the first of all if none does.
#[derive(Debug)]
pub(super) struct FirstFitting(Vec<Candidate>);

#[derive(Debug)]
struct Candidate {
    key: Arc<CertifiedKey>,
    /// Names of hosts in lower case; `*` may stand for the first label.
    names: Vec<String>,
}

impl FirstFitting {
    pub(super) fn new(keys: Vec<CertifiedKey>) -> Self {
        let candidate = |key: CertifiedKey| {
            let names = key
                .cert
                .first()
                .and_then(|certificate| CertificateNames::read(certificate));
            let lower = |name: &String| name.to_ascii_lowercase();
            let names = names.map(|names| names.dns_names().iter().map(lower).collect());
            Candidate {
                key: Arc::new(key),
                names: names.unwrap_or_default(),
            }
        };
        Self(keys.into_iter().map(candidate).collect())
    }
}

impl ResolvesServerCert for FirstFitting {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let fits = |candidate: &&Candidate| {
            candidate
                .key
                .key
                .choose_scheme(hello.signature_schemes())
                .is_some()
                && hello
                    .server_name()
                    .is_none_or(|host| candidate.speaks_for(host))
        };
        let chosen = self.0.iter().find(fits).or_else(|| self.0.first());
        chosen.map(|candidate| Arc::clone(&candidate.key))
    }
}

impl Candidate {
    fn speaks_for(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let parent = host.split_once('.').map(|(_, parent)| parent);
        self.names.iter().any(|name| {
            *name == host
                || name
                    .strip_prefix("*.")
                    .is_some_and(|rest| Some(rest) == parent)
        })
    }
}

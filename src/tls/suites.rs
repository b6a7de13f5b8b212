//! Go's names of cipher suites and curves, as nats-server's configuration uses them.

use rustls::crypto::ring::{self, cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::{CipherSuite, SupportedCipherSuite};

use super::{TlsError, TlsOptions};

/// Go's name of a suite and what this server makes of it.
struct Suite {
    name: &'static str,
    kind: Kind,
}

enum Kind {
    /// A suite of TLS 1.3, which is always on.
    Always,
    Supported(SupportedCipherSuite),
    Unsupported,
    Insecure,
}

static SUITES: [Suite; 25] = {
    const fn suite(name: &'static str, kind: Kind) -> Suite {
        Suite { name, kind }
    }
    use Kind::{Always, Insecure, Supported, Unsupported};
    [
        suite("TLS_AES_128_GCM_SHA256", Always),
        suite("TLS_AES_256_GCM_SHA384", Always),
        suite("TLS_CHACHA20_POLY1305_SHA256", Always),
        suite(
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            Supported(cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
        ),
        suite(
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
            Supported(cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
        ),
        suite(
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
            Supported(cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
        ),
        suite(
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            Supported(cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
        ),
        suite(
            "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
            Supported(cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
        ),
        suite(
            "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
            Supported(cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
        ),
        suite("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", Unsupported),
        suite("TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", Unsupported),
        suite("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", Unsupported),
        suite("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", Unsupported),
        suite("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256", Insecure),
        suite("TLS_ECDHE_ECDSA_WITH_RC4_128_SHA", Insecure),
        suite("TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA", Insecure),
        suite("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", Insecure),
        suite("TLS_ECDHE_RSA_WITH_RC4_128_SHA", Insecure),
        suite("TLS_RSA_WITH_3DES_EDE_CBC_SHA", Insecure),
        suite("TLS_RSA_WITH_AES_128_CBC_SHA", Insecure),
        suite("TLS_RSA_WITH_AES_128_CBC_SHA256", Insecure),
        suite("TLS_RSA_WITH_AES_128_GCM_SHA256", Insecure),
        suite("TLS_RSA_WITH_AES_256_CBC_SHA", Insecure),
        suite("TLS_RSA_WITH_AES_256_GCM_SHA384", Insecure),
        suite("TLS_RSA_WITH_RC4_128_SHA", Insecure),
    ]
};

/// Go's names of curves; those without a group are not supported.
static CURVES: [(&str, Option<&'static dyn SupportedKxGroup>); 7] = [
    ("X25519", Some(kx_group::X25519)),
    ("CurveP256", Some(kx_group::SECP256R1)),
    ("CurveP384", Some(kx_group::SECP384R1)),
    ("CurveP521", None),
    ("X25519MLKEM768", None),
    ("SecP256r1MLKEM768", None),
    ("SecP384r1MLKEM1024", None),
];

/// The cryptography that the options leave on, and a warning for each name that has no effect.
pub(super) fn provider(options: &TlsOptions) -> Result<(CryptoProvider, Vec<String>), TlsError> {
    let mut warnings = Vec::new();
    let mut provider = ring::default_provider();
    if !options.cipher_suites.is_empty() {
        let allowed = suites(options, &mut warnings)?;
        provider
            .cipher_suites
            .retain(|suite| suite.tls13().is_some() || allowed.contains(suite));
    }
    if !options.curve_preferences.is_empty() {
        provider.kx_groups = curves(options, &mut warnings)?;
    }
    Ok((provider, warnings))
}

/// Go's name of a negotiated suite, for monitoring.
pub(super) fn suite_name(suite: CipherSuite) -> &'static str {
    // The library alone calls those of TLS 1.3 `TLS13_…`.
    let rest = |name: &'static str| {
        let prefixes = ["TLS13_", "TLS_"].iter();
        prefixes
            .copied()
            .find_map(|prefix| name.strip_prefix(prefix))
    };
    let known = |known: &&Suite| rest(known.name) == suite.as_str().and_then(rest);
    SUITES
        .iter()
        .find(known)
        .map_or("unknown", |known| known.name)
}

/// The suites of TLS 1.2 that are allowed.
fn suites(
    options: &TlsOptions,
    warnings: &mut Vec<String>,
) -> Result<Vec<SupportedCipherSuite>, TlsError> {
    let mut allowed = Vec::new();
    let mut insecure = Vec::new();
    for name in &options.cipher_suites {
        let suite = SUITES.iter().find(|suite| suite.name == *name);
        match suite.map(|suite| &suite.kind) {
            None => return Err(TlsError::UnknownCipherSuite(name.clone())),
            Some(Kind::Always) => {}
            Some(Kind::Supported(suite)) => allowed.push(*suite),
            Some(Kind::Insecure) if !options.allow_insecure_cipher_suites => {
                insecure.push(name.clone());
            }
            Some(Kind::Unsupported | Kind::Insecure) => {
                warnings.push(format!(
                    "cipher suite {name} is not supported and has no effect"
                ));
            }
        }
    }
    if insecure.is_empty() {
        Ok(allowed)
    } else {
        Err(TlsError::InsecureCipherSuites(insecure))
    }
}

fn curves(
    options: &TlsOptions,
    warnings: &mut Vec<String>,
) -> Result<Vec<&'static dyn SupportedKxGroup>, TlsError> {
    let mut groups = Vec::new();
    for name in &options.curve_preferences {
        match CURVES.iter().find(|(known, _)| known == name) {
            None => return Err(TlsError::UnknownCurve(name.clone())),
            Some((_, Some(group))) => groups.push(*group),
            Some((_, None)) => {
                warnings.push(format!("curve {name} is not supported and has no effect"));
            }
        }
    }
    if groups.is_empty() {
        Err(TlsError::NoCurve)
    } else {
        Ok(groups)
    }
}

#[cfg(test)]
mod tests {
    use rustls::NamedGroup;

    use super::*;

    fn with_suites(names: &[&str]) -> TlsOptions {
        let cipher_suites = names.iter().map(|name| (*name).to_owned()).collect();
        TlsOptions {
            cipher_suites,
            ..TlsOptions::default()
        }
    }

    fn tls12_suites(options: &TlsOptions) -> (Vec<String>, Vec<String>) {
        let (provider, warnings) = provider(options).unwrap();
        let tls12 = provider
            .cipher_suites
            .iter()
            .filter(|suite| suite.tls13().is_none());
        (
            tls12
                .map(|suite| suite_name(suite.suite()).to_owned())
                .collect(),
            warnings,
        )
    }

    #[test]
    fn suites_limit_tls_1_2_only() {
        let (all, warnings) = tls12_suites(&TlsOptions::default());
        assert_eq!((all.len(), warnings.len()), (6, 0));
        let name = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
        let options = with_suites(&[name, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"]);
        let (some, warnings) = tls12_suites(&options);
        assert_eq!(some, [name]);
        let expected =
            "cipher suite TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA is not supported and has no effect";
        assert_eq!(warnings, [expected]);
        let (none, _) = tls12_suites(&with_suites(&["TLS_AES_128_GCM_SHA256"]));
        assert!(none.is_empty());
        let (chosen, _) = provider(&with_suites(&["TLS_AES_128_GCM_SHA256"])).unwrap();
        assert_eq!(chosen.cipher_suites.len(), 3, "those of TLS 1.3 stay");
    }

    #[test]
    fn names_of_supported_suites_are_gos() {
        for suite in &ring::default_provider().cipher_suites {
            let name = suite_name(suite.suite());
            let expected = format!("{:?}", suite.suite()).replace("TLS13_", "TLS_");
            assert_eq!(name, expected);
        }
    }

    #[test]
    fn unknown_and_insecure_suites_are_refused() {
        let refused = |options: &TlsOptions| provider(options).unwrap_err().to_string();
        assert_eq!(
            refused(&with_suites(&["TLS_FOO"])),
            "unrecognized cipher TLS_FOO"
        );
        let insecure = with_suites(&["TLS_RSA_WITH_RC4_128_SHA", "TLS_RSA_WITH_AES_128_CBC_SHA"]);
        let expected = "insecure cipher suites configured without 'allow_insecure_cipher_suites' option set: TLS_RSA_WITH_RC4_128_SHA, TLS_RSA_WITH_AES_128_CBC_SHA";
        assert_eq!(refused(&insecure), expected);
        let allowed = TlsOptions {
            allow_insecure_cipher_suites: true,
            ..insecure
        };
        assert_eq!(provider(&allowed).unwrap().1.len(), 2);
    }

    #[test]
    fn curves_keep_their_order() {
        let with = |names: &[&str]| TlsOptions {
            curve_preferences: names.iter().map(|name| (*name).to_owned()).collect(),
            ..TlsOptions::default()
        };
        let (chosen, warnings) = provider(&with(&["CurveP384", "CurveP521", "X25519"])).unwrap();
        let groups: Vec<NamedGroup> = chosen.kx_groups.iter().map(|group| group.name()).collect();
        assert_eq!(groups, [NamedGroup::secp384r1, NamedGroup::X25519]);
        assert_eq!(
            warnings,
            ["curve CurveP521 is not supported and has no effect"]
        );
        let refused = |names: &[&str]| provider(&with(names)).unwrap_err();
        assert_eq!(refused(&["P256"]), TlsError::UnknownCurve("P256".into()));
        assert_eq!(refused(&["CurveP521"]), TlsError::NoCurve);
    }
}

//! TLS of a listener: the block `tls`.

use std::path::PathBuf;
use std::time::Duration;

use super::read::{
    boolean, choice, integer, optional_path, seconds, set, table, tables, text_list,
};
use super::row::{About, Kind, Row, abouts, read_table};
use crate::config::diagnostic::{Diagnostic, Place, Problems};
use crate::config::parse::reason;
use crate::config::units::parse_duration;
use crate::config::value::{Entry, Value};

/// Time for a handshake, unless the block says otherwise.
pub const DEFAULT_TLS_TIMEOUT: Duration = Duration::from_secs(2);
/// Time that `handshake_first: auto` waits for a handshake before it sends INFO.
pub const DEFAULT_HANDSHAKE_FIRST_DELAY: Duration = Duration::from_millis(50);

/// TLS of a listener, as it was written: files are not read here.
#[derive(Clone, Debug, PartialEq)]
pub struct Tls {
    /// Certificate chain, PEM.
    pub cert_file: Option<PathBuf>,
    /// Private key of the certificate, PEM.
    pub key_file: Option<PathBuf>,
    /// Authorities that certificates of the other side must come from, PEM.
    pub ca_file: Option<PathBuf>,
    /// Several certificates in place of `cert_file` and `key_file`; the other side's name picks one.
    pub certificates: Vec<CertificatePair>,
    /// Ask clients for a certificate and verify it. The two options below imply it.
    pub verify: bool,
    /// Take the user from the certificate.
    pub verify_and_map: bool,
    /// Take only peers whose certificate names a host of the configured URLs.
    pub verify_cert_and_check_known_urls: bool,
    /// Do not verify the server's certificate on connections that this server makes.
    pub insecure: bool,
    /// Take cipher suites that are known to be weak.
    pub allow_insecure_cipher_suites: bool,
    /// Names of the cipher suites to use, by the names of the IANA; empty is all good ones.
    pub cipher_suites: Vec<String>,
    /// Names of the key exchange groups to use; empty is all.
    pub curve_preferences: Vec<String>,
    /// The oldest version to take; none is TLS 1.2.
    pub min_version: Option<TlsVersion>,
    /// Time for a handshake; none is [`DEFAULT_TLS_TIMEOUT`].
    pub timeout: Option<Duration>,
    /// Whether a handshake comes before INFO.
    pub handshake_first: HandshakeFirst,
    /// Handshakes in a second; none is without a limit.
    pub connection_rate_limit: Option<u64>,
    /// SHA-256 of the public key information of each certificate to take, 64 hexadecimal digits in
    /// lower case; empty takes all.
    pub pinned_certs: Vec<String>,
    /// Where the block was written.
    pub place: Place,
}

impl Tls {
    /// Time for a handshake.
    pub fn timeout_or_default(&self) -> Duration {
        self.timeout.unwrap_or(DEFAULT_TLS_TIMEOUT)
    }
}

/// A certificate and its private key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificatePair {
    /// Certificate chain, PEM.
    pub cert_file: PathBuf,
    /// Private key, PEM.
    pub key_file: PathBuf,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// When the TLS handshake takes place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HandshakeFirst {
    /// After INFO.
    #[default]
    Never,
    /// Before INFO.
    Always,
    /// Before INFO, which is sent after this time if no handshake has begun.
    Fallback(Duration),
}

/// What a TLS block is for, which decides about some of its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listener {
    /// Clients.
    Clients,
    /// Servers of the cluster: certificates are always verified, on both sides.
    Cluster,
}

/// Cipher suites by the names of the IANA, and whether each is known to be weak.
pub const CIPHER_SUITES: [(&str, bool); 25] = [
    ("TLS_AES_128_GCM_SHA256", false),
    ("TLS_AES_256_GCM_SHA384", false),
    ("TLS_CHACHA20_POLY1305_SHA256", false),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", false),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", false),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", false),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", false),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", false),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", false),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", false),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", false),
    ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", false),
    ("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", false),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256", true),
    ("TLS_ECDHE_ECDSA_WITH_RC4_128_SHA", true),
    ("TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA", true),
    ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", true),
    ("TLS_ECDHE_RSA_WITH_RC4_128_SHA", true),
    ("TLS_RSA_WITH_3DES_EDE_CBC_SHA", true),
    ("TLS_RSA_WITH_AES_128_CBC_SHA", true),
    ("TLS_RSA_WITH_AES_128_CBC_SHA256", true),
    ("TLS_RSA_WITH_AES_128_GCM_SHA256", true),
    ("TLS_RSA_WITH_AES_256_CBC_SHA", true),
    ("TLS_RSA_WITH_AES_256_GCM_SHA384", true),
    ("TLS_RSA_WITH_RC4_128_SHA", true),
];

/// Key exchange groups by nats-server's names.
pub const CURVES: [&str; 7] = [
    "X25519",
    "CurveP256",
    "CurveP384",
    "CurveP521",
    "X25519MLKEM768",
    "SecP256r1MLKEM768",
    "SecP384r1MLKEM1024",
];

const WINDOWS_ONLY: &str = "the certificate store of Windows is not used";

/// A TLS block while it is read.
#[derive(Debug)]
pub(crate) struct TlsDraft {
    tls: Tls,
    listener: Listener,
}

/// The options of a TLS block.
pub(crate) static TLS: &[Row<TlsDraft>] = &[
    option("cert_file", Kind::Path, "")
        .document("Certificate chain in PEM form.")
        .flags(&["tlscert"], "<file>")
        .example("/etc/midge/server-cert.pem")
        .live()
        .store(|d, e, p| set(&mut d.tls.cert_file, optional_path(e, p))),
    option("key_file", Kind::Path, "")
        .document("Private key of the certificate in PEM form.")
        .flags(&["tlskey"], "<file>")
        .example("/etc/midge/server-key.pem")
        .live()
        .store(|d, e, p| set(&mut d.tls.key_file, optional_path(e, p))),
    option("ca_file", Kind::Path, "")
        .document("Authorities that the other side's certificate must come from, in PEM form.")
        .flags(&["tlscacert"], "<file>")
        .example("/etc/midge/ca.pem")
        .live()
        .store(|d, e, p| set(&mut d.tls.ca_file, optional_path(e, p))),
    option("certs", Kind::Blocks, "")
        .document("Several certificates, each with cert_file and key_file, in place of one.")
        .aliases(&["certificates"])
        .example("[ { cert_file: a-cert.pem, key_file: a-key.pem } ]")
        .children(|| abouts(PAIR))
        .live()
        .store(|d, e, p| set(&mut d.tls.certificates, certificates(e, p))),
    option("verify", Kind::Boolean, "false")
        .document("Ask clients for a certificate and verify it.")
        .flags(&["tlsverify"], "")
        .live()
        .store(|d, e, p| {
            if let Some(on) = boolean(e, p) {
                d.tls.verify |= on;
            }
        }),
    option("verify_and_map", Kind::Boolean, "false")
        .document("Verify the client's certificate and take the user from it.")
        .live()
        .store(|d, e, p| {
            if let Some(on) = boolean(e, p) {
                d.tls.verify |= on;
                d.tls.verify_and_map = on;
            }
        }),
    option("verify_cert_and_check_known_urls", Kind::Boolean, "false")
        .document("Take only servers whose certificate names a host of the routes; not for clients.")
        .live()
        .store(store_check_known_urls),
    option("insecure", Kind::Boolean, "false")
        .document("Do not verify the certificates of servers that this one connects to.")
        .live()
        .store(|d, e, p| set(&mut d.tls.insecure, boolean(e, p))),
    option("timeout", Kind::Seconds, "2")
        .document("Time for a handshake.")
        .live()
        .store(|d, e, p| set(&mut d.tls.timeout, seconds(e, p))),
    option("handshake_first", Kind::Mixed, "false")
        .document(
            "Handshake before INFO: true, false, auto, or the time to wait for it before INFO is sent.",
        )
        .aliases(&["first", "immediate"])
        .live()
        .store(|d, e, p| set(&mut d.tls.handshake_first, handshake_first(e, p))),
    option("min_version", Kind::Choice(&["1.2", "1.3"]), "\"1.2\"")
        .document("The oldest version of TLS to take.")
        .live()
        .store(|d, e, p| {
            let words = [("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)];
            d.tls.min_version = choice(e, &words, p);
        }),
    option("cipher_suites", Kind::Texts, "")
        .document("Cipher suites to use; see --help_tls.")
        .example("[ TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 ]")
        .live()
        .store(|d, e, p| {
            let known = CIPHER_SUITES.map(|(name, _)| name);
            set(&mut d.tls.cipher_suites, known_names(e, "cipher", &known, p));
        }),
    option("curve_preferences", Kind::Texts, "")
        .document("Key exchange groups to use; see --help_tls.")
        .example("[ X25519 ]")
        .live()
        .store(|d, e, p| {
            set(&mut d.tls.curve_preferences, known_names(e, "curve preference", &CURVES, p));
        }),
    option("allow_insecure_cipher_suites", Kind::Boolean, "false")
        .document("Take cipher suites that are known to be weak.")
        .live()
        .store(|d, e, p| set(&mut d.tls.allow_insecure_cipher_suites, boolean(e, p))),
    option("pinned_certs", Kind::Texts, "")
        .document("SHA-256 of the public keys of the only certificates to take, in hexadecimal.")
        .example("[ a8f407340dcc719864214b85ed96f98d16cbffa8f509d9fa4ca237b7bb3f9c32 ]")
        .live()
        .store(|d, e, p| set(&mut d.tls.pinned_certs, pinned(e, p))),
    option("connection_rate_limit", Kind::Integer, "0")
        .document("Handshakes in a second; 0 is without a limit.")
        .live()
        .store(|d, e, p| {
            let limit = integer(e, i64::MIN, i64::MAX, p);
            let limit = limit.map(|limit| u64::try_from(limit).ok().filter(|limit| *limit > 0));
            set(&mut d.tls.connection_rate_limit, limit);
        }),
    option("ocsp_peer", Kind::Mixed, "false")
        .document("Ask the authority of a client's certificate whether it was revoked.")
        .missing("asking authorities about certificates is not built yet"),
    option("cert_store", Kind::Text, "")
        .document("Certificate store of Windows to use.")
        .example("WindowsCurrentUser")
        .missing(WINDOWS_ONLY),
    option("cert_match_by", Kind::Text, "")
        .document("What the certificate is looked for by in the store.")
        .example("Subject")
        .missing(WINDOWS_ONLY),
    option("cert_match", Kind::Text, "")
        .document("What the certificate is looked for with in the store.")
        .example("example.com")
        .missing(WINDOWS_ONLY),
    option("ca_certs_match", Kind::Texts, "[]")
        .document("What authorities are looked for with in the store.")
        .missing(WINDOWS_ONLY),
    option("cert_match_skip_invalid", Kind::Boolean, "false")
        .document("Pass over certificates in the store that are not valid now.")
        .missing(WINDOWS_ONLY),
];

const fn option(key: &'static str, kind: Kind, default: &'static str) -> Row<TlsDraft> {
    Row::new(key, kind, default)
}

/// The options of a pair of certificate and key.
pub(crate) static PAIR: &[Row<CertificatePair>] = &[
    of_pair("cert_file", Kind::Path, "")
        .document("Certificate chain in PEM form.")
        .example("a-cert.pem")
        .store(|d, e, p| {
            set(
                &mut d.cert_file,
                optional_path(e, p).map(Option::unwrap_or_default),
            )
        }),
    of_pair("key_file", Kind::Path, "")
        .document("Private key in PEM form.")
        .example("a-key.pem")
        .store(|d, e, p| {
            set(
                &mut d.key_file,
                optional_path(e, p).map(Option::unwrap_or_default),
            )
        }),
];

const fn of_pair(key: &'static str, kind: Kind, default: &'static str) -> Row<CertificatePair> {
    Row::new(key, kind, default)
}

/// A TLS block; none if it has mistakes, or if a flag turned TLS off.
pub(crate) fn tls(entry: &Entry, listener: Listener, problems: &mut Problems) -> Option<Tls> {
    if matches!(
        (&entry.node.value, entry.place()),
        (Value::Boolean(false), Place::Flag(_))
    ) {
        return None;
    }
    let mut draft = TlsDraft {
        tls: empty(entry.place().clone()),
        listener,
    };
    read_table(TLS, &mut draft, table(entry, problems)?, problems);
    let tls = draft.tls;
    let before = problems.errors.len();
    check_files(&tls, entry, problems);
    check_readable(&tls, entry, problems);
    check_ciphers(&tls, entry, problems);
    (problems.errors.len() == before).then_some(tls)
}

fn empty(place: Place) -> Tls {
    Tls {
        cert_file: None,
        key_file: None,
        ca_file: None,
        certificates: Vec::new(),
        verify: false,
        verify_and_map: false,
        verify_cert_and_check_known_urls: false,
        insecure: false,
        allow_insecure_cipher_suites: false,
        cipher_suites: Vec::new(),
        curve_preferences: Vec::new(),
        min_version: None,
        timeout: None,
        handshake_first: HandshakeFirst::Never,
        connection_rate_limit: None,
        pinned_certs: Vec::new(),
        place,
    }
}

fn check_files(tls: &Tls, entry: &Entry, problems: &mut Problems) {
    let mut refuse = |message: &str| problems.error(Diagnostic::new(entry.place(), message));
    match (&tls.cert_file, &tls.key_file) {
        (Some(_), None) => refuse("missing 'key_file' in TLS configuration"),
        (None, Some(_)) => refuse("missing 'cert_file' in TLS configuration"),
        _ => {}
    }
    if tls.cert_file.is_some() && !tls.certificates.is_empty() {
        refuse("cannot combine 'cert_file' with 'certs' in TLS configuration");
    }
}

/// Names files that cannot be read. What is in them is checked by whoever uses them.
fn check_readable(tls: &Tls, entry: &Entry, problems: &mut Problems) {
    let pairs = tls
        .certificates
        .iter()
        .flat_map(|pair| [&pair.cert_file, &pair.key_file]);
    let single = [&tls.cert_file, &tls.key_file, &tls.ca_file]
        .into_iter()
        .flatten();
    for path in single
        .chain(pairs)
        .filter(|path| !path.as_os_str().is_empty())
    {
        if let Err(error) = std::fs::File::open(path) {
            let message = format!("open {}: {}", path.display(), reason(&error));
            problems.error(Diagnostic::new(entry.place(), message));
        }
    }
}

fn check_ciphers(tls: &Tls, entry: &Entry, problems: &mut Problems) {
    let weak = |name: &&String| CIPHER_SUITES.contains(&(name.as_str(), true));
    let weak: Vec<&str> = tls
        .cipher_suites
        .iter()
        .filter(weak)
        .map(String::as_str)
        .collect();
    if !weak.is_empty() && !tls.allow_insecure_cipher_suites {
        let message = format!("insecure cipher suites configured: {}", weak.join(", "));
        let fix = "remove them, or set 'allow_insecure_cipher_suites'";
        problems.error(Diagnostic::new(entry.place(), message).fix(fix));
    }
}

fn store_check_known_urls(draft: &mut TlsDraft, entry: &Entry, problems: &mut Problems) {
    let Some(on) = boolean(entry, problems) else {
        return;
    };
    if on && draft.listener == Listener::Clients {
        let message = format!("{:?} is not supported for clients", entry.key);
        return problems.error(Diagnostic::new(entry.place(), message));
    }
    draft.tls.verify |= on;
    draft.tls.verify_cert_and_check_known_urls = on;
}

fn certificates(entry: &Entry, problems: &mut Problems) -> Option<Vec<CertificatePair>> {
    let mut pairs = Vec::new();
    for (node, table) in tables(entry, problems)? {
        let mut pair = CertificatePair::default();
        read_table(PAIR, &mut pair, table, problems);
        if pair.cert_file.as_os_str().is_empty() || pair.key_file.as_os_str().is_empty() {
            let message = "a certificate requires both 'cert_file' and 'key_file'";
            problems.error(Diagnostic::new(&node.place, message));
        }
        pairs.push(pair);
    }
    Some(pairs)
}

fn handshake_first(entry: &Entry, problems: &mut Problems) -> Option<HandshakeFirst> {
    let of_switch = |on: bool| {
        if on {
            HandshakeFirst::Always
        } else {
            HandshakeFirst::Never
        }
    };
    if let Value::Boolean(on) = entry.node.value {
        return Some(of_switch(on));
    }
    let word = super::read::text(entry, problems)?;
    match word.to_lowercase().as_str() {
        "true" | "on" => Some(of_switch(true)),
        "false" | "off" => Some(of_switch(false)),
        "auto" | "auto_fallback" => Some(HandshakeFirst::Fallback(DEFAULT_HANDSHAKE_FIRST_DELAY)),
        _ => match parse_duration(&word) {
            Ok(delay) if delay.is_zero() => Some(HandshakeFirst::Always),
            Ok(delay) => Some(HandshakeFirst::Fallback(delay)),
            Err(_) => {
                let message = format!("field {:?}'s value {word:?} is invalid", entry.key);
                let fix = "write true, false, auto, or a time such as 300ms";
                problems.error(Diagnostic::new(entry.place(), message).fix(fix));
                None
            }
        },
    }
}

/// A list of names, all of which must be in `known`.
fn known_names(
    entry: &Entry,
    what: &str,
    known: &[&str],
    problems: &mut Problems,
) -> Option<Vec<String>> {
    let names = text_list(entry, problems)?;
    if names.is_empty() {
        let message = format!("{:?} cannot be empty", entry.key);
        problems
            .error(Diagnostic::new(entry.place(), message).fix("remove it to use the defaults"));
    }
    for name in names.iter().filter(|name| !known.contains(&name.as_str())) {
        let message = format!("unrecognized {what} {name}");
        problems.error(Diagnostic::new(entry.place(), message).fix("see --help_tls for the names"));
    }
    Some(names)
}

fn pinned(entry: &Entry, problems: &mut Problems) -> Option<Vec<String>> {
    let digests = text_list(entry, problems)?;
    let valid = |digest: &str| digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit());
    for digest in digests.iter().filter(|digest| !valid(digest)) {
        let message = format!("{:?} holds {digest:?}", entry.key);
        let fix =
            "write the SHA-256 of the DER-encoded SubjectPublicKeyInfo as 64 hexadecimal digits";
        problems.error(Diagnostic::new(entry.place(), message).fix(fix));
    }
    Some(digests.iter().map(|digest| digest.to_lowercase()).collect())
}

/// What there is to say about the options of the block.
pub(crate) fn about() -> Vec<&'static About> {
    abouts(TLS)
}

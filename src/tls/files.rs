//! Certificates, keys and authorities from PEM files.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::{CertificateFiles, TlsError, TlsOptions};
use crate::process::os_error_text;

/// All certificates of the options, with their keys.
pub(super) fn certificates(
    options: &TlsOptions,
    provider: &CryptoProvider,
) -> Result<Vec<CertifiedKey>, TlsError> {
    let count = options.certificates.len();
    if count == 0 {
        return Err(TlsError::NoCertificate);
    }
    let read = |(number, files): (usize, &CertificateFiles)| {
        certificate(files, provider).map_err(|cause| TlsError::Certificate {
            place: number + 1,
            count,
            cause,
        })
    };
    options.certificates.iter().enumerate().map(read).collect()
}

/// The authorities that sign clients' certificates.
pub(super) fn authorities(file: &Path) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in chain(file).map_err(TlsError::Authorities)? {
        store
            .add(certificate)
            .map_err(|error| TlsError::Authorities(error.to_string()))?;
    }
    Ok(store)
}

/// What tells one state of the files from another: Kubernetes, for one, replaces them by turning a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint(Vec<Option<FileState>>);

/// Device, inode, length and the time of the last change in seconds and nanoseconds.
type FileState = (u64, u64, u64, i64, i64);

impl Fingerprint {
    pub(super) fn of(options: &TlsOptions) -> Self {
        let pairs = options.certificates.iter();
        let files = pairs.flat_map(|pair| [&pair.cert_file, &pair.key_file]);
        let state = |path| {
            let file = fs::metadata(path).ok()?;
            Some((
                file.dev(),
                file.ino(),
                file.len(),
                file.mtime(),
                file.mtime_nsec(),
            ))
        };
        Self(files.chain(&options.ca_file).map(state).collect())
    }
}

fn certificate(
    files: &CertificateFiles,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, String> {
    let chain = chain(&files.cert_file)?;
    let key = PrivateKeyDer::from_pem_slice(&read(&files.key_file)?)
        .map_err(|error| pem_error(&files.key_file, "private key", error))?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| error.to_string())
}

/// At least one certificate.
fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = read(file)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| pem_error(file, "certificate", error))?;
    if chain.is_empty() {
        return Err(pem_error(file, "certificate", pem::Error::NoItemsFound));
    }
    Ok(chain)
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    fs::read(file).map_err(|error| format!("open {}: {}", file.display(), os_error_text(&error)))
}

/// Names the file and never quotes it: it may be a private key.
fn pem_error(file: &Path, wanted: &str, error: pem::Error) -> String {
    let file = file.display();
    if matches!(error, pem::Error::NoItemsFound) {
        format!("no {wanted} in PEM form found in {file}")
    } else {
        format!("{file} is not valid PEM")
    }
}

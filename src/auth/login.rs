//! What [`Authenticator`](super::Authenticator) is asked and what it answers.

use std::fmt;
use std::sync::Arc;

use super::authenticator::PasswordCheck;
use super::password::StoredPassword;
use super::permissions::Permissions;
use super::rules::ConnectionType;
use super::signature::SignatureError;

/// What a peer presented in CONNECT; absent fields are empty.
#[derive(Clone, Copy, Default)]
pub struct Credentials<'a> {
    /// `user`
    pub user: &'a str,
    /// `pass`
    pub password: &'a str,
    /// `auth_token`
    pub token: &'a str,
    /// `nkey`
    pub nkey: &'a str,
    /// `sig`, the signature over the nonce
    pub signature: &'a str,
}

impl Credentials<'_> {
    /// Whether neither a user nor a token is presented; an nkey does not count.
    pub(super) fn names_nobody(&self) -> bool {
        self.user.is_empty() && self.password.is_empty() && self.token.is_empty()
    }
}

impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .field("nkey", &self.nkey)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Credentials<'_> {
    /// How log lines name the peer, as nats-server does: `User "a"`, `Nkey "U…"`, `Token "[REDACTED]"`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.nkey.is_empty() {
            write!(f, "Nkey {:?}", self.nkey)
        } else if !self.user.is_empty() {
            write!(f, "User {:?}", self.user)
        } else if !self.token.is_empty() {
            f.write_str("Token \"[REDACTED]\"")
        } else {
            f.write_str("User \"N/A\"")
        }
    }
}

/// What is known of a connection without its help.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionFacts<'a> {
    /// The nonce of the connection's INFO; empty if it had none.
    pub nonce: &'a [u8],
    /// The client's own certificate in DER, from a verified chain.
    pub certificate: Option<&'a [u8]>,
    /// How the peer is connected.
    pub connection_type: ConnectionType,
    /// Whether the listener takes the user from the certificate (`verify_and_map`).
    pub map_certificate: bool,
    /// The number of the machine's user at the other end of a Unix socket, as the system vouches for it.
    pub unix_user: Option<u32>,
}

/// What a peer is after it was let in.
#[derive(Clone, Debug)]
pub struct Login {
    /// The user's name or nkey; `None` where nobody is asked for one, or for a token.
    pub user: Option<Arc<str>>,
    /// The name of its account.
    pub account: Arc<str>,
    /// What it may do; `None` is everything.
    pub permissions: Option<Arc<Permissions>>,
    /// What it was let in for, so that other rules can judge it again.
    pub(super) proof: Proof,
}

/// What a peer proved, without the secret it proved it with.
#[derive(Clone, Debug)]
pub(super) enum Proof {
    /// Nothing was asked for, or nothing was presented.
    Nothing,
    /// The token, as it is stored.
    Token(StoredPassword),
    /// The password of the user, as it is stored.
    Password(StoredPassword),
    /// The nkey.
    Nkey,
}

/// What becomes of a connection when the rules change, see [`Authenticator::renew`](super::Authenticator::renew).
#[derive(Debug)]
#[must_use]
pub enum Renewal {
    /// It stays, with the permissions of the new rules.
    Keep(Login),
    /// Its user belongs to another account now or is gone: it is closed without an error (oracle), to connect again.
    Moved,
    /// It would not be let in any more: `-ERR 'Authorization Violation'` and a close.
    Refuse(Rejection),
}

/// Why a peer was refused; for the log only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// CONNECT held nothing that the configuration asks for.
    NoCredentials,
    /// There is no such user.
    UnknownUser,
    /// The password is not the user's.
    WrongPassword,
    /// The token is not the configured one.
    WrongToken,
    /// There is no such nkey.
    UnknownNkey,
    /// The nonce was not signed.
    SignatureMissing,
    /// The signature is not base64.
    SignatureNotBase64,
    /// The signature is not one of this key over this nonce.
    SignatureWrong,
    /// The user may not be connected in this way.
    ConnectionType,
    /// The listener takes the user from a certificate and there is none that can be read.
    NoCertificate,
    /// No user belongs to the certificate's names.
    UnknownCertificate,
    /// The user has no password and logs in by certificate on another listener.
    CertificateOnly,
    /// The user has no password and logs in as a user of the machine, over the Unix socket.
    UnixSocketOnly,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoCredentials => "no credentials of the kind that is required",
            Self::UnknownUser => "unknown user",
            Self::WrongPassword => "wrong password",
            Self::WrongToken => "wrong token",
            Self::UnknownNkey => "unknown nkey",
            Self::SignatureMissing => "Signature missing",
            Self::SignatureNotBase64 => "Signature not valid base64",
            Self::SignatureWrong => "Signature not verified",
            Self::ConnectionType => "connection type not allowed for this user",
            Self::NoCertificate => "User required in cert, none found",
            Self::UnknownCertificate => "User in cert, not found",
            Self::CertificateOnly => "the user requires a client certificate",
            Self::UnixSocketOnly => "the user has no password and requires the Unix socket",
        })
    }
}

/// The outcome of [`Authenticator::authenticate`](super::Authenticator::authenticate).
#[derive(Debug)]
#[must_use]
pub enum Decision {
    /// Let in.
    Accept(Login),
    /// Refused: `-ERR 'Authorization Violation'` and a close.
    Reject(Rejection),
    /// Undecided until [`PasswordCheck::run`] was run where it may take its time.
    NeedsBlocking(PasswordCheck),
}

impl From<SignatureError> for Rejection {
    fn from(error: SignatureError) -> Self {
        match error {
            SignatureError::Missing => Self::SignatureMissing,
            SignatureError::NotBase64 => Self::SignatureNotBase64,
            SignatureError::NoNonce | SignatureError::Wrong => Self::SignatureWrong,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_show_names_and_no_secrets() {
        let credentials = Credentials {
            user: "alice",
            password: "hunter2",
            token: "t0ken",
            nkey: "",
            signature: "s1gnature",
        };
        assert_eq!(credentials.to_string(), "User \"alice\"");
        let token = Credentials {
            token: "t0ken",
            ..Credentials::default()
        };
        assert_eq!(token.to_string(), "Token \"[REDACTED]\"");
        let nkey = Credentials {
            nkey: "UAB",
            ..credentials
        };
        assert_eq!(nkey.to_string(), "Nkey \"UAB\"");
        assert_eq!(Credentials::default().to_string(), "User \"N/A\"");
        let shown = format!("{credentials:?}{credentials}");
        for secret in ["hunter2", "t0ken", "s1gnature"] {
            assert!(!shown.contains(secret));
        }
    }
}

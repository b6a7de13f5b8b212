//! Who a connection is and what it may do: decisions without sockets, clocks and configuration.
//!
//! [`Authenticator`] takes the credentials of CONNECT and what is known of the connection and says who that is;
//! [`Permissions`] says where a user may publish and subscribe, [`DeliveryFilter`] which messages of a wide
//! subscription a user may see, [`ReplyTracker`] which replies may be answered. [`problems()`] finds what is wrong
//! with a configuration before anybody connects.

mod authenticator;
mod certificate;
mod distinguished_name;
mod filter_set;
mod login;
mod password;
mod pattern;
mod permissions;
mod problems;
mod replies;
mod rules;
mod signature;

pub use authenticator::{Authenticator, PasswordCheck};
pub use certificate::{CertificateNames, certificate_public_key};
pub use login::{ConnectionFacts, Credentials, Decision, Login, Rejection, Renewal};
pub use pattern::overlap;
pub use permissions::{DeliveryFilter, PermissionRules, Permissions, ResponseRules, SubjectRules};
pub use problems::{Place, Problem, Severity, problems};
pub use replies::ReplyTracker;
pub use rules::{
    AccountRules, AuthRules, ConnectionType, GLOBAL_ACCOUNT, Secret, UserIdentity, UserRules,
};

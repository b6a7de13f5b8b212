//! The two JSON documents of the handshake: INFO from the server, CONNECT from the client.
//!
//! Field names, their order and which are left out when empty are nats-server's (oracle 2.15.1).

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use std::borrow::Cow;
use std::fmt::{self, Formatter};
use std::sync::Arc;

use super::json::Object;

/// The protocol level from which on clients understand an INFO that comes later.
pub const PROTOCOL_ASYNC_INFO: i64 = 1;

/// What the server tells a client about itself and the connection. Texts that are the same for all are shared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Info {
    /// The server's public key, its identity.
    pub server_id: Arc<str>,
    /// The configured name, or the identity.
    pub server_name: Arc<str>,
    /// The nats-server level that this server implements; clients gate features on it.
    pub version: Arc<str>,
    /// Protocol level of the server.
    pub proto: u8,
    /// Source revision.
    pub git_commit: String,
    /// What the server was built with; the name is historical.
    pub go: Arc<str>,
    /// The listener's host as configured.
    pub host: Arc<str>,
    /// The listener's port.
    pub port: u16,
    /// Whether headers are supported.
    pub headers: bool,
    /// Whether CONNECT must carry credentials.
    pub auth_required: bool,
    /// Whether the connection must be upgraded to TLS.
    pub tls_required: bool,
    /// Whether a client certificate is asked for.
    pub tls_verify: bool,
    /// Whether the connection may be upgraded to TLS.
    pub tls_available: bool,
    /// Largest header block and payload together, in bytes; -1 without a limit.
    pub max_payload: i64,
    /// Whether streams are served.
    pub jetstream: bool,
    /// The connection's number on this server.
    pub client_id: u64,
    /// The client's address as the server sees it.
    pub client_ip: String,
    /// A challenge to be signed by clients that log in with a key.
    pub nonce: String,
    /// Name of the cluster the server belongs to.
    pub cluster: String,
    /// Whether the cluster name was made up.
    pub cluster_dynamic: bool,
    /// Where else the client could connect, `host:port`.
    pub connect_urls: Vec<String>,
    /// Whether the server is about to end: clients should move.
    pub ldm: bool,
    /// Whether this INFO answers CONNECT.
    pub connect_info: bool,
    /// The account the client was bound to, in the answer to CONNECT.
    pub remote_account: String,
    /// Whether that is the system account.
    pub acc_is_sys: bool,
    /// Level of the streams API.
    pub api_lvl: u32,
    /// The server's public curve key.
    pub xkey: Arc<str>,
}

impl Info {
    /// The document as JSON: what must be there, and what else is not empty, 0 or false.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut object = Object::default();
        object.text("server_id", &self.server_id);
        object.text("server_name", &self.server_name);
        object.text("version", &self.version);
        object.number("proto", self.proto);
        object.text_if_any("git_commit", &self.git_commit);
        object.text("go", &self.go);
        object.text("host", &self.host);
        object.number("port", self.port);
        object.flag("headers", self.headers);
        object.flag_if_set("auth_required", self.auth_required);
        object.flag_if_set("tls_required", self.tls_required);
        object.flag_if_set("tls_verify", self.tls_verify);
        object.flag_if_set("tls_available", self.tls_available);
        object.number("max_payload", self.max_payload);
        object.flag_if_set("jetstream", self.jetstream);
        if self.client_id != 0 {
            object.number("client_id", self.client_id);
        }
        object.text_if_any("client_ip", &self.client_ip);
        object.text_if_any("nonce", &self.nonce);
        object.text_if_any("cluster", &self.cluster);
        object.flag_if_set("cluster_dynamic", self.cluster_dynamic);
        object.texts_if_any("connect_urls", &self.connect_urls);
        object.flag_if_set("ldm", self.ldm);
        object.flag_if_set("connect_info", self.connect_info);
        object.text_if_any("remote_account", &self.remote_account);
        object.flag_if_set("acc_is_sys", self.acc_is_sys);
        object.number("api_lvl", self.api_lvl);
        object.text_if_any("xkey", &self.xkey);
        object.finish()
    }
}

/// The options in force on a connection: defaults, overridden by each CONNECT in turn.
#[derive(Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the protocol has this many independent switches"
)]
pub struct ConnectOptions {
    /// Whether own messages come back on own subscriptions.
    pub echo: bool,
    /// Whether each operation is confirmed with `+OK`.
    pub verbose: bool,
    /// Whether subjects of publications are checked.
    pub pedantic: bool,
    /// Whether the client speaks headers.
    pub headers: bool,
    /// Whether requests without listeners shall be answered with status 503.
    pub no_responders: bool,
    /// Protocol level; see [`PROTOCOL_ASYNC_INFO`].
    pub protocol: i64,
    /// The client's name for the connection.
    pub name: String,
    /// Language of the client library.
    pub lang: String,
    /// Version of the client library.
    pub version: String,
    /// User name.
    pub user: String,
    /// Password.
    pub pass: String,
    /// Token.
    pub auth_token: String,
    /// Public key of the user.
    pub nkey: String,
    /// Signature of the nonce.
    pub sig: String,
    /// User JWT.
    pub jwt: String,
    /// Historical: asking for an account is refused (CVE-2022-24450).
    pub account: String,
    /// Historical, as `account`.
    pub new_account: bool,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            echo: true,
            verbose: true,
            pedantic: true,
            headers: false,
            no_responders: false,
            protocol: 0,
            name: String::new(),
            lang: String::new(),
            version: String::new(),
            user: String::new(),
            pass: String::new(),
            auth_token: String::new(),
            nkey: String::new(),
            sig: String::new(),
            jwt: String::new(),
            account: String::new(),
            new_account: false,
        }
    }
}

/// Secrets never reach logs: only what identifies the client is shown.
impl fmt::Debug for ConnectOptions {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ConnectOptions")
            .field("name", &self.name)
            .field("lang", &self.lang)
            .field("version", &self.version)
            .field("protocol", &self.protocol)
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

impl ConnectOptions {
    /// Reads a CONNECT document over the options in force: what it does not name, or names `null`, stays.
    ///
    /// Keys are taken in any case and the last of several counts, as Go's decoder does it.
    ///
    /// # Errors
    /// When the text is not one JSON object (or `null`) whose fields have the right types.
    pub fn merge(&mut self, json: &[u8]) -> Result<(), ConnectError> {
        let text = lossy(json);
        if has_control_in_string(&text) {
            return Err(ConnectError);
        }
        let mut reader = serde_json::Deserializer::from_str(&text);
        let merged = reader.deserialize_any(Merge(self));
        merged.and_then(|()| reader.end()).map_err(|_| ConnectError)
    }
}

/// The CONNECT document cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectError;

/// Whether a string of the JSON `text` holds a raw control character. The reader does not see to it
/// where it allows lone surrogates.
fn has_control_in_string(text: &str) -> bool {
    // Nearly always there is none at all, which is told many bytes at a time.
    if !(text.bytes()).fold(false, |found, byte| found | (byte < b' ')) {
        return false;
    }
    let (mut inside, mut escaped) = (false, false);
    text.bytes().any(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = inside,
            b'"' => inside = !inside,
            _ => {}
        }
        inside && byte < b' '
    })
}

/// Reads a CONNECT document field by field, so that unknown fields cost nothing however they look.
struct Merge<'a>(&'a mut ConnectOptions);

impl<'de> Visitor<'de> for Merge<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some(Text(name)) = fields.next_key()? {
            self.0.read_field(&name, &mut fields)?;
        }
        Ok(())
    }
}

impl ConnectOptions {
    fn read_field<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        fields: &mut A,
    ) -> Result<(), A::Error> {
        match &*fold_field_name(name) {
            "echo" => set(&mut self.echo, fields.next_value()?),
            "verbose" => set(&mut self.verbose, fields.next_value()?),
            "pedantic" => set(&mut self.pedantic, fields.next_value()?),
            "headers" => set(&mut self.headers, fields.next_value()?),
            "no_responders" => set(&mut self.no_responders, fields.next_value()?),
            "new_account" => set(&mut self.new_account, fields.next_value()?),
            "protocol" => set(&mut self.protocol, fields.next_value()?),
            "name" => set_text(&mut self.name, fields.next_value()?),
            "lang" => set_text(&mut self.lang, fields.next_value()?),
            "version" => set_text(&mut self.version, fields.next_value()?),
            "user" => set_text(&mut self.user, fields.next_value()?),
            "pass" => set_text(&mut self.pass, fields.next_value()?),
            "auth_token" => set_text(&mut self.auth_token, fields.next_value()?),
            "nkey" => set_text(&mut self.nkey, fields.next_value()?),
            "sig" => set_text(&mut self.sig, fields.next_value()?),
            "jwt" => set_text(&mut self.jwt, fields.next_value()?),
            "account" => set_text(&mut self.account, fields.next_value()?),
            // Meant for other kinds of connection: checked, not used.
            "tls_required" => set(&mut false, fields.next_value()?),
            "proxy_sig" | "remote_account" => set_text(&mut String::new(), fields.next_value()?),
            "import" | "export" => fields.next_value::<Option<SubjectLists<'_>>>().map(drop)?,
            _ => fields.next_value::<IgnoredAny>().map(drop)?,
        }
        Ok(())
    }
}

/// The name of a CONNECT field without its spelling: Go compares names by simple case folding, in which
/// the long s is an s.
#[must_use]
pub fn fold_field_name(name: &str) -> Cow<'_, str> {
    if (name.bytes()).all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        return Cow::Borrowed(name);
    }
    Cow::Owned(name.to_lowercase().replace('\u{17f}', "s"))
}

/// What a routed or leaf connection would be allowed to exchange.
#[derive(Deserialize)]
#[expect(dead_code, reason = "a client's are checked, not used")]
struct SubjectLists<'a> {
    #[serde(borrow)]
    allow: Option<Vec<Option<Text<'a>>>>,
    #[serde(borrow)]
    deny: Option<Vec<Option<Text<'a>>>>,
}

/// A string in which lone surrogates are replaced, as Go's decoder does it.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string")
    }

    fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Text<'de>, E> {
        Ok(Text(lossy(bytes)))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(lossy(bytes).into_owned())))
    }
}

/// As `String::from_utf8_lossy`, sooner for what is valid.
fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    match str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(bytes),
    }
}

/// A field that is `null` stays as it is.
fn set<T>(slot: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *slot = value;
    }
}

fn set_text(slot: &mut String, value: Option<Text<'_>>) {
    set(slot, value.map(|Text(text)| text.into_owned()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_is_merged_over_what_is_in_force() {
        let mut options = ConnectOptions::default();
        options
            .merge(br#"{"verbose":false,"Echo":false,"name":null,"user":"u","x":[1]}"#)
            .unwrap();
        assert!(!options.verbose && !options.echo && options.pedantic);
        options.merge(b"{}").unwrap();
        options.merge(b"null").unwrap();
        assert_eq!(options.user, "u");
        options
            .merge(br#"{"verbo\u017fe":true,"lang":"a\ud800","x\udc00":[[1e999]],"import":{"deny":["a"]}}"#)
            .unwrap();
        assert!(options.verbose && options.lang.starts_with("a\u{fffd}"));
        for bad in [
            "",
            "[]",
            "{} x",
            r#"{"verbose":1}"#,
            r#"{"protocol":1.5}"#,
            "{",
            r#"{"user":1}"#,
            r#"{"echo":1,"echo":true}"#,
            r#"{"import":{"allow":1}}"#,
            r#"{"x":01}"#,
            "{\"name\":\"a\tb\"}",
            "{\"\\\"\n\":1}",
        ] {
            assert_eq!(options.merge(bad.as_bytes()), Err(ConnectError), "{bad}");
        }
    }
}

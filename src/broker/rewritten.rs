//! A message with other headers than it came with.

use crate::proto::headers;
use crate::proto::op::{Publish, Size};

/// The bytes of a message whose headers the server has changed.
#[derive(Debug)]
pub struct Rewritten {
    body: Vec<u8>,
    header: usize,
    texts: [String; 2],
}

impl Rewritten {
    /// `message` with the header `name` once, see [`headers::replace`].
    #[must_use]
    pub fn new(message: &Publish<'_>, name: &[u8], value: &[u8]) -> Self {
        let header = message.header.map_or(0, |header| header.bytes);
        let (block, payload) = message.body.split_at_checked(header).unwrap_or_default();
        let added = name.len() + value.len() + 64;
        let mut body = Vec::with_capacity(message.body.len() + added);
        headers::replace(block, name, value, &mut body);
        let header = body.len();
        body.extend_from_slice(payload);
        let size = body.len().saturating_sub(2);
        let texts = [header, size].map(|length| length.to_string());
        Self {
            body,
            header,
            texts,
        }
    }

    /// The message.
    #[must_use]
    pub fn message<'a>(&'a self, subject: &'a [u8], reply: Option<&'a [u8]>) -> Publish<'a> {
        let [header, size] = &self.texts;
        Publish {
            subject,
            reply,
            header: Some(Size {
                bytes: self.header,
                text: header.as_bytes(),
            }),
            size: Size {
                bytes: self.body.len().saturating_sub(2),
                text: size.as_bytes(),
            },
            body: &self.body,
            sized_body: None,
        }
    }
}

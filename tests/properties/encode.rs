//! What the server writes can be read again: by its own parser, and by the plainest of clients.

use proptest::prelude::*;

use super::effort::cases;
use super::wire::{Message, read_frames};
use midge::proto::encode::{self, MessageFrame};
use midge::proto::op::{Op, Publish, Size, Subscribe, Unsubscribe};
use midge::proto::parse::{ParseLimits, Parsed, parse};

const LIMITS: ParseLimits = ParseLimits {
    max_control_line: 4096,
    max_payload: 1024,
    headers: true,
};

/// Any bytes that do not end an argument.
fn word() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_filter("no blank", |byte| !b" \t\r\n\x0c".contains(byte));
    prop::collection::vec(byte, 1..20)
}

/// A number as some publisher could write it.
fn digits(number: usize, zeros: usize) -> Vec<u8> {
    format!("{}{number}", "0".repeat(zeros)).into_bytes()
}

/// The text of a publication, as a client writes it.
fn publication(
    subject: &[u8],
    reply: Option<&[u8]>,
    header: Option<&[u8]>,
    size: &[u8],
    body: &[u8],
) -> Vec<u8> {
    let mut words = vec![
        if header.is_some() {
            &b"HPUB"[..]
        } else {
            b"PUB"
        },
        subject,
    ];
    words.extend(reply);
    words.extend(header);
    words.push(size);
    [&words.join(&b' ')[..], b"\r\n", body, b"\r\n"].concat()
}

fn parsed<'a>(input: &'a [u8]) -> Op<'a> {
    match parse(input, &LIMITS) {
        Ok(Parsed::Complete { op, consumed }) if consumed == input.len() => op,
        other => panic!("{other:?} of {:?}", String::from_utf8_lossy(input)),
    }
}

fn delivered(frame: &MessageFrame, sid: &[u8], body: &[u8]) -> Vec<Message> {
    let bytes = [frame.head(), sid, frame.tail(), body, b"\r\n"].concat();
    read_frames(&bytes)
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn subscriptions_are_read_as_written(
        filter in word(),
        queue in prop::option::of(word()),
        sid in word(),
    ) {
        let mut words = vec![&b"SUB"[..], &filter];
        words.extend(queue.as_deref());
        words.push(&sid);
        let line = [&words.join(&b' ')[..], b"\r\n"].concat();
        let expected = Subscribe { filter: &filter, queue: queue.as_deref(), sid: &sid };
        prop_assert_eq!(parsed(&line), Op::Subscribe(expected));
    }

    #[test]
    fn unsubscriptions_are_read_as_written(sid in word(), max in prop::option::of(0_u64..999_999_999)) {
        let max_text = max.map(|max| format!(" {max}")).unwrap_or_default();
        let line = [b"UNSUB ", &sid[..], max_text.as_bytes(), b"\r\n"].concat();
        prop_assert_eq!(parsed(&line), Op::Unsubscribe(Unsubscribe { sid: &sid, max }));
    }

    /// From a publisher's bytes through the parser and the frame to a subscriber's bytes.
    #[test]
    fn a_message_arrives_as_it_was_published(
        subject in word(),
        reply in prop::option::of(word()),
        sid in word(),
        header in prop::option::of(prop::collection::vec(any::<u8>(), 0..30)),
        payload in prop::collection::vec(any::<u8>(), 0..60),
        zeros in 0_usize..3,
    ) {
        let block = header.clone().unwrap_or_default();
        let body = [&block[..], &payload].concat();
        let size_text = digits(body.len(), zeros);
        let header_text = header.as_ref().map(|header| digits(header.len(), zeros));
        let bytes = publication(&subject, reply.as_deref(), header_text.as_deref(), &size_text, &body);
        let Op::Publish(publish) = parsed(&bytes) else { panic!("no publication") };
        let expected = Publish {
            subject: &subject,
            reply: reply.as_deref(),
            header: header_text.as_deref().map(|text| Size { bytes: block.len(), text }),
            size: Size { bytes: body.len(), text: &size_text },
            body: &bytes[bytes.len() - body.len() - 2..],
            sized_body: publish.sized_body,
        };
        prop_assert_eq!(&publish, &expected);

        let mut frame = MessageFrame::default();
        frame.prepare(&publish);
        let message = Message {
            subject: subject.clone(),
            sid: sid.clone(),
            reply,
            header: header.filter(|block| !block.is_empty()),
            payload,
        };
        prop_assert_eq!(delivered(&frame, &sid, &body), vec![message.clone()]);

        frame.prepare_without_headers(&publish);
        let plain = Message { header: None, ..message };
        prop_assert_eq!(delivered(&frame, &sid, &body[block.len()..]), vec![plain]);
    }

    #[test]
    fn no_responders_can_be_read(reply in word(), sid in word(), subject in word()) {
        let bytes = encode::no_responders(&reply, &sid, &subject);
        let header = [b"NATS/1.0 503\r\nNats-Subject: ", &subject[..], b"\r\n\r\n"].concat();
        let message = Message { subject: reply, sid, reply: None, header: Some(header), payload: vec![] };
        prop_assert_eq!(read_frames(&bytes), vec![message]);
    }
}

//! Tests of what others leave for a connection, and peers for the tests of others.

use super::*;

/// A wire that takes everything, and says what it took.
#[derive(Debug, Default)]
pub(in crate::broker) struct Sink(pub(in crate::broker) Mutex<Vec<u8>>);

impl Wire for Arc<Sink> {
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut sent = self.0.lock().unwrap();
        slices
            .iter()
            .for_each(|slice| sent.extend_from_slice(slice));
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }

    fn wake(&self) {}
}

#[expect(clippy::disallowed_methods, reason = "a peer begins now")]
pub(in crate::broker) fn facts(id: u64) -> Facts {
    Facts {
        id,
        ip: String::new(),
        port: 0,
        began: (std::time::SystemTime::UNIX_EPOCH, Instant::now()),
        nonce: String::new(),
        label: format!("cid:{id}"),
        unix_user: None,
        in_process: false,
    }
}

fn peer_on(id: u64, sink: &Arc<Sink>) -> Arc<Peer> {
    Arc::new(Peer::new(facts(id), Box::new(Arc::clone(sink)), 1000))
}

/// Another server that takes whatever it is sent.
pub(in crate::broker) fn route_on(id: u64, sink: &Arc<Sink>) -> Arc<Peer> {
    Arc::new(Peer::new_route(facts(id), Box::new(Arc::clone(sink)), 1000))
}

/// A peer that takes whatever it is sent.
pub(crate) fn peer(id: u64) -> Arc<Peer> {
    peer_on(id, &Arc::default())
}

#[test]
fn the_first_to_leave_bytes_flushes_for_all() {
    let sink = Arc::default();
    let peer = peer_on(1, &sink);
    assert!(peer.send(b"one "));
    assert!(!peer.send(b"two"), "somebody will flush it already");
    assert_eq!((peer.pending(), peer.flush()), (7, Flush::Done));
    assert_eq!(*sink.0.lock().unwrap(), b"one two");
    assert!(peer.send(b"three"), "nobody will, now");
    assert_eq!(peer.sent(), 7);
}

#[test]
fn only_the_first_reason_to_close_counts() {
    let peer = peer(1);
    peer.close(CloseReason::ServerShutdown);
    peer.close(CloseReason::ClientClosed);
    assert_eq!(peer.condition().closing, Some(CloseReason::ServerShutdown));
    assert!(!peer.send(b"too late") && peer.pending() == 0);
}

#[test]
fn what_is_pending_outlives_an_orderly_close_only() {
    for (reason, pending) in [
        (CloseReason::ServerShutdown, 3),
        (CloseReason::ClientClosed, 3),
        (CloseReason::SlowConsumerWriteDeadline, 0),
        (CloseReason::ReadError, 0),
    ] {
        let peer = peer(1);
        peer.send(b"abc");
        peer.close(reason);
        assert_eq!(peer.pending(), pending, "{reason}");
    }
}

#[test]
fn ended_subscriptions_are_counted_whoever_is_first() {
    let peer = peer(1);
    peer.forget_expired(1);
    assert_eq!(peer.expired(), 0, "taken off before it was counted");
    peer.expired.fetch_add(1, Ordering::Relaxed);
    assert_eq!(peer.expired(), 0);
    peer.expired.fetch_add(2, Ordering::Relaxed);
    assert_eq!(peer.expired(), 2);
}

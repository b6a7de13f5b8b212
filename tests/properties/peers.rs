//! What a peer is sent when its socket takes bytes now and then, or not at all.

use proptest::prelude::*;

use super::effort::cases;
use super::sessions::{Bench, Options};
use midge::broker::close::CloseReason;
use midge::broker::peer::Flush;
use midge::link::context::Limits;

const MAX_PENDING: usize = 4000;

fn limits() -> Limits {
    Limits {
        max_pending: MAX_PENDING,
        ..Limits::default()
    }
}

/// What a subscriber of `a` with sid 1 is sent for a payload.
fn frame(payload: &str) -> String {
    format!("MSG a 1 {}\r\n{payload}\r\n", payload.len())
}

#[derive(Debug, Clone)]
enum Step {
    Publish(usize),
    /// The socket takes so many bytes from now on.
    Room(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let room = prop_oneof![Just(0), 1_usize..500, 0_usize..5000, Just(usize::MAX)];
    prop_oneof![3 => (0_usize..700).prop_map(Step::Publish), 2 => room.prop_map(Step::Room)]
}

proptest! {
    #![proptest_config(cases(300))]

    /// A slow subscriber gets everything in order, or is cut off after some of it; a fast one beside it
    /// gets everything; and no more than the limit and one message ever waits.
    #[test]
    fn a_slow_peer_costs_itself_alone(steps in prop::collection::vec(step(), 1..120)) {
        let mut bench = Bench::new(1, limits());
        let [slow, fast, publisher] = [(); 3].map(|()| bench.connect(&Options::default()));
        for subscriber in [slow, fast] {
            bench.feed(subscriber, b"SUB a 1\r\n");
        }
        let mut expected = String::new();
        for (number, step) in steps.iter().enumerate() {
            match step {
                Step::Publish(length) => {
                    let payload = format!("{number:-<length$}");
                    let length = payload.len();
                    bench.feed(publisher, format!("PUB a {length}\r\n{payload}\r\n").as_bytes());
                    expected.push_str(&frame(&payload));
                }
                Step::Room(room) => bench.set_room(slow, *room),
            }
            prop_assert!(bench.peer(slow).pending() <= MAX_PENDING + 800);
            let got = bench.peek(slow);
            prop_assert!(expected.as_bytes().starts_with(&got), "something else was sent");
            if let Some(reason) = bench.peer(slow).condition().closing {
                prop_assert_eq!(reason, CloseReason::SlowConsumerPendingBytes);
                prop_assert_eq!(bench.peer(slow).pending(), 0, "it gave its memory back");
            } else {
                prop_assert_eq!(got.len() + bench.peer(slow).pending(), expected.len());
            }
        }
        bench.set_room(slow, usize::MAX);
        if bench.peer(slow).condition().closing.is_none() {
            prop_assert_eq!(bench.output(slow), expected.as_bytes());
        }
        prop_assert_eq!(bench.output(fast), expected.as_bytes());
        prop_assert_eq!(bench.peer(publisher).condition().closing, None);
    }
}

/// A member that is cut off hands its share over at once, before anybody has cleaned up behind it.
#[test]
fn a_queue_member_that_is_cut_off_gets_nothing_more() {
    let mut bench = Bench::new(1, limits());
    let [slow, fast, publisher] = [(); 3].map(|()| bench.connect(&Options::default()));
    for member in [slow, fast] {
        bench.feed(member, b"SUB a q 1\r\n");
    }
    bench.set_room(slow, 0);
    let payload = "x".repeat(500);
    let publication = format!("PUB a 500\r\n{payload}\r\n");
    let mut published = 0;
    while bench.peer(slow).condition().closing.is_none() {
        bench.feed(publisher, publication.as_bytes());
        published += 1;
        assert!(published < 1000, "it is never cut off");
    }
    // The message that was one too many went to the other member.
    let before = bench.received(fast).len();
    let lost = MAX_PENDING / frame(&payload).len();
    assert_eq!(before, published - lost);
    for _ in 0..50 {
        bench.feed(publisher, publication.as_bytes());
    }
    assert_eq!(bench.received(fast).len(), 50);
    assert_eq!(bench.output(slow), b"");
}

#[test]
fn a_closing_member_gets_nothing_more() {
    let mut bench = Bench::with_seed(1);
    let [first, second, publisher] = [(); 3].map(|()| bench.connect(&Options::default()));
    for member in [first, second] {
        bench.feed(member, b"SUB a q 1\r\n");
    }
    // Twice on each subject, so that the match cache knows it.
    for _ in 0..20 {
        bench.feed(publisher, b"PUB a 0\r\n\r\n");
    }
    assert_eq!(
        bench.received(first).len() + bench.received(second).len(),
        20
    );
    bench.peer(first).close(CloseReason::ClientClosed);
    for _ in 0..20 {
        bench.feed(publisher, b"PUB a 0\r\n\r\n");
    }
    assert_eq!(
        (bench.output(first).len(), bench.received(second).len()),
        (0, 20)
    );
}

/// Match caches of publishers may hold a peer for long after its end; it must not hold its backlog.
#[test]
fn a_peer_that_has_ended_holds_no_bytes() {
    type End = fn(&Bench, usize);
    let ends: [(&str, End); 4] = [
        ("cut off", |bench, slow| {
            bench
                .peer(slow)
                .close(CloseReason::SlowConsumerWriteDeadline)
        }),
        ("broken", |bench, slow| {
            bench.break_wire(slow);
            assert_eq!(bench.peer(slow).resume(), Flush::Broken);
        }),
        ("closed and broken", |bench, slow| {
            bench.peer(slow).close(CloseReason::ServerShutdown);
            bench.break_wire(slow);
            assert_eq!(bench.peer(slow).resume(), Flush::Broken);
        }),
        ("given up", |bench, slow| {
            bench.peer(slow).close(CloseReason::ServerShutdown);
            bench.peer(slow).discard_pending();
        }),
    ];
    for (name, end) in ends {
        let mut bench = Bench::new(1, limits());
        let [slow, publisher] = [(); 2].map(|()| bench.connect(&Options::default()));
        bench.feed(slow, b"SUB a 1\r\n");
        bench.set_room(slow, 10);
        for _ in 0..10 {
            bench.feed(publisher, b"PUB a 100\r\n1234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890\r\n");
        }
        assert!(bench.peer(slow).pending() > 900, "{name}");
        end(&bench, slow);
        assert_eq!(bench.peer(slow).pending(), 0, "{name}");
        bench.feed(publisher, b"PUB a 1\r\nx\r\n");
        assert_eq!(bench.peer(slow).pending(), 0, "{name}");
        assert_eq!(bench.output(slow).len(), 10, "{name}");
    }
}

/// Publishers pause for a peer that lags behind while it makes progress, and for no other.
#[test]
fn publishers_pause_for_a_peer_that_lags_behind() {
    let mut bench = Bench::new(1, limits());
    let [slow, publisher] = [(); 2].map(|()| bench.connect(&Options::default()));
    bench.feed(slow, b"SUB a 1\r\n");
    let publication = format!("PUB a 100\r\n{}\r\n", "x".repeat(100));
    bench.set_room(slow, 0);
    let three_quarters = MAX_PENDING / 4 * 3;
    let publish = |bench: &mut Bench| {
        bench.feed(publisher, publication.as_bytes());
        bench.take_stall()
    };
    while bench.peer(slow).pending() + 200 < three_quarters {
        assert!(publish(&mut bench).is_none());
    }
    while bench.peer(slow).pending() <= three_quarters {
        publish(&mut bench);
    }
    assert_eq!(
        publish(&mut bench).map(|peer| peer.id()),
        Some(bench.peer(slow).id())
    );
    // It takes a little: still behind. It takes more: publishers go on.
    bench.set_room(slow, 1);
    assert!(bench.peer(slow).stalls());
    bench.set_room(slow, 1000);
    assert!(!bench.peer(slow).stalls());
    assert!(publish(&mut bench).is_none());
    // It is behind again, but takes nothing for long: waiting for it would help nobody.
    while bench.peer(slow).pending() <= three_quarters {
        publish(&mut bench);
    }
    assert!(publish(&mut bench).is_some());
    bench.peer(slow).mark_unresponsive();
    assert!(publish(&mut bench).is_none());
    // Nor does anybody wait for a connection that has ended.
    bench.set_room(slow, 10);
    bench.set_room(slow, 0);
    assert!(publish(&mut bench).is_some());
    bench.peer(slow).close(CloseReason::ClientClosed);
    assert!(!bench.peer(slow).stalls() && publish(&mut bench).is_none());
}

#[tokio::test]
async fn whoever_waits_for_a_peer_is_woken_when_it_drains_or_ends() {
    let ends: [fn(&Bench, usize); 3] = [
        |bench, slow| bench.set_room(slow, usize::MAX),
        |bench, slow| bench.peer(slow).close(CloseReason::ClientClosed),
        |bench, slow| bench.peer(slow).mark_unresponsive(),
    ];
    for end in ends {
        let mut bench = Bench::new(1, limits());
        let [slow, publisher] = [(); 2].map(|()| bench.connect(&Options::default()));
        bench.feed(slow, b"SUB a 1\r\n");
        bench.set_room(slow, 0);
        while !bench.peer(slow).stalls() {
            bench.feed(publisher, b"PUB a 9\r\n123456789\r\n");
        }
        let peer = bench.peer(slow).clone();
        let waiter = tokio::spawn(async move { peer.ungated().await });
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        end(&bench, slow);
        tokio::time::timeout(std::time::Duration::from_secs(20), waiter)
            .await
            .unwrap()
            .unwrap();
    }
}

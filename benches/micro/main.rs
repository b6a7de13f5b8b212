//! The steps of a published message one by one: `cargo bench --bench micro`.

#[path = "../shared/mod.rs"]
mod shared;

fn main() {
    divan::main();
}

/// Bytes to operations.
mod parse {
    use divan::counter::ItemsCount;
    use divan::{Bencher, black_box};
    use midge::proto::parse::{ParseLimits, Parsed};

    const LIMITS: ParseLimits = ParseLimits {
        max_control_line: 4096,
        max_payload: 1_048_576,
        headers: true,
    };

    const FRAMES: [(&str, &str); 6] = [
        ("publish", "PUB orders.new.eu 16\r\n0123456789abcdef\r\n"),
        (
            "publish with reply",
            "PUB orders.new _INBOX.Rk3vXq9LwT5nYb2HsJ8dPm.42 5\r\nhello\r\n",
        ),
        (
            "publish with headers",
            "HPUB orders.new 22 27\r\nNATS/1.0\r\nTrace: 1\r\n\r\nhello\r\n",
        ),
        ("subscribe", "SUB orders.*.eu workers 17\r\n"),
        ("unsubscribe", "UNSUB 17 5\r\n"),
        ("ping", "PING\r\n"),
    ];

    #[divan::bench(args = FRAMES.map(|(name, _)| name))]
    fn thousand(bencher: Bencher<'_, '_>, name: &str) {
        let frame = FRAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map_or("", |(_, frame)| frame);
        let input = frame.repeat(1000).into_bytes();
        bencher.counter(ItemsCount::new(1000_usize)).bench(|| {
            let mut rest = black_box(input.as_slice());
            while let Ok(Parsed::Complete { op, consumed }) =
                midge::proto::parse::parse(rest, &LIMITS)
            {
                black_box(&op);
                rest = rest.get(consumed..).unwrap_or_default();
            }
            assert!(rest.is_empty(), "not everything was parsed");
        });
    }
}

/// A message to the bytes that one receiver gets.
mod encode {
    use std::io::IoSlice;

    use divan::counter::ItemsCount;
    use divan::{Bencher, black_box};
    use midge::outbound::{MAX_SLICES, Outbound};
    use midge::proto::encode::MessageFrame;
    use midge::proto::op::{Publish, Size};

    #[divan::bench(args = [16, 128, 1024, 8192])]
    fn thousand(bencher: Bencher<'_, '_>, payload: usize) {
        let body = vec![b'x'; payload + 2];
        let digits = payload.to_string();
        let size = Size {
            bytes: payload,
            text: digits.as_bytes(),
        };
        let publish = Publish {
            subject: b"orders.new.eu",
            reply: None,
            header: None,
            size,
            body: &body,
            sized_body: None,
        };
        let mut frame = MessageFrame::default();
        let mut outbound = Outbound::default();
        bencher
            .counter(ItemsCount::new(1000_usize))
            .bench_local(|| {
                for _ in 0..1000 {
                    frame.prepare(black_box(&publish));
                    outbound.push([frame.head(), b"1", frame.tail(), &body]);
                }
                drain(&mut outbound);
            });
    }

    fn drain(outbound: &mut Outbound) {
        while !outbound.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let count = outbound.slices(&mut slices);
            let sent = slices.iter().take(count).map(|slice| slice.len()).sum();
            outbound.advance(black_box(sent));
        }
    }
}

/// A subject to the subscriptions that want it, without any cache.
mod find {
    use std::sync::Arc;

    use divan::counter::ItemsCount;
    use divan::{Bencher, black_box};
    use foldhash::fast::RandomState;
    use midge::routing::groups::Subscriber;
    use midge::routing::interest::Interest;
    use std::hash::BuildHasher as _;

    #[derive(Debug, Clone)]
    struct Filter(Arc<str>);

    impl Subscriber for Filter {
        fn filter(&self) -> &[u8] {
            self.0.as_bytes()
        }

        fn queue(&self) -> Option<&[u8]> {
            None
        }

        fn is(&self, other: &Self) -> bool {
            Arc::ptr_eq(&self.0, &other.0)
        }
    }

    #[divan::bench(args = [1, 1000, 100_000])]
    fn literal(bencher: Bencher<'_, '_>, filters: usize) {
        bench(bencher, filters, |number| {
            format!("orders.{}.{}", number / 100, number % 100)
        });
    }

    #[divan::bench(args = [1, 1000, 100_000])]
    fn wildcard(bencher: Bencher<'_, '_>, filters: usize) {
        bench(bencher, filters, |number| {
            format!("orders.{}.*.{}", number / 100, number % 100)
        });
    }

    #[divan::bench(args = [1, 1000, 100_000])]
    fn tail(bencher: Bencher<'_, '_>, filters: usize) {
        bench(bencher, filters, |number| format!("orders.{number}.>"));
    }

    fn bench(bencher: Bencher<'_, '_>, filters: usize, filter: impl Fn(usize) -> String) {
        let hasher = RandomState::default();
        let mut interest = Interest::new(hasher.clone());
        let mut subjects = Vec::new();
        for number in 0..filters {
            let text = filter(number);
            subjects.push(text.replace('*', "any").replace('>', "any.thing"));
            interest.insert(Filter(text.into()));
        }
        // A stride without neighbours, so that lookups do not help each other.
        let order: Vec<&str> = (0..1000)
            .filter_map(|step| subjects.get(step * 7919 % filters).map(String::as_str))
            .collect();
        bencher.counter(ItemsCount::new(order.len())).bench(|| {
            let mut found = 0_usize;
            for subject in &order {
                let subject = black_box(subject.as_bytes());
                interest.visit(subject, hasher.hash_one(subject), |_| found += 1);
            }
            assert_eq!(found, order.len(), "every subject is wanted once");
        });
    }
}

/// Whole turns: parse, match, deliver and flush, with subscribers that take everything at once.
mod turn {
    use divan::Bencher;
    use divan::counter::ItemsCount;

    use crate::shared::workloads::WORKLOADS;

    #[divan::bench(args = WORKLOADS.map(|(name, _)| name))]
    fn publish(bencher: Bencher<'_, '_>, name: &str) {
        let Some((_, build)) = WORKLOADS.iter().find(|(known, _)| *known == name) else {
            return;
        };
        let mut workload = build();
        let messages = workload.messages;
        bencher
            .counter(ItemsCount::new(messages))
            .bench_local(|| workload.run_batch());
        assert_eq!(
            workload.received() % workload.delivered.max(1),
            0,
            "a message is missing"
        );
    }
}

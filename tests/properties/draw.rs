//! A queue group's messages are spread evenly over its members.

use super::sessions::{Bench, Options};

/// The sum of squared deviations from an even spread, each by what is expected.
fn chi_square(counts: &[usize]) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "the counts are small")]
    let counts: Vec<f64> = counts.iter().map(|&count| count as f64).collect();
    #[expect(clippy::cast_precision_loss, reason = "the counts are small")]
    let expected = counts.iter().sum::<f64>() / counts.len() as f64;
    counts
        .iter()
        .map(|count| (count - expected).powi(2) / expected)
        .sum()
}

/// Messages that each of `members` subscriptions gets of `messages`, all members being of one client.
fn spread(members: usize, messages: usize, seed: u64, subjects: usize) -> Vec<usize> {
    let mut bench = Bench::with_seed(seed);
    let subscriber = bench.connect(&Options::default());
    let publisher = bench.connect(&Options::default());
    for member in 0..members {
        bench.feed(
            subscriber,
            format!("SUB jobs.* workers {member}\r\n").as_bytes(),
        );
    }
    let mut counts = vec![0; members];
    for message in 0..messages {
        let subject = message % subjects;
        bench.feed(
            publisher,
            format!("PUB jobs.{subject} 1\r\nx\r\n").as_bytes(),
        );
        let delivered = bench.received(subscriber);
        assert_eq!(
            delivered.len(),
            1,
            "each message goes to exactly one member"
        );
        let sid = std::str::from_utf8(&delivered[0].sid).unwrap();
        counts[sid.parse::<usize>().unwrap()] += 1;
    }
    counts
}

/// The 0.1 % point of the distribution, approximated as Wilson and Hilferty do it.
fn threshold(members: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "the counts are small")]
    let freedom = (members - 1) as f64;
    let part = 2.0 / (9.0 * freedom);
    freedom * (1.0 - part + 3.09 * part.sqrt()).powi(3)
}

#[test]
fn the_draw_is_even() {
    // Seeds are fixed, so the test always sees the same draw. One subject comes from the match cache,
    // many subjects mostly from the trie.
    for seed in [1, 0x5eed, u64::MAX] {
        for members in [2, 3, 5, 8, 16, 64] {
            for subjects in [1, 997] {
                let counts = spread(members, 400 * members.min(16), seed, subjects);
                let deviation = chi_square(&counts);
                assert!(
                    deviation < threshold(members),
                    "{deviation} with seed {seed}, {subjects} subjects: {counts:?}"
                );
            }
        }
    }
}

#[test]
fn the_measure_tells_an_uneven_spread() {
    assert!(chi_square(&[500, 500, 500]) < threshold(3));
    assert!(chi_square(&[600, 500, 400]) > threshold(3));
    assert!(chi_square(&[0, 750, 750]) > threshold(3));
}

#[test]
fn members_of_several_filters_are_one_group() {
    let mut bench = Bench::with_seed(7);
    let subscriber = bench.connect(&Options::default());
    let publisher = bench.connect(&Options::default());
    for (member, filter) in ["a.b", "a.b", "a.*", "a.>", ">", "*.b"].iter().enumerate() {
        bench.feed(
            subscriber,
            format!("SUB {filter} q {member}\r\n").as_bytes(),
        );
    }
    let mut counts = vec![0; 6];
    for _ in 0..3000 {
        bench.feed(publisher, b"PUB a.b 0\r\n\r\n");
        let delivered = bench.received(subscriber);
        assert_eq!(delivered.len(), 1);
        counts[usize::from(delivered[0].sid[0] - b'0')] += 1;
    }
    assert!(chi_square(&counts) < threshold(6), "{counts:?}");
}

#[test]
fn publishers_do_not_all_begin_with_the_same_member() {
    let firsts: std::collections::BTreeSet<_> = (0_u64..64)
        .map(|seed| {
            let counts = spread(8, 1, seed.wrapping_mul(0x9E37_79B9_7F4A_7C15), 1);
            counts.iter().position(|&count| count == 1)
        })
        .collect();
    assert!(firsts.len() > 5, "{firsts:?}");
}

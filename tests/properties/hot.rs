//! The subjects that are published to most, against counting all.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use midge::broker::hot::{HotSubjects, SAMPLED};
use midge::routing::space_saving::SpaceSaving;
use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    /// No count is too small, none is too big by more than its error, and who occurred more often than
    /// once per place is there.
    #[test]
    fn counts_keep_their_promises(
        capacity in 1_usize..20,
        stream in vec((0_u8..60, 1_u64..20), 0..600),
    ) {
        let mut sketch = SpaceSaving::new(capacity);
        let mut exact: HashMap<u8, u64> = HashMap::new();
        let mut total = 0;
        for &(subject, weight) in &stream {
            // Some subjects come much more often than others.
            let subject = subject / (1 + subject % 3);
            sketch.add(&[b's', subject], weight, weight * 10);
            *exact.entry(subject).or_default() += weight;
            total += weight;
        }
        let counted: Vec<_> = sketch.counted().cloned().collect();
        prop_assert!(counted.len() <= capacity);
        prop_assert_eq!(counted.iter().map(|one| one.count).sum::<u64>(), total);
        for one in &counted {
            let truth = exact[&one.subject[1]];
            prop_assert!(one.count >= truth && one.count - one.error <= truth, "{one:?} {truth}");
            prop_assert!(one.bytes <= truth * 10);
            prop_assert!(one.count >= sketch.least());
        }
        for (subject, truth) in exact {
            let is_counted = counted.iter().any(|one| one.subject[1] == subject);
            prop_assert!(is_counted || truth <= sketch.least(), "{subject}");
            prop_assert!(is_counted || truth * capacity as u64 <= total, "{subject}");
        }
    }
}

/// A number drawn by xorshift.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Subjects as frequent as one over their rank, one message in sixteen drawn, four threads: the ten most
/// frequent are told, in about their order, and none is off by more than a tenth.
#[expect(
    clippy::disallowed_methods,
    reason = "any instant will do as the test's beginning"
)]
#[test]
fn the_hottest_are_found_among_very_many() {
    let (hot, now) = (HotSubjects::new(20), Instant::now());
    let (subjects, messages) = (20_000_u64, 800_000_u64);
    let harmonic: f64 = (1..=subjects).map(|rank| 1.0 / rank as f64).sum();
    let mut sums = Vec::new();
    let mut sum = 0.0;
    for rank in 1..=subjects {
        sum += 1.0 / rank as f64 / harmonic;
        sums.push(sum);
    }
    let mut state = 0x5eed_5eed_5eed_5eed;
    let mut exact: HashMap<usize, u64> = HashMap::new();
    let mut next = 1;
    for message in 1..=messages {
        let drawn = random(&mut state) as f64 / u64::MAX as f64;
        let rank = sums.partition_point(|sum| *sum < drawn);
        *exact.entry(rank).or_default() += 1;
        if message == next {
            let worker = random(&mut state) % 4;
            hot.count(worker, format!("load.{rank}").as_bytes(), 100, now);
            next += 1 + random(&mut state) % (2 * SAMPLED - 1);
        }
    }
    let told = hot.hottest(20, now + Duration::from_secs(1)).subjects;
    assert_eq!(told.len(), 20);
    for rank in 0..10 {
        let subject = format!("load.{rank}");
        let place = told
            .iter()
            .position(|one| *one.subject == *subject.as_bytes());
        let place = place.expect("a frequent subject is told");
        assert!(place.abs_diff(rank) <= 2, "{subject} at {place}");
        let (estimate, truth) = (told[place].count as f64, exact[&rank] as f64);
        let off = (estimate - truth).abs() / truth;
        assert!(off < 0.1, "{subject}: {estimate} for {truth}");
    }
}

//! Subjects and filters.

use proptest::prelude::*;

use super::effort::cases;
use super::model::is_wanted;
use midge::subject::{
    covers, has_wildcard, intersection, is_valid_filter, is_valid_subject, matches, tokens,
};

/// One of few tokens, so that filters and subjects often meet.
pub(crate) fn token() -> impl Strategy<Value = &'static str> {
    prop_oneof![4 => Just("a"), 3 => Just("b"), 1 => Just("a*"), 1 => Just("$S")]
}

/// A subject of up to four tokens.
pub(crate) fn subject() -> impl Strategy<Value = String> {
    prop::collection::vec(token(), 1..5).prop_map(|tokens| tokens.join("."))
}

/// A filter of up to five tokens, wildcards among them.
pub(crate) fn filter() -> impl Strategy<Value = String> {
    let token = prop_oneof![3 => token(), 2 => Just("*")];
    (prop::collection::vec(token, 0..5), any::<bool>()).prop_map(|(mut tokens, tail)| {
        if tail || tokens.is_empty() {
            tokens.push(">");
        }
        tokens.join(".")
    })
}

/// A subject of up to six tokens and a filter that wants it, mostly with the same tokens.
pub(crate) fn wanted_subject() -> impl Strategy<Value = (String, String)> {
    let stars = prop::collection::vec(any::<prop::sample::Index>(), 0..3);
    let tokens = prop::collection::vec(token(), 1..7);
    let tail = prop::option::of(any::<prop::sample::Index>());
    (tokens, stars, tail).prop_map(|(tokens, stars, tail)| {
        let mut wanted = tokens.clone();
        for star in stars {
            *star.get_mut(&mut wanted) = "*";
        }
        if let Some(tail) = tail {
            wanted.truncate(tail.index(tokens.len()));
            wanted.push(">");
        }
        (tokens.join("."), wanted.join("."))
    })
}

/// Anything made of the bytes that have a meaning.
fn words() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(&b"ab.*> \t\x00\xff"[..]), 0..12)
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn matching_is_as_defined(filter in words(), subject in words()) {
        let filter_tokens: Vec<_> = tokens(&filter).collect();
        let subject_tokens: Vec<_> = tokens(&subject).collect();
        let defined = subject_tokens.iter().all(|token| !token.is_empty())
            && is_wanted(&filter_tokens, &subject_tokens);
        prop_assert_eq!(matches(&filter, &subject), defined);
    }

    #[test]
    fn generated_filters_are_valid_and_match_often(filter in filter(), subject in subject()) {
        prop_assert!(is_valid_filter(filter.as_bytes()));
        prop_assert!(is_valid_subject(subject.as_bytes()));
        let filter_tokens: Vec<_> = tokens(filter.as_bytes()).collect();
        let subject_tokens: Vec<_> = tokens(subject.as_bytes()).collect();
        let defined = is_wanted(&filter_tokens, &subject_tokens);
        prop_assert_eq!(matches(filter.as_bytes(), subject.as_bytes()), defined);
    }

    #[test]
    fn a_valid_filter_has_whole_tokens_and_a_tail_only_at_its_end(filter in words()) {
        let tokens: Vec<_> = tokens(&filter).collect();
        let whole = tokens.iter().all(|token| !token.is_empty());
        let blank = filter.iter().any(|byte| b" \t".contains(byte));
        let early_tail = tokens.iter().rev().skip(1).any(|token| *token == b">");
        prop_assert_eq!(is_valid_filter(&filter), whole && !blank && !early_tail);
    }

    #[test]
    fn a_filter_without_wildcards_wants_itself_alone(filter in subject(), subject in words()) {
        let filter = filter.as_bytes();
        prop_assert!(!has_wildcard(filter) && matches(filter, filter));
        prop_assert_eq!(matches(filter, &subject), filter == subject);
    }

    #[test]
    fn covering_means_wanting_all_of_it(outer in filter(), (subject, inner) in wanted_subject()) {
        if covers(outer.as_bytes(), inner.as_bytes()) {
            prop_assert!(matches(outer.as_bytes(), subject.as_bytes()), "{} {} {}", outer, inner, subject);
        }
        prop_assert!(covers(b">", inner.as_bytes()) && covers(inner.as_bytes(), inner.as_bytes()));
    }

    #[test]
    fn an_intersection_wants_what_both_want(left in filter(), right in filter(), subject in subject()) {
        let both = intersection(left.as_bytes(), right.as_bytes());
        let wanted = both.is_some_and(|both| matches(&both, subject.as_bytes()));
        let [by_left, by_right] = [&left, &right].map(|one| matches(one.as_bytes(), subject.as_bytes()));
        prop_assert_eq!(wanted, by_left && by_right);
    }
}

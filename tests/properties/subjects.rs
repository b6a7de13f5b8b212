//! Subjects and filters.

use proptest::prelude::*;

use super::effort::cases;
use super::model::is_wanted;
use midge::subject::{has_wildcard, is_valid_filter, is_valid_subject, matches, tokens};

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
}

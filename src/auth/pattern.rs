//! How filters relate to each other, which permissions ask and routing does not.

use crate::subject::{is_star, is_tail, tokens};

/// The first token, and what follows its separator if there is one.
pub(super) fn split_token(subject: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'.', subject).and_then(|place| subject.split_at_checked(place)) {
        Some((token, rest)) => (token, rest.get(1..)),
        None => (subject, None),
    }
}

/// Whether `filter` wants every subject that `other` wants. A queue group's name counts as a filter here.
pub(super) fn covers(filter: &[u8], other: &[u8]) -> bool {
    let mut narrow = tokens(other);
    for wide in tokens(filter) {
        let Some(token) = narrow.next() else {
            return false;
        };
        if is_tail(wide) {
            return true;
        }
        if is_tail(token) || (!is_star(wide) && wide != token) {
            return false;
        }
    }
    narrow.next().is_none()
}

/// Whether some subject is wanted by both filters.
#[must_use]
pub fn overlap(one: &[u8], other: &[u8]) -> bool {
    let (mut ones, mut others) = (tokens(one), tokens(other));
    loop {
        match (ones.next(), others.next()) {
            (None, None) => return true,
            (Some(_), None) | (None, Some(_)) => return false,
            (Some(token), Some(opposite)) => {
                if is_tail(token) || is_tail(opposite) {
                    return true;
                }
                if !is_star(token) && !is_star(opposite) && token != opposite {
                    return false;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::{is_valid_filter, matches};

    /// Every filter of up to three tokens over a small alphabet, and every subject of up to four: enough to see
    /// each difference that `>` can make.
    fn all(alphabet: &[&str], most: usize) -> Vec<String> {
        let mut words: Vec<String> = alphabet.iter().map(|token| (*token).to_owned()).collect();
        let mut longest = words.clone();
        for _ in 1..most {
            longest = longest
                .iter()
                .flat_map(|word| alphabet.iter().map(move |token| format!("{word}.{token}")))
                .collect();
            words.extend(longest.iter().cloned());
        }
        words
    }

    #[test]
    fn relations_agree_with_the_subjects_they_speak_of() {
        let filters: Vec<String> = all(&["a", "b", "*", ">"], 3)
            .into_iter()
            .filter(|filter| is_valid_filter(filter.as_bytes()))
            .collect();
        // A token that no filter names stands for all the others.
        let subjects = all(&["a", "b", "z"], 4);
        let wanted: Vec<Vec<bool>> = filters
            .iter()
            .map(|filter| {
                subjects
                    .iter()
                    .map(|subject| matches(filter.as_bytes(), subject.as_bytes()))
                    .collect()
            })
            .collect();
        for (filter, by_filter) in filters.iter().zip(&wanted) {
            for (other, by_other) in filters.iter().zip(&wanted) {
                let both = by_filter
                    .iter()
                    .zip(by_other)
                    .any(|(one, other)| *one && *other);
                let subset = by_filter
                    .iter()
                    .zip(by_other)
                    .all(|(one, other)| *one || !*other);
                let (filter, other) = (filter.as_bytes(), other.as_bytes());
                assert_eq!(overlap(filter, other), both, "{filter:?} {other:?}");
                assert_eq!(covers(filter, other), subset, "{filter:?} {other:?}");
            }
        }
        assert!(filters.len() > 30);
    }

    #[test]
    fn splitting() {
        assert_eq!(split_token(b"a.b.c"), (&b"a"[..], Some(&b"b.c"[..])));
        assert_eq!(split_token(b"a"), (&b"a"[..], None));
        assert_eq!(split_token(b"a."), (&b"a"[..], Some(&b""[..])));
    }
}

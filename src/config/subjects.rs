//! The shape of subjects in a configuration.

/// Whether `subject` is one that nats-server takes in a configuration: tokens separated by points,
/// none of them empty or with white space, and `>` only as the last one.
pub(crate) fn is_valid(subject: &str) -> bool {
    let mut ended = false;
    for token in subject.split('.') {
        if token.is_empty() || ended || token.contains(['\t', '\n', '\x0c', '\r', ' ']) {
            return false;
        }
        ended = token == ">";
    }
    true
}

/// Whether `subject` is valid and names exactly one subject: it has no wildcards.
pub(crate) fn is_literal(subject: &str) -> bool {
    is_valid(subject) && subject.split('.').all(|token| token != "*" && token != ">")
}

/// What is wrong with a subject in a permission, if anything. Where `queues` are allowed, it may be
/// followed by a queue group.
pub(crate) fn permission_mistake(subject: &str, queues: bool) -> Option<String> {
    if is_valid(subject) {
        return None;
    }
    let mut words = subject.split_whitespace();
    match (queues, words.next(), words.next(), words.next()) {
        (true, Some(subject), Some(queue), None) => {
            if !is_valid(subject) {
                return Some(format!("subject {subject:?} is not a valid subject"));
            }
            (!is_valid(queue)).then(|| format!("queue {queue:?} is not a valid queue"))
        }
        _ => Some(format!("subject {subject:?} is not a valid subject")),
    }
}

#[cfg(test)]
mod tests {
    use super::{is_literal, is_valid, permission_mistake};

    #[test]
    fn knows_subjects() {
        for subject in ["a", "a.b", "*", ">", "a.*.>", "a*", "a>b.c", "$SYS.>"] {
            assert!(is_valid(subject), "{subject}");
        }
        for subject in ["", ".", "a.", ".a", "a..b", ">.a", "a b", "a.\t"] {
            assert!(!is_valid(subject), "{subject}");
        }
        assert!(is_literal("a.b") && !is_literal("a.*") && !is_literal(">"));
    }

    #[test]
    fn knows_queues() {
        assert_eq!(permission_mistake("a q", true), None);
        assert!(permission_mistake("a q", false).is_some());
        assert!(permission_mistake("a q r", true).is_some());
        assert!(permission_mistake("a. q", true).is_some());
        assert!(permission_mistake("a q..", true).is_some());
    }
}

//! A set of filters, some of them bound to queue groups, that answers which of them hold for a subject.
//!
//! Made once from a user's permissions and then only read. The subject in question may itself be a filter, as in
//! `SUB foo.*`: its wildcards are then tokens like any other, which a `*` or `>` of the set covers.

use super::pattern;
use crate::subject;

/// Filters as a trie of tokens.
#[derive(Clone, Debug, Default)]
pub(super) struct FilterSet {
    root: Node,
    /// The members as they were inserted, for questions that the trie does not answer.
    members: Vec<Member>,
}

#[derive(Clone, Debug)]
struct Member {
    filter: Box<[u8]>,
    queue: Option<Box<[u8]>>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    /// Sorted by token.
    literals: Vec<(Box<[u8]>, Self)>,
    star: Option<Box<Self>>,
    tail: Option<End>,
    end: End,
}

/// What ends at a place of the trie.
#[derive(Clone, Debug, Default)]
struct End {
    plain: bool,
    queues: Vec<Box<[u8]>>,
}

/// Which members of a set hold for a subject.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// One without a queue group does.
    pub(super) plain: bool,
    /// One with a queue group does, whichever group that is.
    pub(super) any_queue: bool,
    /// One whose queue group is the asked one, or a pattern that covers it, does.
    pub(super) queue: bool,
}

impl FilterSet {
    /// Adds a valid filter, bound to a queue group if there is one.
    pub(super) fn insert(&mut self, filter: &[u8], queue: Option<&[u8]>) {
        let member = Member {
            filter: filter.into(),
            queue: queue.map(Into::into),
        };
        let mut node = &mut self.root;
        let mut tokens = subject::tokens(filter).peekable();
        let end = loop {
            let Some(token) = tokens.next() else {
                break &mut node.end;
            };
            if subject::is_tail(token) && tokens.peek().is_none() {
                break node.tail.get_or_insert_default();
            }
            node = node.child(token);
        };
        match &member.queue {
            Some(queue) if !end.queues.contains(queue) => end.queues.push(queue.clone()),
            Some(_) => {}
            None => end.plain = true,
        }
        self.members.push(member);
    }

    /// The members that hold for `subject`; `queue` is the group of a queue subscription. A subject with an
    /// empty token is in no set.
    pub(super) fn find(&self, subject: &[u8], queue: Option<&[u8]>) -> Found {
        let mut found = Found::default();
        if subject::tokens(subject).all(|token| !token.is_empty()) {
            self.root.collect(Some(subject), queue, &mut found);
        }
        found
    }

    /// Whether some subject could be wanted both by `filter` and by a member.
    pub(super) fn overlaps(&self, filter: &[u8]) -> bool {
        self.members
            .iter()
            .any(|member| pattern::overlap(&member.filter, filter))
    }

    /// Whether every subject that `filter` wants is wanted by one single member, too, for a plain subscription
    /// (`queue` absent) or for a queue subscription.
    pub(super) fn covers(&self, filter: &[u8], queue: Option<&[u8]>) -> bool {
        self.members.iter().any(|member| {
            let for_queue = match (&member.queue, queue) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(group), Some(queue)) => queue_matches(group, queue),
            };
            for_queue && pattern::covers(&member.filter, filter)
        })
    }
}

impl Node {
    fn child(&mut self, token: &[u8]) -> &mut Self {
        if subject::is_star(token) {
            return self.star.get_or_insert_default();
        }
        let place = match self
            .literals
            .binary_search_by(|(known, _)| (**known).cmp(token))
        {
            Ok(place) => place,
            Err(place) => {
                self.literals.insert(place, (token.into(), Self::default()));
                place
            }
        };
        #[expect(
            clippy::indexing_slicing,
            reason = "the place was found or filled just above"
        )]
        &mut self.literals[place].1
    }

    /// Walks all paths that hold for the tokens that are left; `None` means that none are.
    fn collect(&self, rest: Option<&[u8]>, queue: Option<&[u8]>, found: &mut Found) {
        let Some(rest) = rest else {
            return self.end.add(queue, found);
        };
        let (token, rest) = pattern::split_token(rest);
        if let Some(tail) = &self.tail {
            tail.add(queue, found);
        }
        if let Some(star) = &self.star {
            star.collect(rest, queue, found);
        }
        if let Ok(place) = self
            .literals
            .binary_search_by(|(known, _)| (**known).cmp(token))
            && let Some((_, child)) = self.literals.get(place)
        {
            child.collect(rest, queue, found);
        }
    }
}

impl End {
    fn add(&self, queue: Option<&[u8]>, found: &mut Found) {
        found.plain |= self.plain;
        found.any_queue |= !self.queues.is_empty();
        found.queue |=
            queue.is_some_and(|queue| self.queues.iter().any(|group| queue_matches(group, queue)));
    }
}

/// Whether a permission for the group `allowed` speaks of the group `queue`: by its very name, or as a pattern.
fn queue_matches(allowed: &[u8], queue: &[u8]) -> bool {
    allowed == queue || (subject::has_wildcard(allowed) && pattern::covers(allowed, queue))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(members: &[(&str, Option<&str>)]) -> FilterSet {
        let mut set = FilterSet::default();
        for (filter, queue) in members {
            set.insert(filter.as_bytes(), queue.map(str::as_bytes));
        }
        set
    }

    #[test]
    fn wildcards_of_the_subject_are_tokens() {
        let set = set(&[("foo.*", None), ("bar.>", None)]);
        for inside in [
            "foo.a", "foo.*", "foo.>", "bar.a", "bar.*", "bar.>", "bar.*.>",
        ] {
            assert!(set.find(inside.as_bytes(), None).plain, "{inside}");
        }
        for outside in [
            "foo", "foo.a.b", "bar", "*", ">", "*.*", "foo.", "foo..a", "",
        ] {
            assert!(!set.find(outside.as_bytes(), None).plain, "{outside}");
        }
    }

    #[test]
    fn queue_groups_match_by_name_or_pattern() {
        let set = set(&[
            ("foo", Some("v1")),
            ("foo", Some("w.*")),
            ("*", Some("x.>")),
        ]);
        let find = |queue: Option<&str>| set.find(b"foo", queue.map(str::as_bytes));
        assert_eq!(
            find(None),
            Found {
                plain: false,
                any_queue: true,
                queue: false
            }
        );
        for queue in ["v1", "w.1", "w.*", "x.1.2", "x.>"] {
            assert!(find(Some(queue)).queue, "{queue}");
        }
        for queue in ["v2", "w", "w.1.2", "w.>", "x"] {
            assert!(!find(Some(queue)).queue, "{queue}");
        }
        assert!(!set.find(b"bar", None).plain);
        assert!(set.find(b"bar", Some(b"x.1")).queue);
    }

    #[test]
    fn overlap_and_cover() {
        let set = set(&[("foo.*.c", None), ("bar", Some("v1"))]);
        assert!(set.overlaps(b"foo.b.>") && set.overlaps(b"*") && set.overlaps(b"foo.a.*"));
        assert!(!set.overlaps(b"foo.*") && !set.overlaps(b"foo.a.d"));
        assert!(set.covers(b"foo.b.c", None) && !set.covers(b"foo.>", None));
        assert!(set.covers(b"bar", Some(b"v1")));
        assert!(!set.covers(b"bar", Some(b"v2")) && !set.covers(b"bar", None));
    }

    fn any_filter() -> impl Strategy<Value = String> {
        let token = prop_oneof![Just("a"), Just("b"), Just("*"), Just("c*")];
        (prop::collection::vec(token, 1..4), any::<bool>()).prop_map(|(mut tokens, tail)| {
            if tail {
                tokens.pop();
                tokens.push(">");
            }
            tokens.join(".")
        })
    }

    fn any_member() -> impl Strategy<Value = (String, Option<String>)> {
        (any_filter(), prop::option::of(any_filter()))
    }

    proptest! {
        /// The trie against a walk over all members.
        #[test]
        fn the_trie_finds_what_a_list_finds(
            members in prop::collection::vec(any_member(), 0..8),
            subject in any_filter(),
            queue in prop::option::of(any_filter()),
        ) {
            let mut set = FilterSet::default();
            let mut expected = Found::default();
            for (filter, group) in &members {
                set.insert(filter.as_bytes(), group.as_deref().map(str::as_bytes));
                if !subject::matches(filter.as_bytes(), subject.as_bytes()) {
                    continue;
                }
                match (group, &queue) {
                    (None, _) => expected.plain = true,
                    (Some(group), queue) => {
                        expected.any_queue = true;
                        expected.queue |= queue.as_ref().is_some_and(|queue| {
                            queue_matches(group.as_bytes(), queue.as_bytes())
                        });
                    }
                }
            }
            let found = set.find(subject.as_bytes(), queue.as_deref().map(str::as_bytes));
            prop_assert_eq!(found, expected);
        }
    }
}

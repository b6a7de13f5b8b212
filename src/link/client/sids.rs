//! A connection's own subscriptions, by the names it gave them.
//!
//! Clients number their subscriptions, and nearly all count. As long as they do, a subscription's number
//! is its place in a row: a million of them are added without one look at far memory, which a hash
//! table of that size takes several times for each. Names that are no numbers, numbers out of turn and
//! those that outlive most of their neighbours are in a hash table.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::broker::closed::SubscriptionPortrait;
use crate::broker::subscription::Subscription;

/// A row shorter than this is kept however few of its subscriptions are left.
const SHORT_ROW: usize = 64;

/// A longer row is kept as long as one in so many is left.
const SPARSE: usize = 4;

/// Longest number that counts as one, in digits.
const MOST_DIGITS: usize = 18;

/// Subscriptions by sid.
#[derive(Debug, Default)]
pub(super) struct Sids {
    row: Row,
    table: HashTable<Arc<Subscription>>,
    hasher: RandomState,
}

/// Subscriptions whose sids are numbers that follow each other.
#[derive(Debug, Default)]
struct Row {
    /// The number of the first place.
    first: u64,
    places: VecDeque<Option<Arc<Subscription>>>,
    /// Places that are taken.
    taken: usize,
}

impl Sids {
    pub(super) fn get(&self, sid: &[u8]) -> Option<&Arc<Subscription>> {
        if let Some(place) = self.row.place(sid) {
            return self.row.places.get(place)?.as_ref();
        }
        if self.table.is_empty() {
            return None;
        }
        self.table
            .find(self.hasher.hash_one(sid), |found| found.sid() == sid)
    }

    /// Adds a subscription whose sid is not taken.
    pub(super) fn insert(&mut self, subscription: Arc<Subscription>) {
        if self.row.is_sparse() {
            self.give_up_row();
        }
        if let Err(subscription) = self.row.insert(subscription) {
            self.insert_in_table(subscription);
        }
    }

    fn insert_in_table(&mut self, subscription: Arc<Subscription>) {
        let hash = self.hasher.hash_one(subscription.sid());
        let hasher = &self.hasher;
        self.table
            .insert_unique(hash, subscription, |found| hasher.hash_one(found.sid()));
    }

    /// Too few of the row are left: they move to the table, and another row may begin.
    fn give_up_row(&mut self) {
        let row = std::mem::take(&mut self.row);
        for subscription in row.places.into_iter().flatten() {
            self.insert_in_table(subscription);
        }
    }

    pub(super) fn remove(&mut self, sid: &[u8]) -> Option<Arc<Subscription>> {
        if let Some(place) = self.row.place(sid) {
            return self.row.remove(place);
        }
        let hash = self.hasher.hash_one(sid);
        let entry = self
            .table
            .find_entry(hash, |found| found.sid() == sid)
            .ok()?;
        let (subscription, _) = entry.remove();
        self.shrink();
        Some(subscription)
    }

    /// The first `count` of them that have not ended and whose words take `bytes` together at most, as monitoring
    /// shows them.
    pub(super) fn portraits(&self, count: usize, bytes: usize) -> Box<[SubscriptionPortrait]> {
        let mut left = bytes;
        let mut fits = |found: &&Arc<Subscription>| {
            let words = [
                found.filter(),
                found.queue().unwrap_or_default(),
                found.sid(),
            ];
            let rest = left.checked_sub(words.iter().map(|word| word.len()).sum());
            left = rest.unwrap_or(left);
            rest.is_some()
        };
        let all = self.row.places.iter().flatten().chain(&self.table);
        all.filter(|found| !found.is_closed())
            .filter(|found| fits(found))
            .take(count)
            .map(|found| (&**found).into())
            .collect()
    }

    /// Those that have not ended, in the order of their names.
    pub(super) fn open(&self) -> Vec<Arc<Subscription>> {
        let all = self.row.places.iter().flatten().chain(&self.table);
        let open = all.filter(|found| !found.is_closed());
        let mut open: Vec<Arc<Subscription>> = open.map(Arc::clone).collect();
        open.sort_unstable_by(|one, other| one.sid().cmp(other.sid()));
        open
    }

    pub(super) fn len(&self) -> usize {
        self.row.taken + self.table.len()
    }

    /// Drops those that have ended by themselves; how many there were.
    pub(super) fn drop_closed(&mut self) -> usize {
        let before = self.len();
        self.row.drop_closed();
        self.table.retain(|subscription| !subscription.is_closed());
        self.shrink();
        before - self.len()
    }

    /// Takes up to `count` of them out.
    pub(super) fn take(&mut self, count: usize) -> Vec<Arc<Subscription>> {
        let mut taken = Vec::with_capacity(count.min(self.len()));
        while taken.len() < count
            && let Some(subscription) = self.row.take_first()
        {
            taken.push(subscription);
        }
        let left = count - taken.len();
        taken.extend(self.table.extract_if(|_| true).take(left));
        taken
    }

    fn shrink(&mut self) {
        let (length, capacity) = (self.table.len(), self.table.capacity());
        if capacity > 64 && length < capacity / 8 {
            let hasher = &self.hasher;
            self.table
                .shrink_to(length * 2, |found| hasher.hash_one(found.sid()));
        }
    }
}

impl Row {
    /// The place of the subscription with this name, if the row has one.
    fn place(&self, sid: &[u8]) -> Option<usize> {
        let place = number(sid)?.checked_sub(self.first)?;
        let place = usize::try_from(place).ok()?;
        (place < self.places.len()).then_some(place)
    }

    /// Puts a subscription at the end if its number is the next, or gives it back.
    fn insert(&mut self, subscription: Arc<Subscription>) -> Result<(), Arc<Subscription>> {
        let Some(number) = number(subscription.sid()) else {
            return Err(subscription);
        };
        if self.places.is_empty() {
            self.first = number;
        }
        let Some(place) = number.checked_sub(self.first) else {
            return Err(subscription);
        };
        if place == self.places.len() as u64 {
            self.places.push_back(Some(subscription));
        } else {
            let place = usize::try_from(place).ok();
            match place.and_then(|place| self.places.get_mut(place)) {
                Some(free) => *free = Some(subscription),
                None => return Err(subscription),
            }
        }
        self.taken += 1;
        Ok(())
    }

    fn is_sparse(&self) -> bool {
        self.places.len() > SHORT_ROW && self.taken < self.places.len() / SPARSE
    }

    fn remove(&mut self, place: usize) -> Option<Arc<Subscription>> {
        let removed = self.places.get_mut(place)?.take()?;
        self.taken -= 1;
        self.trim();
        Some(removed)
    }

    fn take_first(&mut self) -> Option<Arc<Subscription>> {
        self.trim();
        let first = self.places.pop_front()??;
        self.first += 1;
        self.taken -= 1;
        Some(first)
    }

    fn drop_closed(&mut self) {
        for place in &mut self.places {
            if place.as_ref().is_some_and(|found| found.is_closed()) {
                *place = None;
                self.taken -= 1;
            }
        }
        self.trim();
    }

    /// Forgets free places at the front, and gives memory back after many have gone. Those at the end
    /// stay, so that the next number is still the next.
    fn trim(&mut self) {
        while matches!(self.places.front(), Some(None)) {
            self.places.pop_front();
            self.first += 1;
        }
        if self.places.capacity() > SHORT_ROW && self.places.len() < self.places.capacity() / 8 {
            self.places.shrink_to(self.places.len() * 2);
        }
    }
}

/// The number that a name is, written as clients write numbers.
fn number(sid: &[u8]) -> Option<u64> {
    if sid.is_empty() || sid.len() > MOST_DIGITS || sid.first() == Some(&b'0') {
        return None;
    }
    sid.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then(|| number * 10 + u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::broker::peer::tests::peer;
    use crate::proto::op::Subscribe;

    fn subscription(sid: &str) -> Arc<Subscription> {
        let words = Subscribe {
            filter: b"a",
            queue: None,
            sid: sid.as_bytes(),
        };
        Arc::new(Subscription::new(&words, peer(1), None).unwrap())
    }

    #[test]
    fn names_are_numbers_only_as_clients_write_them() {
        assert_eq!(number(b"1"), Some(1));
        assert_eq!(number(b"999999999999999999"), Some(999_999_999_999_999_999));
        for other in ["", "0", "01", "1a", "-1", "1000000000000000000", "\u{661}"] {
            assert_eq!(number(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn numbers_in_turn_need_no_table() {
        let mut sids = Sids::default();
        for sid in 1..=1000 {
            sids.insert(subscription(&sid.to_string()));
        }
        assert!(sids.table.is_empty());
        // One stays, and the next thousand come and go.
        for sid in 2..=1000 {
            assert!(sids.remove(sid.to_string().as_bytes()).is_some());
        }
        for sid in 1001..=2000 {
            sids.insert(subscription(&sid.to_string()));
            assert!(sids.remove(sid.to_string().as_bytes()).is_some());
        }
        assert_eq!((sids.len(), sids.table.len()), (1, 1));
        assert!(sids.row.places.len() <= SHORT_ROW && sids.row.places.capacity() < 1000);
        assert!(sids.get(b"1").is_some() && sids.get(b"2000").is_none());
    }

    #[test]
    fn they_are_found_whatever_their_order() {
        for seed in 0..20_u64 {
            let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
            let mut draw = |below: u64| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random % below
            };
            let mut sids = Sids::default();
            let mut model = BTreeMap::new();
            let mut next = draw(3) * 50;
            for _ in 0..3000 {
                let sid = match draw(10) {
                    0 => format!("x{}", draw(20)),
                    1..4 => draw(next + 5).to_string(),
                    _ => {
                        next += 1;
                        next.to_string()
                    }
                };
                let known = sids.get(sid.as_bytes()).map(Arc::as_ptr);
                assert_eq!(known, model.get(&sid).map(Arc::as_ptr), "{sid}");
                if let Some(found) = model.get(&sid)
                    && draw(4) == 0
                {
                    found.peer().end_subscription(found);
                }
                if draw(20) == 0 {
                    model.retain(|_, found: &mut Arc<Subscription>| !found.is_closed());
                    sids.drop_closed();
                } else if known.is_none() && draw(5) > 0 {
                    let new = subscription(&sid);
                    sids.insert(Arc::clone(&new));
                    model.insert(sid, new);
                } else {
                    let removed = sids.remove(sid.as_bytes());
                    assert_eq!(removed.is_some(), model.remove(&sid).is_some());
                }
                assert_eq!(sids.len(), model.len());
                if draw(100) == 0 {
                    let taken = sids.take(usize::try_from(draw(10)).unwrap());
                    for subscription in taken {
                        let sid = String::from_utf8(subscription.sid().to_vec()).unwrap();
                        assert!(model.remove(&sid).is_some(), "{sid}");
                    }
                }
            }
            assert_eq!(sids.take(usize::MAX).len(), model.len());
        }
    }
}

//! Password checks: few at a time, and in turn by where they come from.
//!
//! bcrypt takes a processor for tens of milliseconds by design, and whoever reaches the server can ask for it. So
//! few checks run at once, few connections wait for one, none of them longer than it may take to log in, and whoever
//! asks for very many delays only those who come from the same place.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::auth::{Login, PasswordCheck, Rejection};
use crate::broker::addresses::network;
use crate::broker::peer::Facts;

/// Passwords that are checked at the same time.
const AT_ONCE: usize = 2;

/// Connections from one place whose passwords are checked or wait for it: more than can be served before they are
/// late, unless bcrypt's cost is very low.
const OF_ONE_PLACE: usize = 256;

/// The same from everywhere.
const IN_ALL: usize = 4096;

/// Where a connection comes from, as far as it tells who may be behind it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Place {
    /// An address, or all those of an IPv6 network of 64 bits.
    Network(IpAddr),
    /// A user of the machine; `None` if nothing is known.
    User(Option<u32>),
}

impl Place {
    fn of(facts: &Facts) -> Self {
        match facts.ip.parse() {
            Ok(address) => Self::Network(network(address)),
            Err(_) => Self::User(facts.unix_user),
        }
    }
}

/// What a check told; nothing if it could not be made in time.
pub(super) type Checked = Option<Result<Login, Rejection>>;

/// The password checks of a server.
#[derive(Debug)]
pub struct PasswordChecks {
    running: Arc<Semaphore>,
    lines: Mutex<Lines>,
    of_one_place: usize,
    in_all: usize,
}

/// Who waits.
#[derive(Debug, Default)]
struct Lines {
    by_place: HashMap<Place, Line>,
    length: usize,
    /// Whether somebody was turned away since nobody waited.
    overran: bool,
}

/// Connections from one place.
#[derive(Debug)]
struct Line {
    /// A permit for each that competes with other places.
    front: Arc<Semaphore>,
    length: usize,
}

impl Default for PasswordChecks {
    fn default() -> Self {
        Self::with_limits(OF_ONE_PLACE, IN_ALL)
    }
}

impl PasswordChecks {
    fn with_limits(of_one_place: usize, in_all: usize) -> Self {
        Self {
            running: Arc::new(Semaphore::new(AT_ONCE)),
            lines: Mutex::default(),
            of_one_place,
            in_all,
        }
    }

    /// Makes a check for a connection once it is its turn; `None` if that is not before `until`, or if too many
    /// wait already. A check that has begun is finished, however late it is, and even if the future is dropped.
    pub(super) async fn run(
        self: Arc<Self>,
        facts: &Facts,
        check: PasswordCheck,
        until: Option<Instant>,
    ) -> Checked {
        let (waiting, front) = self.enter(Place::of(facts))?;
        let running = Arc::clone(&self.running);
        let turn = async {
            // Only the first ones of each place stand in the common line, which is served in order.
            let front = front.acquire_owned().await;
            (front, running.acquire_owned().await)
        };
        let permits = match until {
            Some(until) => timeout_at(until, turn).await.ok()?,
            None => turn.await,
        };
        let checked = tokio::task::spawn_blocking(move || {
            let outcome = check.run(Instant::now().into_std());
            drop((permits, waiting));
            outcome
        });
        Some(checked.await.unwrap_or(Err(Rejection::WrongPassword)))
    }

    /// A place in the line of those who come from the same place.
    fn enter(self: &Arc<Self>, place: Place) -> Option<(Waiting, Arc<Semaphore>)> {
        let mut guard = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = &mut *guard;
        let line = lines.by_place.entry(place.clone()).or_insert_with(|| Line {
            front: Arc::new(Semaphore::new(AT_ONCE)),
            length: 0,
        });
        // A line that is new is not left empty: with others there are too many of them.
        if line.length >= self.of_one_place || lines.length >= self.in_all {
            if line.length == 0 {
                lines.by_place.remove(&place);
            }
            let first = !std::mem::replace(&mut lines.overran, true);
            drop(guard);
            if first {
                tracing::warn!(
                    "Too many logins wait for the check of a bcrypt password, turning some away: \
                     said once until none waits"
                );
            }
            return None;
        }
        line.length += 1;
        lines.length += 1;
        let front = Arc::clone(&line.front);
        let checks = Arc::clone(self);
        Some((Waiting { checks, place }, front))
    }
}

/// One connection in a line; leaves it when dropped.
struct Waiting {
    checks: Arc<PasswordChecks>,
    place: Place,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let lines = self.checks.lines.lock();
        let mut lines = lines.unwrap_or_else(PoisonError::into_inner);
        lines.length -= 1;
        if lines.length == 0 {
            lines.overran = false;
        }
        if let Some(line) = lines.by_place.get_mut(&self.place) {
            line.length -= 1;
            if line.length == 0 {
                lines.by_place.remove(&self.place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Place {
        Place::Network(network(text.parse().unwrap()))
    }

    fn enter(checks: &Arc<PasswordChecks>, text: &str) -> Option<Waiting> {
        let (waiting, _front) = checks.enter(place(text))?;
        Some(waiting)
    }

    fn overran(checks: &PasswordChecks) -> bool {
        checks.lines.lock().unwrap().overran
    }

    #[test]
    fn lines_are_bounded_by_place_and_in_all() {
        let checks = Arc::new(PasswordChecks::with_limits(2, 3));
        let first = enter(&checks, "192.0.2.1").unwrap();
        let second = enter(&checks, "192.0.2.1").unwrap();
        assert!(!overran(&checks));
        assert!(enter(&checks, "192.0.2.1").is_none() && overran(&checks));
        let third = enter(&checks, "2001:db8::1").unwrap();
        assert!(enter(&checks, "192.0.2.3").is_none(), "too many in all");
        drop(first);
        let fourth = enter(&checks, "2001:db8::2").unwrap();
        drop((second, fourth));
        assert!(overran(&checks), "one still waits");
        drop(third);
        assert!(!overran(&checks));
        assert!(checks.lines.lock().unwrap().by_place.is_empty());
    }

    #[test]
    fn an_ipv6_network_is_one_place() {
        let checks = Arc::new(PasswordChecks::with_limits(1, 9));
        let _first = enter(&checks, "2001:db8::1").unwrap();
        assert!(enter(&checks, "2001:db8::ffff:2").is_none());
        assert!(enter(&checks, "2001:db8:0:1::1").is_some());
    }
}

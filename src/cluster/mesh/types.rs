//! What the mesh is made of, and what it asks for.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::broker::close::CloseReason;
use crate::broker::routes::Share;
use crate::proto::route_info::{GossipMode, RouteConnect, RouteInfo};

/// Number of a connection to another server.
pub type LinkId = u64;
/// Number of a server that is wanted.
pub type GoalId = u64;

/// What a server is in its cluster.
#[derive(Debug, Clone)]
pub struct MeshConfig {
    /// The server's identity.
    pub server_id: String,
    /// Name of the cluster.
    pub cluster: String,
    /// Whether that name was made up, and gives way to others.
    pub cluster_dynamic: bool,
    /// Connections to each other server; `None` for one without a pool.
    pub pool_size: Option<u32>,
    /// Accounts that have a connection of their own.
    pub accounts: Vec<String>,
    /// Servers to dial.
    pub routes: Vec<Target>,
    /// Further attempts to dial a server that was never reached and only told about.
    pub connect_retries: u32,
    /// Wait longer after each failed attempt.
    pub connect_backoff: bool,
    /// What is the same in each INFO.
    pub info: RouteInfo,
    /// Where random delays begin.
    pub seed: u64,
}

/// Where a server listens for others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Host name or address; IPv6 without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// A server to dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where.
    pub endpoint: Endpoint,
    /// Whether it is configured, and not only told about.
    pub explicit: bool,
    /// Whether credentials are asked for that the target itself does not name.
    pub auth_required: bool,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Dial a server, for the link of an account if there is one; answered by [`super::Mesh::dialed`],
    /// [`super::Mesh::dial_failed`] or [`super::Mesh::dialed_self`].
    Dial(GoalId, Target, Option<String>),
    /// Send CONNECT, with credentials if there are some.
    SendConnect(LinkId, Box<RouteConnect>),
    /// Send INFO.
    SendInfo(LinkId, Box<RouteInfo>),
    /// The link is part of the cluster: send interest over it.
    Attach(LinkId, Share),
    /// Send PING, to learn whether the other server has taken the link.
    Ping(LinkId),
    /// The other server's permissions may have changed.
    Permissions(LinkId, Box<RouteInfo>),
    /// End a link, after sending an error text if there is one.
    Close(LinkId, CloseReason, Option<String>),
    /// Clients can also connect to these servers.
    ConnectUrls(Vec<String>),
    /// The cluster is called that, and whether the name is made up.
    ClusterNamed(String, bool),
}

/// What a link is to its remote server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A connection of the pool.
    Slot(usize),
    /// The connection of an account.
    Account(String),
}

/// One connection.
#[derive(Debug)]
pub(super) struct Link {
    /// What it was dialed for; `None` if the other server dialed.
    pub(super) goal: Option<GoalId>,
    /// The other end's IP address.
    pub(super) address: String,
    pub(super) explicit: bool,
    pub(super) gossip: GossipMode,
    /// The account that it was dialed for.
    pub(super) account: Option<String>,
    pub(super) info: Option<RouteInfo>,
    pub(super) place: Option<Place>,
    /// The place it waits for because another link has it.
    pub(super) waits_for: Option<Place>,
    pub(super) seated_at: Duration,
    /// The other server is known to have taken it.
    pub(super) confirmed: bool,
    pub(super) closing: bool,
}

impl Link {
    pub(super) fn new(goal: Option<GoalId>, address: &str) -> Self {
        Self {
            goal,
            address: address.to_owned(),
            explicit: false,
            gossip: GossipMode::Default,
            account: None,
            info: None,
            place: None,
            waits_for: None,
            seated_at: Duration::ZERO,
            confirmed: false,
            closing: false,
        }
    }
}

/// Another server with which there are links.
#[derive(Debug)]
pub(super) struct Remote {
    /// As it told about itself, with the URL at which it can be reached.
    pub(super) info: RouteInfo,
    /// Whether there is a pool; otherwise there is one slot.
    pub(super) pool: bool,
    pub(super) slots: Vec<Option<LinkId>>,
    pub(super) accounts: BTreeMap<String, LinkId>,
    pub(super) connect_urls: Vec<String>,
    /// When a link got a place last.
    pub(super) seated_at: Duration,
}

impl Remote {
    pub(super) fn links(&self) -> impl Iterator<Item = LinkId> {
        let slots = self.slots.iter().filter_map(|slot| *slot);
        slots.chain(self.accounts.values().copied())
    }

    pub(super) fn at(&self, place: &Place) -> Option<LinkId> {
        match place {
            Place::Slot(index) => *self.slots.get(*index)?,
            Place::Account(account) => self.accounts.get(account).copied(),
        }
    }

    pub(super) fn set(&mut self, place: &Place, link: Option<LinkId>) {
        match (place, link) {
            (Place::Slot(index), link) => {
                if let Some(slot) = self.slots.get_mut(*index) {
                    *slot = link;
                }
            }
            (Place::Account(account), Some(link)) => {
                self.accounts.insert(account.clone(), link);
            }
            (Place::Account(account), None) => {
                self.accounts.remove(account);
            }
        }
    }
}

/// How far a goal has come.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum GoalState {
    /// Nothing is under way.
    #[default]
    Idle,
    /// A connection is being made, for this account if any.
    Dialing(Option<String>),
    /// A connection was made and has not got its place, or the other server has not confirmed it.
    Greeting(LinkId),
}

/// A server that this one wants to be linked with.
#[derive(Debug)]
pub(super) struct Goal {
    pub(super) target: Target,
    pub(super) gossip: GossipMode,
    pub(super) state: GoalState,
    /// Attempts in a row that led to nothing, and when the first of them was.
    pub(super) failed: u32,
    pub(super) failing_since: Option<Duration>,
    /// Not before this time.
    pub(super) next: Duration,
    /// The server that was found there last.
    pub(super) remote: Option<String>,
    /// Whether there ever was a link.
    pub(super) reached: bool,
    /// Accounts whose connections the other server has ended at once: how often, and until when not to
    /// try again.
    pub(super) refused: BTreeMap<String, (u32, Duration)>,
}

impl Goal {
    pub(super) fn new(target: Target, now: Duration) -> Self {
        Self {
            target,
            gossip: GossipMode::Default,
            state: GoalState::Idle,
            failed: 0,
            failing_since: None,
            next: now,
            remote: None,
            reached: false,
            refused: BTreeMap::new(),
        }
    }

    /// The other server has taken a link.
    pub(super) fn succeeded(&mut self) {
        self.failed = 0;
        self.failing_since = None;
        self.reached = true;
        self.state = GoalState::Idle;
    }
}

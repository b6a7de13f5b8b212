//! The state of a server among the others of its cluster: whom to dial, whom to accept, what to tell.
//!
//! It is a pure machine. Inputs say what happened and when, as the time since any fixed moment; what is
//! to be done comes out of [`Mesh::take_actions`]. It reads no clock and owns no socket, so that whole
//! clusters run in one thread under a simulated network (`tests/cluster`).
//!
//! A *link* is one connection. It becomes part of the cluster when its first INFO gives it a *place*
//! with its remote server: one slot of the pool, or an account that has a connection of its own. A
//! *goal* is a server that this one wants to be linked with: configured, or told about by others.

mod goals;
mod gossip;
mod places;
mod types;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::broker::close::CloseReason;
use crate::broker::routes::Share;
use crate::proto::route_info::{GossipMode, RouteConnect, RouteInfo};
pub use types::{Action, Endpoint, GoalId, LinkId, MeshConfig, Target};
use types::{Goal, GoalState, Link, Remote};

/// After a dialed link was lost, or refused for the first time, it is dialed again this soon.
const FIRST_DELAY: Duration = Duration::from_millis(50);
/// Pause between further attempts, before random and back-off.
const NEXT_DELAY: Duration = Duration::from_secs(1);
/// Longest pause between attempts.
const LONGEST_DELAY: Duration = Duration::from_secs(30);
/// A random part of a delay, so that two servers that dial each other do not do it in step.
const SPREAD: Duration = Duration::from_millis(100);
/// How long a server that others told about is dialed in vain before it is forgotten, once there was a
/// link with it.
const FORGET_AFTER: Duration = Duration::from_secs(300);
/// After so many refusals of an account's link it is believed that the account has none over there.
const REFUSALS: u32 = 3;
/// How long the other side may take to complete the links that it has begun with.
const FILL_PATIENCE: Duration = Duration::from_secs(3);
/// Two servers that dial each other at the same time do so within this.
const CROSSING: Duration = Duration::from_secs(2);
/// Pause after which all others are told about one more server, lest news was lost.
const RETELL: Duration = Duration::from_secs(5);

/// A server's view of its cluster.
#[derive(Debug)]
pub struct Mesh {
    config: MeshConfig,
    cluster: String,
    dynamic: bool,
    links: BTreeMap<LinkId, Link>,
    remotes: BTreeMap<String, Remote>,
    goals: BTreeMap<GoalId, Goal>,
    next_goal: GoalId,
    retell_at: Duration,
    /// The server that all others were told about last.
    retold: String,
    random: u64,
    stopped: bool,
    /// What clients were told last.
    told_clients: BTreeSet<String>,
    actions: Vec<Action>,
}

impl Mesh {
    /// A server without any link that wants to be linked with those configured.
    #[must_use]
    pub fn new(config: MeshConfig, now: Duration) -> Self {
        let mut mesh = Self {
            cluster: config.cluster.clone(),
            dynamic: config.cluster_dynamic,
            links: BTreeMap::new(),
            remotes: BTreeMap::new(),
            goals: BTreeMap::new(),
            next_goal: 0,
            retell_at: now + RETELL,
            retold: String::new(),
            random: config.seed | 1,
            stopped: false,
            told_clients: BTreeSet::new(),
            actions: Vec::new(),
            config,
        };
        for target in mesh.config.routes.clone() {
            mesh.add_goal(Goal::new(target, now));
        }
        mesh
    }

    /// What the inputs so far ask for, in the order in which it must be done.
    pub fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// The name of the cluster, and whether it was made up.
    #[must_use]
    pub fn cluster(&self) -> (&str, bool) {
        (&self.cluster, self.dynamic)
    }

    /// The servers with which there are links now.
    pub fn remotes(&self) -> impl Iterator<Item = &str> {
        self.remotes.keys().map(String::as_str)
    }

    /// Whether all places with a server are taken.
    #[must_use]
    pub fn is_complete(&self, remote: &str) -> bool {
        self.remotes
            .get(remote)
            .is_some_and(|remote| remote.slots.iter().all(Option::is_some))
    }

    /// The server that a link leads to, once it has a place.
    #[must_use]
    pub fn remote_of(&self, link: LinkId) -> Option<&RouteInfo> {
        let link = self.links.get(&link)?;
        link.place.as_ref().and(link.info.as_ref())
    }

    /// Whether a link was dialed because the configuration says so.
    #[must_use]
    pub fn is_explicit(&self, link: LinkId) -> bool {
        self.links.get(&link).is_some_and(|link| link.explicit)
    }

    /// One link to each other server, and what to tell over it when this server is about to end.
    #[must_use]
    pub fn farewells(&self) -> Vec<(LinkId, RouteInfo)> {
        let links = self
            .remotes
            .values()
            .filter_map(|remote| remote.links().next());
        let own = self.own_info(None, 0, GossipMode::Default);
        links.map(|link| (link, own.clone())).collect()
    }

    /// What the other server of a link is told before the link has a place.
    #[must_use]
    pub fn first_info(&self, link: LinkId) -> RouteInfo {
        let account = self
            .links
            .get(&link)
            .and_then(|link| link.account.as_deref());
        self.own_info(account, 0, GossipMode::Default)
    }

    /// When [`Self::tick`] has to be called at the latest.
    #[must_use]
    pub fn next_tick(&self) -> Duration {
        let dials = self
            .goals
            .values()
            .filter(|goal| goal.state == GoalState::Idle);
        let wanted = dials
            .filter(|goal| self.may_want(goal))
            .map(|goal| goal.next);
        wanted.fold(self.retell_at, Duration::min)
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Duration) {
        if self.stopped {
            return;
        }
        if now >= self.retell_at {
            self.retell_at = now + RETELL;
            self.retell();
        }
        self.pursue_goals(now);
    }

    /// No more links are wanted.
    pub fn stop(&mut self) {
        self.stopped = true;
        self.goals.clear();
    }

    /// Other servers are configured to be dialed, from now on.
    pub fn replace_routes(&mut self, routes: Vec<Target>, now: Duration) {
        self.goals
            .retain(|_, goal| !goal.target.explicit || routes.contains(&goal.target));
        for target in &routes {
            if !self.goals.values().any(|goal| goal.target == *target) {
                self.add_goal(Goal::new(target.clone(), now));
            }
        }
        self.config.routes = routes;
        self.pursue_goals(now);
    }

    /// The server is something else in its cluster from now on, but for its identity and the cluster's name. Links that
    /// are there stay as they are; those dialed for servers that are not configured any more are the result.
    pub fn reconfigure(&mut self, config: MeshConfig, now: Duration) -> Vec<LinkId> {
        let routes = config.routes.clone();
        self.config = config;
        self.replace_routes(routes, now);
        let dropped = |link: &Link| {
            link.goal
                .is_some_and(|goal| !self.goals.contains_key(&goal))
        };
        let links = self.links.iter();
        let gone = links.filter(|(_, link)| dropped(link) && !link.closing);
        gone.map(|(id, _)| *id).collect()
    }

    /// Another server has connected; `address` is where from.
    pub fn accepted(&mut self, link: LinkId, address: &str) {
        self.links.insert(link, Link::new(None, address));
        let info = self.own_info(None, 0, GossipMode::Default);
        self.act(Action::SendInfo(link, Box::new(info)));
    }

    /// A dial has succeeded: `link` is the connection.
    pub fn dialed(&mut self, goal: GoalId, link: LinkId, address: &str) {
        let Some(found) = self.goals.get_mut(&goal) else {
            self.links.insert(link, Link::new(None, address));
            return self.close(link, CloseReason::DuplicateRoute, None);
        };
        let mut made = Link::new(Some(goal), address);
        if let GoalState::Dialing(account) = std::mem::take(&mut found.state) {
            made.account = account;
        }
        made.explicit = found.target.explicit;
        made.gossip = found.gossip;
        found.state = GoalState::Greeting(link);
        self.links.insert(link, made);
        let connect = self.own_connect();
        self.act(Action::SendConnect(link, Box::new(connect)));
    }

    /// A dial has failed.
    pub fn dial_failed(&mut self, goal: GoalId, now: Duration) {
        self.attempt_failed(goal, now);
        self.pursue_goals(now);
    }

    /// All addresses of a name that was to be dialed are this server's own. Others may come.
    pub fn dialed_self(&mut self, goal: GoalId, now: Duration) {
        let pause = self.spread(LONGEST_DELAY);
        if let Some(goal) = self.goals.get_mut(&goal) {
            goal.state = GoalState::Idle;
            goal.next = now + pause;
        }
    }

    /// The CONNECT of a server that has connected, whose credentials were right.
    pub fn connect_received(&mut self, link: LinkId, connect: &RouteConnect) {
        if !connect.gateway.is_empty() {
            let text = format!(
                "Rejecting connection from gateway {:?} on the Route port",
                connect.gateway
            );
            return self.close(link, CloseReason::WrongGateway, Some(text));
        }
        if connect.cluster != self.cluster
            && !self.adopts(&connect.cluster, connect.cluster_dynamic, &connect.name)
        {
            let text = format!(
                "Rejecting connection, cluster name {:?} does not match {:?}",
                connect.cluster, self.cluster
            );
            self.close(link, CloseReason::ClusterNameConflict, Some(text));
        }
    }

    /// The other server of a link has told about itself, or about a third.
    pub fn info_received(&mut self, link: LinkId, info: RouteInfo, now: Duration) {
        let Some(known) = self.links.get(&link) else {
            return;
        };
        if known.closing || self.stopped {
            return;
        }
        match &known.info {
            Some(own) if own.server_id == info.server_id => self.updated(link, &info),
            Some(_) => self.told_of(&info, now),
            None => self.introduce(link, info, now),
        }
        self.pursue_goals(now);
    }

    /// The other server has answered a ping.
    pub fn ponged(&mut self, link: LinkId, now: Duration) {
        let Some(known) = self.links.get_mut(&link) else {
            return;
        };
        known.confirmed = true;
        let (goal, account) = (known.goal, known.account.clone());
        if known.place.is_none() && known.info.is_some() {
            // Two links for the same place: the other server keeps the one that answers.
            self.prefer_waiting(link, now);
        } else {
            self.drop_rivals(link);
        }
        if let Some(goal) = goal.and_then(|goal| self.goals.get_mut(&goal)) {
            goal.succeeded();
            account.and_then(|account| goal.refused.remove(&account));
        }
        self.pursue_goals(now);
    }

    /// A link has ended.
    pub fn closed(&mut self, link: LinkId, now: Duration) {
        let Some(gone) = self.links.remove(&link) else {
            return;
        };
        if let (Some(place), Some(info)) = (&gone.place, &gone.info) {
            let (place, remote) = (place.clone(), info.server_id.clone());
            self.vacate(&remote, &place, link, now);
        }
        if let Some(goal) = gone.goal {
            self.link_of_goal_closed(goal, &gone, link, now);
        }
        self.pursue_goals(now);
    }

    /// The first INFO of a link.
    fn introduce(&mut self, link: LinkId, info: RouteInfo, now: Duration) {
        if info.server_id == self.config.server_id {
            return self.close(link, CloseReason::DuplicateRoute, None);
        }
        if !info.cluster.is_empty()
            && info.cluster != self.cluster
            && !self.adopts(&info.cluster, info.cluster_dynamic, &info.server_id)
        {
            return self.close(link, CloseReason::ClusterNameConflict, None);
        }
        let Some(known) = self.links.get_mut(&link) else {
            return;
        };
        if known.goal.is_none() && info.server_name == self.config.info.server_name {
            return self.close(link, CloseReason::DuplicateServerName, None);
        }
        if let Some(goal) = known.goal.and_then(|goal| self.goals.get_mut(&goal)) {
            goal.remote = Some(info.server_id.clone());
        }
        known.info = Some(info);
        self.seat(link, now);
    }

    /// A made-up cluster name gives way to a configured one, and to a greater made-up one.
    fn adopts(&mut self, name: &str, dynamic: bool, from: &str) -> bool {
        if !self.dynamic || (dynamic && *self.cluster >= *name) {
            return false;
        }
        name.clone_into(&mut self.cluster);
        self.dynamic = dynamic;
        self.act(Action::ClusterNamed(name.to_owned(), dynamic));
        let others = self.links.iter().filter(|(_, link)| {
            let remote = link.info.as_ref().map(|info| &*info.server_id);
            link.place.is_some() && remote != Some(from)
        });
        let others: Vec<LinkId> = others.map(|(id, _)| *id).collect();
        for other in others {
            self.close(other, CloseReason::ClusterNameConflict, None);
        }
        true
    }

    /// The other server tells again about itself: it is about to end.
    fn updated(&mut self, link: LinkId, info: &RouteInfo) {
        let remote = self.remotes.get_mut(&info.server_id);
        if info.ldm
            && let Some(remote) = remote
        {
            remote.connect_urls.clear();
            self.tell_clients();
        } else if !info.ldm {
            self.act(Action::Permissions(link, Box::new(info.clone())));
        }
    }

    /// Clients learn where else they can connect, if that has changed.
    fn tell_clients(&mut self) {
        let urls = self
            .remotes
            .values()
            .flat_map(|remote| &remote.connect_urls);
        let urls: BTreeSet<String> = urls.cloned().collect();
        if urls != self.told_clients {
            self.act(Action::ConnectUrls(urls.iter().cloned().collect()));
            self.told_clients = urls;
        }
    }

    /// Ends a link, and gives its place up at once.
    fn close(&mut self, link: LinkId, reason: CloseReason, text: Option<String>) {
        let Some(known) = self.links.get_mut(&link) else {
            return;
        };
        if !std::mem::replace(&mut known.closing, true) {
            self.act(Action::Close(link, reason, text));
        }
    }

    fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    fn own_info(&self, account: Option<&str>, index: usize, gossip_mode: GossipMode) -> RouteInfo {
        RouteInfo {
            cluster: self.cluster.clone(),
            cluster_dynamic: self.dynamic,
            route_account: account.unwrap_or_default().to_owned(),
            route_pool_size: self.config.pool_size.map_or(0, i64::from),
            route_pool_idx: i64::try_from(index).unwrap_or(0),
            gossip_mode,
            ..self.config.info.clone()
        }
    }

    fn own_connect(&self) -> RouteConnect {
        RouteConnect {
            echo: true,
            headers: self.config.info.headers,
            tls_required: self.config.info.tls_required,
            name: self.config.server_id.clone(),
            cluster: self.cluster.clone(),
            cluster_dynamic: self.dynamic,
            lnoc: true,
            lnocu: true,
            ..RouteConnect::default()
        }
    }

    /// A random part of [`SPREAD`] more than `delay`.
    fn spread(&mut self, delay: Duration) -> Duration {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let drawn = self.random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 54;
        delay + SPREAD * u32::try_from(drawn).unwrap_or(0) / 1024
    }
}

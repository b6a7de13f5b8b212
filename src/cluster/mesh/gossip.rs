//! What servers tell each other about third ones.

use std::time::Duration;

use super::types::{Goal, Place};
use super::{Action, Endpoint, LinkId, Mesh, Target};
use crate::proto::route_info::{GossipMode, ROUTE_SCHEME, RouteInfo};

/// Most places to dial: whoever is told of more by gossip does not believe it.
const MAX_GOALS: usize = 1024;

impl Mesh {
    /// A new server is linked: tells all others, unless that is for somebody else to do.
    pub(super) fn tell_others(&mut self, link: LinkId, info: &RouteInfo) {
        let Some(known) = self.links.get(&link) else {
            return;
        };
        let (dialed, explicit) = (known.goal.is_some(), known.explicit);
        let was_told = dialed && !explicit;
        if (was_told && known.gossip != GossipMode::Override)
            || info.gossip_mode == GossipMode::Disabled
        {
            return;
        }
        let Some(remote) = self.remotes.get(&info.server_id) else {
            return;
        };
        let mut news = remote.info.clone();
        if let Some(Place::Account(account)) = &known.place {
            news.route_account.clone_from(account);
        }
        for (other, to) in self.others(&info.server_id, &news.route_account) {
            let configured = self.links.get(&to).is_some_and(|link| link.explicit);
            let mode = if (!dialed && configured) || (dialed && explicit) {
                GossipMode::Override
            } else if !dialed {
                GossipMode::Disabled
            } else {
                GossipMode::Default
            };
            debug_assert_ne!(other, info.server_id, "nobody is told about itself");
            self.tell(to, &news, mode);
        }
    }

    /// Tells all others about one more server than were told before. Links that could not be made when
    /// there was news of a server, or were lost since, are made then.
    pub(super) fn retell(&mut self) {
        let after = self.remotes.keys().find(|id| **id > self.retold);
        let Some(id) = after.or_else(|| self.remotes.keys().next()).cloned() else {
            return;
        };
        let Some(news) = self.remotes.get(&id).map(|remote| remote.info.clone()) else {
            return;
        };
        for (_, to) in self.others(&id, "") {
            self.tell(to, &news, GossipMode::Disabled);
        }
        self.retold = id;
    }

    /// One link to each server but `not`: the account's own where there is one.
    fn others(&self, not: &str, account: &str) -> Vec<(String, LinkId)> {
        let others = self.remotes.iter().filter(|(id, remote)| {
            // A server without a pool has no links for accounts.
            *id != not && (account.is_empty() || remote.pool)
        });
        let links = others.filter_map(|(id, remote)| {
            let own = remote.accounts.get(account).copied();
            Some((id.clone(), own.or_else(|| remote.links().next())?))
        });
        links.collect()
    }

    fn tell(&mut self, to: LinkId, news: &RouteInfo, gossip_mode: GossipMode) {
        let mut news = news.clone();
        news.gossip_mode = gossip_mode;
        self.act(Action::SendInfo(to, Box::new(news)));
    }

    /// Another server tells about a third one.
    pub(super) fn told_of(&mut self, info: &RouteInfo, now: Duration) {
        let known = self.remotes.contains_key(&info.server_id);
        if info.server_id == self.config.server_id || known || self.is_configured(info) {
            return;
        }
        let Some(endpoint) = endpoint_of(&info.ip) else {
            return;
        };
        let mut goals = self.goals.values_mut();
        let same = goals.find(|goal| {
            goal.target.endpoint == endpoint || goal.remote.as_ref() == Some(&info.server_id)
        });
        if let Some(goal) = same {
            // It is there, says somebody who has a link with it: worth another attempt soon.
            if !goal.target.explicit {
                goal.failed = goal.failed.min(1);
                goal.failing_since = None;
                goal.next = goal.next.min(now);
            }
            return;
        }
        if self.goals.len() >= MAX_GOALS {
            return;
        }
        let target = Target {
            endpoint,
            explicit: false,
            auth_required: info.auth_required,
        };
        let mut goal = Goal::new(target, now);
        goal.gossip = info.gossip_mode;
        self.add_goal(goal);
    }

    /// Whether a server is one of those configured, by its host and port.
    fn is_configured(&self, info: &RouteInfo) -> bool {
        let reached = endpoint_of(&info.ip);
        let is = |host: &str, configured: &Endpoint| {
            configured.port == info.port && configured.host.eq_ignore_ascii_case(host)
        };
        self.config.routes.iter().any(|target| {
            is(&info.host, &target.endpoint)
                || reached
                    .as_ref()
                    .is_some_and(|reached| is(&reached.host, &target.endpoint))
        })
    }
}

/// Host and port of a URL by which servers tell about others.
fn endpoint_of(url: &str) -> Option<Endpoint> {
    let rest = url.strip_prefix(ROUTE_SCHEME).or_else(|| {
        let (_, rest) = url.split_once("://")?;
        Some(rest)
    })?;
    let authority = rest.split('/').next()?;
    let address = authority.rsplit('@').next()?;
    let (host, port) = address.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() || host.contains(char::is_whitespace) {
        return None;
    }
    Some(Endpoint {
        host: host.to_owned(),
        port: port.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let endpoint = |host: &str, port| {
            Some(Endpoint {
                host: host.to_owned(),
                port,
            })
        };
        assert_eq!(
            endpoint_of("nats-route://10.0.0.1:6222/"),
            endpoint("10.0.0.1", 6222)
        );
        assert_eq!(endpoint_of("nats-route://[::1]:1/"), endpoint("::1", 1));
        assert_eq!(endpoint_of("tls://u:p@host:7"), endpoint("host", 7));
        for bad in [
            "",
            "nats-route://",
            "nats-route://a",
            "nats-route://a:x/",
            "nats-route://:1",
        ] {
            assert_eq!(endpoint_of(bad), None, "{bad}");
        }
    }
}

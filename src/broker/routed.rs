//! Messages to and from the other servers of the cluster.
//!
//! A server gets a message once, however many of its wishes match; it delivers to its own clients and
//! passes nothing on. Of a queue group one member is drawn among all servers, by the numbers of members
//! that they told; where it is another server's, the message names the group.

use std::sync::Arc;

use super::account::Account;
use super::deliver::{Deliveries, Matches, Member, Publication, Shipment};
use super::peer::{Parcel, Peer};
use super::run::Run;
use super::subscription::Subscription;
use crate::proto::display;
use crate::proto::encode;
use crate::proto::route::push_message_line;
use crate::routing::groups::{QueueGroup, SubscriberSet};

/// The other servers that one message goes to.
#[derive(Debug, Default)]
pub(super) struct RouteTargets {
    /// Those of this message are the first `count`; the others wait to be used again.
    list: Vec<RouteTarget>,
    count: usize,
    line: Vec<u8>,
}

#[derive(Debug)]
struct RouteTarget {
    peer: Arc<Peer>,
    /// Queue groups of which it shall pick a member, each name followed by a blank.
    queues: Vec<u8>,
}

impl RouteTargets {
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds the server of `subscription` for a message of the connection number `publisher`, and the
    /// subscription's queue group if it has one. False if the message has no way there now.
    pub(super) fn add(&mut self, subscription: &Subscription, publisher: u64) -> bool {
        let (mut peer, queue) = (subscription.peer(), subscription.queue());
        let lane;
        if let Some(lanes) = peer.lanes() {
            lane = lanes.lane_of(publisher);
            let Some(lane) = &lane else {
                return false;
            };
            peer = lane;
        }
        let used = self.list.get(..self.count).unwrap_or_default();
        let at = used
            .iter()
            .position(|target| Arc::ptr_eq(&target.peer, peer))
            .unwrap_or(self.count);
        if at == self.count {
            self.count += 1;
            if let Some(target) = self.list.get_mut(at) {
                target.peer = Arc::clone(peer);
                target.queues.clear();
            } else {
                self.list.push(RouteTarget {
                    peer: Arc::clone(peer),
                    queues: Vec::new(),
                });
            }
        }
        if let (Some(target), Some(queue)) = (self.list.get_mut(at), queue) {
            target.queues.extend_from_slice(queue);
            target.queues.push(b' ');
        }
        true
    }
}

/// Looks a subject up for messages from other servers, which only clients of this one get, and keeps what it
/// matched.
fn keep_local_matches(account: &Account, cache: &mut Matches, subject: &[u8], hash: u64) {
    let generations = account.generations();
    let concern = generations.concern(subject);
    let (stamp, mut matches) = {
        let interest = account.interest();
        (generations.stamp(concern), interest.matches(subject, hash))
    };
    matches.keep_local();
    cache.insert(subject, hash, (concern, stamp), matches);
}

impl Deliveries {
    /// Delivers to a member of a queue group that has members on other servers: drawn by their numbers,
    /// and where a client of this server cannot take it, to whoever comes next.
    pub(super) fn ship_by_weight(&mut self, members: &[Member], shipment: &mut Shipment<'_>) {
        let total: usize = members.iter().map(|member| member.weight() as usize).sum();
        let mut drawn = self.draw(total.max(1));
        let first = members.iter().position(|member| {
            let weight = member.weight() as usize;
            let here = drawn < weight;
            drawn = drawn.saturating_sub(weight);
            here
        });
        let (after, before) = members
            .split_at_checked(first.unwrap_or(0))
            .unwrap_or((&[], members));
        for subscription in before.iter().chain(after) {
            let taken = if subscription.is_remote() {
                let publisher = shipment.publication.from.id();
                self.route_targets.add(subscription, publisher)
            } else {
                self.ship(subscription, shipment)
            };
            if taken {
                return;
            }
        }
    }

    /// Delivers to the other servers that were found to want the message.
    pub(super) fn ship_to_routes(&mut self, account: &Account, shipment: &mut Shipment<'_>) {
        if self.route_targets.is_empty() {
            return;
        }
        let mut targets = std::mem::take(&mut self.route_targets);
        let publication = shipment.publication;
        for target in targets.list.iter().take(targets.count) {
            let peer = &target.peer;
            let copy = match self.message_trace {
                None => None,
                Some(_) => self.next_copy(publication.message),
            };
            let original = publication.message;
            let rewritten = copy
                .as_ref()
                .map(|copy| copy.message(original.subject, original.reply));
            let message = rewritten.as_ref().unwrap_or(original);
            let header = message.header.map_or(0, |header| header.bytes);
            let named = peer.names_account().then_some(account.name().as_bytes());
            let headers = peer.headers();
            let skipped = if headers { 0 } else { header };
            targets.line.clear();
            push_message_line(&mut targets.line, named, message, &target.queues, headers);
            let shared = shipment.shared.as_ref().filter(|_| copy.is_none());
            let shared = match skipped {
                0 => shared.cloned(),
                _ => shared.map(|shared| shared.slice(skipped..)),
            };
            let parcel = Parcel {
                head: &targets.line,
                tail: &[],
                body: message.body.get(skipped..).unwrap_or_default(),
                shared: shared.as_ref(),
            };
            let size = parcel.body.len().saturating_sub(2) as u64;
            let delivery = peer.deliver_routed(parcel);
            if copy.is_some() {
                self.trace_routed(peer, delivery);
            }
            if delivery.delivered > 0
                && let Some(trace) = publication.trace
            {
                let line = String::from_utf8_lossy(targets.line.trim_ascii_end()).into_owned();
                tracing::trace!(cid = peer.id(), "{} - ->> [{line}]", peer.label());
                if let Some(line) = display::payload(parcel.body, header, trace) {
                    tracing::trace!(cid = peer.id(), "{} - ->> {line}", peer.label());
                }
            }
            shipment.delivered += usize::from(delivery.delivered > 0);
            self.note_peer(peer, delivery, size);
        }
        targets.count = 0;
        self.route_targets = targets;
    }

    /// Delivers a message that came from another server to clients of this one: to all plain
    /// subscriptions, and to a member of each of `queues`. `cache` must serve no other kind of publisher.
    pub fn publish_routed<'q>(
        &mut self,
        account: &Arc<Account>,
        cache: &mut Matches,
        publication: &Publication<'_>,
        queues: impl Iterator<Item = &'q [u8]> + Clone,
    ) {
        let message = publication.message;
        let plain_only = queues.clone().next().is_none();
        if plain_only && publication.gathered && self.repeat_in(account, message) {
            return;
        }
        let hash = account.hash(message.subject);
        let known = cache.knows(message.subject, hash, account.generations());
        if !known && !cache.admits(hash) {
            let mut matches = account.interest().matches(message.subject, hash);
            matches.keep_local();
            self.end_run();
            self.ship_routed(account, &matches, publication, queues);
            self.finish(account, publication);
            return;
        }
        if !known {
            keep_local_matches(account, cache, message.subject, hash);
        }
        let Some(matches) = cache.get(hash) else {
            return;
        };
        if plain_only && matches.plain().is_empty() {
            return;
        }
        let gathered = plain_only
            && publication.gathered
            && Run::gathers(message)
            && self.gather(account, matches.plain(), publication);
        if !gathered {
            self.end_run();
            self.ship_routed(account, matches, publication, queues);
            self.finish(account, publication);
        }
    }

    fn ship_routed<'q>(
        &mut self,
        account: &Account,
        matches: &SubscriberSet<Member>,
        publication: &Publication<'_>,
        queues: impl Iterator<Item = &'q [u8]>,
    ) {
        let mut shipment = self.start(publication);
        for subscription in matches.plain() {
            self.ship(subscription, &mut shipment);
        }
        for queue in queues {
            let named = |group: &&QueueGroup<Member>| {
                group.members.first().and_then(|member| member.queue()) == Some(queue)
            };
            let before = shipment.delivered;
            if let Some(group) = matches.groups().iter().find(named) {
                self.ship_to_one_of(&group.members, &mut shipment);
            }
            if shipment.delivered == before {
                self.pass_on(account, queue, &shipment);
            }
        }
        self.ship_to_routes(account, &mut shipment);
    }

    /// The last member of a queue group here has gone while the message was on its way: another server
    /// that has members gets it, if there is one.
    fn pass_on(&mut self, account: &Account, queue: &[u8], shipment: &Shipment<'_>) {
        let subject = shipment.publication.message.subject;
        let from = shipment.publication.from;
        let all = account.interest().matches(subject, account.hash(subject));
        let members = all.groups().iter().flat_map(|group| &group.members);
        let mut others = members.filter(|member| {
            member.queue() == Some(queue) && member.is_remote() && !member.peer().leads_where(from)
        });
        if let Some(other) = others.next() {
            self.route_targets.add(other, from.id());
        }
    }
}

/// Appends how a message for another server begins, up to the blank behind its subject; the rest is the
/// same as for clients.
pub(super) fn routed_prefix(
    into: &mut Vec<u8>,
    message: &crate::proto::op::Publish<'_>,
    account: &[u8],
) {
    into.extend_from_slice(match encode::has_headers(message) {
        true => b"HMSG ",
        false => b"RMSG ",
    });
    into.extend_from_slice(account);
    into.extend_from_slice(message.subject);
    into.push(b' ');
}

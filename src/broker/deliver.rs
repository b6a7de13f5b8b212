//! From a publication to the outbound buffers of everybody who gets it.

use std::sync::Arc;

use std::time::Instant;

use bytes::Bytes;

use super::account::Account;
use super::batch::Frames;
use super::forward::Passage;
use super::message_trace::MessageTrace;
use super::peer::{Delivery, Parcel, Peer};
use super::routed::RouteTargets;
use super::run::Run;
use super::spread::{Refused, Spread};
use super::subscription::{Handling, Subscription};
use crate::outbound::SHARE_BYTES;
use crate::proto::display::{self, PayloadTrace};
use crate::proto::encode::{self, MessageFrame};
use crate::proto::op::Publish;
use crate::routing::cache::MatchCache;
use crate::routing::groups::SubscriberSet;
use crate::routing::interest::{Found, Interest};

/// The matches that a connection's recent publications had.
pub type Matches = MatchCache<Arc<Subscription>>;

pub(super) type Member = Arc<Subscription>;

/// What one turn has touched: shared by all connections of a worker thread, one turn at a time.
#[derive(Debug)]
pub struct Deliveries {
    /// Peers that must be flushed at the end of the turn.
    dirty: Vec<Arc<Peer>>,
    /// Peers that have so much pending that they are flushed before the turn ends.
    eager: Vec<Arc<Peer>>,
    /// A slow peer for which the publisher should pause.
    stall: Option<Arc<Peer>>,
    /// Subscriptions that have had their last message.
    pub(super) expired: Vec<Arc<Subscription>>,
    /// The same, of other accounts than the one that is published in.
    pub(super) expired_elsewhere: Vec<(Arc<Account>, Arc<Subscription>)>,
    /// Subscriptions that pass the message that is delivered now on to other accounts.
    passing: Vec<Arc<Subscription>>,
    /// What other accounts call its subject.
    pub(super) local_subject: Vec<u8>,
    /// Peers cut off in this turn because too much was pending for them.
    overflows: Vec<Arc<Peer>>,
    /// Messages gathered for the same targets or for one queue group, and the account they were
    /// published in. Only one of the two holds any.
    run: Run,
    spread: Spread,
    run_account: Option<Arc<Account>>,
    /// The number of the connection that publishes them.
    run_publisher: u64,
    /// A subject that nobody wanted a moment ago; empty for none.
    unwanted: Vec<u8>,
    drop_when_gated: bool,
    /// How the message at hand is traced, if it is.
    pub(super) message_trace: Option<Box<MessageTrace>>,
    /// Other servers that the message at hand goes to.
    pub(super) route_targets: RouteTargets,
    pub(super) frame: MessageFrame,
    plain_frame: MessageFrame,
    random: u64,
    /// A number that tells whose thread this is, among a few.
    worker: u64,
    messages_out: u64,
    bytes_out: u64,
}

/// One publication on its way out.
#[derive(Debug, Clone, Copy)]
pub struct Publication<'a> {
    /// The message.
    pub message: &'a Publish<'a>,
    /// The buffer that the message borrows from, where it may outlive the turn.
    pub source: Option<&'a Bytes>,
    /// The publisher.
    pub from: &'a Arc<Peer>,
    /// Leave messages out for gated peers instead of pausing the publisher.
    pub drop_when_gated: bool,
    /// Whether it may be delivered together with those before and after it: nobody needs to know at
    /// once whether it reached anyone.
    pub gathered: bool,
    /// When the turn began.
    pub now: Instant,
    /// Deliveries are to be logged, with that much of the message.
    pub trace: Option<PayloadTrace>,
    /// Whether it came from another server, which has passed it on to services itself if it is a request.
    /// Answers are passed on here, where the request came from.
    pub from_elsewhere: bool,
    /// How it came from another account, if it did.
    pub passage: Option<&'a Passage<'a>>,
}

impl<'a> Publication<'a> {
    /// A publication of `from` at `now` that is delivered at once and logged nowhere.
    #[must_use]
    pub fn new(message: &'a Publish<'a>, from: &'a Arc<Peer>, now: Instant) -> Self {
        Self {
            message,
            source: None,
            from,
            drop_when_gated: false,
            gathered: false,
            now,
            trace: None,
            from_elsewhere: false,
            passage: None,
        }
    }
}

/// Looks a subject up and keeps what it matched.
fn keep_matches(account: &Account, cache: &mut Matches, subject: &[u8], hash: u64) {
    let generations = account.generations();
    let concern = generations.concern(subject);
    let (stamp, matches) = {
        let interest = account.interest();
        (generations.stamp(concern), interest.matches(subject, hash))
    };
    cache.insert(subject, hash, (concern, stamp), matches);
}

/// How many subscriptions want a subject.
enum Targets<'a> {
    None,
    /// This one, which is in no queue group.
    One(&'a Member),
    Several,
}

fn only_target<'a>(interest: &'a Interest<Member>, subject: &[u8], hash: u64) -> Targets<'a> {
    let mut targets = Targets::None;
    interest.visit(subject, hash, |found| {
        let only = match found {
            Found::One(one) if one.queue().is_none() => Some(one),
            Found::One(_) => None,
            Found::Set(set) => match set.plain() {
                [one] if set.groups().is_empty() => Some(one),
                _ => None,
            },
        };
        targets = match (&targets, only) {
            (Targets::None, Some(only)) => Targets::One(only),
            _ => Targets::Several,
        };
    });
    targets
}

/// A delivery as protocol lines for the log.
fn log_delivery(
    subscription: &Subscription,
    parcel: &Parcel<'_>,
    header: usize,
    trace: PayloadTrace,
) {
    let peer = subscription.peer();
    let line = [parcel.head, subscription.sid(), parcel.tail].concat();
    let line = String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
    tracing::trace!(cid = peer.id(), "{} - ->> [{line}]", peer.label());
    let header = if peer.headers() { header } else { 0 };
    if let Some(line) = display::payload(parcel.body, header, trace) {
        tracing::trace!(cid = peer.id(), "{} - ->> {line}", peer.label());
    }
}

/// A number below `count`, evenly drawn; `random` must not be zero.
fn draw(random: &mut u64, count: usize) -> usize {
    let high = next_random(random) >> 32;
    usize::try_from((high * count as u64) >> 32).unwrap_or(0)
}

fn next_random(random: &mut u64) -> u64 {
    // xorshift64*: good enough to spread work, and without any shared state.
    *random ^= *random >> 12;
    *random ^= *random << 25;
    *random ^= *random >> 27;
    random.wrapping_mul(0x2545_F491_4F6C_DD1D)
}

/// What is the same for every receiver of one publication.
#[derive(Debug)]
pub(super) struct Shipment<'a> {
    pub(super) publication: &'a Publication<'a>,
    pub(super) shared: Option<Bytes>,
    shared_plain: Option<Bytes>,
    /// Length of the header block, which some receivers do not get.
    pub(super) header: usize,
    pub(super) plain_ready: bool,
    pub(super) delivered: usize,
}

impl Deliveries {
    /// Nothing touched yet. `seed` starts the draw of queue group members.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            dirty: Vec::new(),
            eager: Vec::new(),
            stall: None,
            expired: Vec::new(),
            expired_elsewhere: Vec::new(),
            passing: Vec::new(),
            local_subject: Vec::new(),
            overflows: Vec::new(),
            run: Run::default(),
            spread: Spread::default(),
            run_account: None,
            run_publisher: 0,
            unwanted: Vec::new(),
            drop_when_gated: false,
            message_trace: None,
            route_targets: RouteTargets::default(),
            frame: MessageFrame::default(),
            plain_frame: MessageFrame::default(),
            random: seed | 1,
            worker: seed >> 32,
            messages_out: 0,
            bytes_out: 0,
        }
    }

    /// Delivers a publication to everybody in `account` who wants it, at the latest when the turn ends.
    pub fn publish(
        &mut self,
        account: &Arc<Account>,
        cache: &mut Matches,
        publication: &Publication<'_>,
    ) {
        let message = publication.message;
        if !publication.gathered || !Run::gathers(message) {
            self.publish_now(account, cache, publication);
            return;
        }
        // Whoever publishes without a reply subject has tried `repeat`.
        if message.reply.is_some() && self.push_same_subject(message) {
            return;
        }
        let hash = account.hash(message.subject);
        if !cache.knows(message.subject, hash, account.generations()) {
            if !cache.admits(hash) {
                self.publish_unknown(account, hash, publication);
                return;
            }
            keep_matches(account, cache, message.subject, hash);
        }
        let Some(matches) = cache.get(hash).filter(|matches| !matches.is_empty()) else {
            self.note_unwanted(message.subject);
            return;
        };
        let gathered = match matches.groups() {
            [] => self.gather(account, matches.plain(), publication),
            [group] if matches.plain().is_empty() && group.remotes == 0 => {
                self.gather_for_one_of(account, &group.members, publication)
            }
            [_, ..] => false,
        };
        if !gathered {
            self.end_run();
            self.ship_to_set(account, matches, publication);
            self.finish(account, publication);
        }
    }

    /// Delivers a message that needs nothing but what the one before it needed: it has the same subject,
    /// and nobody waits for an answer. False, and nothing done, when it is not such a message.
    #[inline]
    pub fn repeat(&mut self, message: &Publish<'_>) -> bool {
        message.reply.is_none() && Run::gathers(message) && self.push_same_subject(message)
    }

    /// The same for a message that came from another server, whose messages are of many accounts.
    pub(super) fn repeat_in(&mut self, account: &Arc<Account>, message: &Publish<'_>) -> bool {
        let of_account = |run: &Arc<Account>| Arc::ptr_eq(run, account);
        self.run_account.as_ref().is_some_and(of_account)
            && Run::gathers(message)
            && !self.run.is_empty()
            && self.run.push_same_subject(message)
    }

    #[inline]
    fn push_same_subject(&mut self, message: &Publish<'_>) -> bool {
        if !self.run.is_empty() && self.run.push_same_subject(message) {
            return true;
        }
        if !self.spread.is_empty() {
            let random = &mut self.random;
            let spread = &mut self.spread;
            if spread.push_same_subject(message, |count| draw(random, count)) {
                return true;
            }
        }
        !self.unwanted.is_empty() && self.unwanted == message.subject
    }

    /// Messages on `subject` that come next in this turn need not be looked up.
    fn note_unwanted(&mut self, subject: &[u8]) {
        self.unwanted.clear();
        self.unwanted.extend_from_slice(subject);
    }

    /// Adds a publication to the run, or begins one with it, if `targets` can be served that way.
    pub(super) fn gather(
        &mut self,
        account: &Arc<Account>,
        targets: &[Member],
        publication: &Publication<'_>,
    ) -> bool {
        let message = publication.message;
        if self.run.push_same_targets(message, targets) {
            return true;
        }
        self.end_run();
        let started = self
            .run
            .start(message, targets, publication.from, account.name());
        self.note_start(started, account, publication)
    }

    /// The same for a publication that goes to one of `members`.
    fn gather_for_one_of(
        &mut self,
        account: &Arc<Account>,
        members: &[Member],
        publication: &Publication<'_>,
    ) -> bool {
        let (message, from) = (publication.message, publication.from);
        let random = &mut self.random;
        if self
            .spread
            .push_same_members(message, members, |count| draw(random, count))
        {
            return true;
        }
        self.end_run();
        let random = &mut self.random;
        let started = self
            .spread
            .start(message, members, from, |count| draw(random, count));
        self.note_start(started, account, publication)
    }

    fn note_start(
        &mut self,
        started: bool,
        account: &Arc<Account>,
        publication: &Publication<'_>,
    ) -> bool {
        if started {
            self.run_account = Some(Arc::clone(account));
            self.run_publisher = publication.from.id();
            self.drop_when_gated = publication.drop_when_gated;
        }
        started
    }

    /// Delivers a publication whose subject comes too seldom to be kept. Where just one subscription
    /// wants it, as with one wildcard for many subjects, it is gathered all the same.
    fn publish_unknown(
        &mut self,
        account: &Arc<Account>,
        hash: u64,
        publication: &Publication<'_>,
    ) {
        let message = publication.message;
        let only = {
            let interest = account.interest();
            match only_target(&interest, message.subject, hash) {
                Targets::None => return self.note_unwanted(message.subject),
                Targets::One(target) => {
                    if self
                        .run
                        .push_same_targets(message, std::slice::from_ref(target))
                    {
                        return;
                    }
                    Some(Arc::clone(target))
                }
                Targets::Several => None,
            }
        };
        // The table is not locked any more: ending a run may have to change it.
        let gathered = only
            .is_some_and(|target| self.gather(account, std::slice::from_ref(&target), publication));
        if !gathered {
            self.end_run();
            self.match_and_ship(account, hash, publication);
            self.finish(account, publication);
        }
    }

    /// Delivers what was gathered.
    pub fn end_run(&mut self) {
        self.unwanted.clear();
        if !self.run.is_empty() {
            let mut run = std::mem::take(&mut self.run);
            run.finish(|subscription, frames| {
                self.deliver_batch(subscription, frames);
            });
            self.run = run;
        }
        if !self.spread.is_empty() {
            let mut spread = std::mem::take(&mut self.spread);
            spread.finish(|member, frames| self.deliver_batch(member, frames));
            self.spread = spread;
        }
        if let Some(account) = self.run_account.take() {
            self.settle(&account);
        }
    }

    /// Delivers several messages to one subscription; what it did not take.
    fn deliver_batch(&mut self, subscription: &Member, frames: Frames<'_>) -> Option<Refused> {
        if let Some(lanes) = subscription.peer().lanes() {
            let lane = lanes.lane_of(self.run_publisher)?;
            let outcome = lane.deliver_batch(subscription, frames, self.drop_when_gated);
            self.note_peer(&lane, outcome.delivery, outcome.size);
            return outcome.left;
        }
        let peer = subscription.peer();
        let outcome = peer.deliver_batch(subscription, frames, self.drop_when_gated);
        self.note(subscription, outcome.delivery, outcome.size);
        outcome.left
    }

    /// Delivers a publication at once; to how many.
    pub fn publish_now(
        &mut self,
        account: &Arc<Account>,
        cache: &mut Matches,
        publication: &Publication<'_>,
    ) -> usize {
        self.end_run();
        let subject = publication.message.subject;
        let hash = account.hash(subject);
        let known = cache.knows(subject, hash, account.generations());
        let delivered = if known || cache.admits(hash) {
            if !known {
                keep_matches(account, cache, subject, hash);
            }
            cache
                .get(hash)
                .map_or(0, |matches| self.ship_to_set(account, matches, publication))
        } else {
            self.match_and_ship(account, hash, publication)
        };
        delivered + self.finish(account, publication)
    }

    /// Delivers a publication at once, from whoever has no cache for it; to how many.
    pub fn publish_uncached(
        &mut self,
        account: &Arc<Account>,
        publication: &Publication<'_>,
    ) -> usize {
        let hash = account.hash(publication.message.subject);
        let delivered = self.match_and_ship(account, hash, publication);
        delivered + self.finish(account, publication)
    }

    /// Does what a delivery that is not gathered leaves to do; to how many it was delivered by that.
    pub(super) fn finish(
        &mut self,
        account: &Arc<Account>,
        publication: &Publication<'_>,
    ) -> usize {
        self.settle(account);
        if self.passing.is_empty() {
            return 0;
        }
        let passing = std::mem::take(&mut self.passing);
        self.forward(account, passing, publication)
    }

    /// Does what could not be done while locks were held.
    pub(super) fn settle(&mut self, account: &Account) {
        if !self.eager.is_empty() {
            for peer in self.eager.drain(..) {
                peer.flush();
            }
        }
        if !self.expired.is_empty() {
            for subscription in self.expired.drain(..) {
                account.unsubscribe(&subscription);
            }
        }
        if !self.expired_elsewhere.is_empty() {
            for (account, subscription) in self.expired_elsewhere.drain(..) {
                account.unsubscribe(&subscription);
            }
        }
    }

    /// Delivers while looking the subject up, for subjects that come too seldom to be kept.
    fn match_and_ship(
        &mut self,
        account: &Account,
        hash: u64,
        publication: &Publication<'_>,
    ) -> usize {
        let interest = account.interest();
        let mut shipment = None;
        let mut groups: Vec<&[Member]> = Vec::new();
        let mut weighted = false;
        interest.visit(publication.message.subject, hash, |found| {
            let shipment = shipment.get_or_insert_with(|| self.start(publication));
            match found {
                Found::One(one) if one.queue().is_some() => {
                    weighted |= one.is_remote();
                    groups.push(std::slice::from_ref(one));
                }
                Found::One(one) => self.ship_plain(one, shipment),
                Found::Set(set) => {
                    for subscription in set.plain() {
                        self.ship_plain(subscription, shipment);
                    }
                    weighted |= set.groups().iter().any(|group| group.remotes > 0);
                    groups.extend(set.groups().iter().map(|group| &*group.members));
                }
            }
        });
        let Some(mut shipment) = shipment else {
            return 0;
        };
        while let Some(members) = groups.pop() {
            let queue = members.first().and_then(|member| member.queue());
            let same = |other: &&[Member]| other.first().and_then(|member| member.queue()) == queue;
            if groups.iter().any(same) {
                let mut all = members.to_vec();
                groups
                    .iter()
                    .filter(|other| same(other))
                    .for_each(|other| all.extend_from_slice(other));
                groups.retain(|other| !same(other));
                self.ship_to_group(&all, weighted, &mut shipment);
            } else {
                self.ship_to_group(members, weighted, &mut shipment);
            }
        }
        self.ship_to_routes(account, &mut shipment);
        shipment.delivered
    }

    fn ship_to_set(
        &mut self,
        account: &Account,
        matches: &SubscriberSet<Member>,
        publication: &Publication<'_>,
    ) -> usize {
        if matches.is_empty() {
            return 0;
        }
        let mut shipment = self.start(publication);
        for subscription in matches.plain() {
            self.ship_plain(subscription, &mut shipment);
        }
        for group in matches.groups() {
            self.ship_to_group(&group.members, group.remotes > 0, &mut shipment);
        }
        self.ship_to_routes(account, &mut shipment);
        shipment.delivered
    }

    fn ship_plain(&mut self, subscription: &Member, shipment: &mut Shipment<'_>) {
        if subscription.is_remote() {
            let publisher = shipment.publication.from.id();
            self.route_targets.add(subscription, publisher);
        } else {
            self.ship(subscription, shipment);
        }
    }

    fn ship_to_group(&mut self, members: &[Member], weighted: bool, shipment: &mut Shipment<'_>) {
        if weighted {
            self.ship_by_weight(members, shipment);
        } else {
            self.ship_to_one_of(members, shipment);
        }
    }

    /// A number below `count`, evenly drawn.
    pub(super) fn draw(&mut self, count: usize) -> usize {
        draw(&mut self.random, count)
    }

    pub(super) fn start<'a>(&mut self, publication: &'a Publication<'a>) -> Shipment<'a> {
        let message = publication.message;
        self.frame.prepare(message);
        let source = publication
            .source
            .filter(|_| message.body.len() >= SHARE_BYTES);
        Shipment {
            publication,
            shared: source.map(|source| source.slice_ref(message.body)),
            shared_plain: None,
            header: message.header.map_or(0, |header| header.bytes),
            plain_ready: false,
            delivered: 0,
        }
    }

    /// Delivers to the first member, from a random one on, who can be delivered to.
    pub(super) fn ship_to_one_of(&mut self, members: &[Member], shipment: &mut Shipment<'_>) {
        let first = draw(&mut self.random, members.len());
        let (after, before) = members.split_at_checked(first).unwrap_or((&[], members));
        for subscription in before.iter().chain(after) {
            if self.ship(subscription, shipment) {
                return;
            }
        }
    }

    /// A number that belongs to the thread of these deliveries, among a few.
    #[must_use]
    pub fn worker(&self) -> u64 {
        self.worker
    }

    /// A number that spreads work evenly; whoever sees many can tell the next.
    pub fn random(&mut self) -> u64 {
        next_random(&mut self.random)
    }

    /// Delivers to one subscription, if it takes the message.
    pub(super) fn ship(&mut self, subscription: &Member, shipment: &mut Shipment<'_>) -> bool {
        let peer = subscription.peer();
        let publication = shipment.publication;
        let message = publication.message;
        let traced = self.message_trace.is_some();
        if Arc::ptr_eq(peer, publication.from) && !peer.echo() {
            if traced {
                self.trace_no_echo(subscription);
            }
            return false;
        }
        match subscription.handling() {
            None => {}
            Some(Handling::Judged(filter)) if filter.admits(message.subject) => {}
            Some(Handling::Judged(_)) => {
                if traced {
                    self.trace_denied(subscription);
                }
                return false;
            }
            Some(Handling::Imported(imported)) => {
                return self.ship_imported(subscription, imported, shipment);
            }
            Some(Handling::Service(_) | Handling::Responses) => {
                self.passing.push(Arc::clone(subscription));
                return false;
            }
        }
        if traced && self.trace_instead(subscription) {
            shipment.delivered += 1;
            return true;
        }
        let body = message.body;
        let parcel = if shipment.header > 0 && !peer.headers() {
            self.prepare_plain(shipment);
            Parcel {
                head: self.plain_frame.head(),
                tail: self.plain_frame.tail(),
                body: body.get(shipment.header..).unwrap_or_default(),
                shared: shipment.shared_plain.as_ref(),
            }
        } else {
            Parcel {
                head: self.frame.head(),
                tail: self.frame.tail(),
                body,
                shared: shipment.shared.as_ref(),
            }
        };
        let size = parcel.body.len().saturating_sub(2) as u64;
        let delivery = peer.deliver(subscription, parcel, publication.drop_when_gated);
        let delivered = delivery.delivered > 0;
        if delivered && let Some(trace) = publication.trace {
            log_delivery(subscription, &parcel, shipment.header, trace);
        }
        if traced {
            self.trace_delivery(subscription, delivery);
        }
        if delivered
            && peer.tracks_responses()
            && let Some(reply) = message.reply
        {
            peer.expect_response(reply, publication.now);
        }
        self.note(subscription, delivery, size);
        shipment.delivered += usize::from(delivered);
        delivered
    }

    /// Remembers what a delivery asks for.
    fn note(&mut self, subscription: &Member, delivery: Delivery, size: u64) {
        if delivery.expired {
            self.expired.push(Arc::clone(subscription));
        }
        self.note_peer(subscription.peer(), delivery, size);
    }

    pub(super) fn note_peer(&mut self, peer: &Arc<Peer>, delivery: Delivery, size: u64) {
        if delivery.must_flush {
            self.dirty.push(Arc::clone(peer));
        }
        if delivery.eager {
            self.eager.push(Arc::clone(peer));
        }
        if delivery.stalls {
            self.stall = Some(Arc::clone(peer));
        }
        if delivery.overflow {
            self.overflows.push(Arc::clone(peer));
        }
        if delivery.delivered > 0 {
            self.messages_out += delivery.delivered as u64;
            self.bytes_out += size;
        }
    }

    /// The form without headers, made when the first receiver needs it.
    fn prepare_plain(&mut self, shipment: &mut Shipment<'_>) {
        if !shipment.plain_ready {
            shipment.plain_ready = true;
            self.plain_frame
                .prepare_without_headers(shipment.publication.message);
            shipment.shared_plain = shipment
                .shared
                .as_ref()
                .map(|shared| shared.slice(shipment.header..));
        }
    }

    /// Tells the publisher, on its own subscription to the reply subject, that nobody listens.
    pub fn answer_no_responders(
        &mut self,
        account: &Account,
        from: &Arc<Peer>,
        message: &Publish<'_>,
    ) {
        let Some(reply) = message.reply else { return };
        let matches = account.interest().matches(reply, account.hash(reply));
        let own = matches
            .plain()
            .iter()
            .find(|subscription| Arc::ptr_eq(subscription.peer(), from));
        if let Some(subscription) = own {
            self.send(
                from,
                &encode::no_responders(reply, subscription.sid(), message.subject),
            );
        }
    }

    /// Leaves protocol text for a peer and flushes it at the end of the turn.
    pub fn send(&mut self, peer: &Arc<Peer>, text: &[u8]) {
        self.end_run();
        if peer.send(text) {
            self.dirty.push(Arc::clone(peer));
        }
    }

    /// Ends the turn, which began at `now`: sends what each touched peer has pending.
    pub fn flush(&mut self, now: Instant) {
        self.end_run();
        for peer in self.dirty.drain(..) {
            peer.note_activity(now);
            peer.flush();
        }
    }

    /// Messages and bytes delivered since this was asked last.
    pub fn take_traffic(&mut self) -> (u64, u64) {
        (
            std::mem::take(&mut self.messages_out),
            std::mem::take(&mut self.bytes_out),
        )
    }

    /// The slow peer for which the publisher of this turn should pause, if there is one.
    pub fn take_stall(&mut self) -> Option<Arc<Peer>> {
        self.stall.take().filter(|peer| peer.stalls())
    }

    /// The peers that were cut off in this turn.
    pub fn take_overflows(&mut self) -> Vec<Arc<Peer>> {
        std::mem::take(&mut self.overflows)
    }
}

//! Requests that go to services of other accounts, and the answers that come back.

use std::sync::Arc;

use super::account::Account;
use super::deliver::{Deliveries, Publication};
use super::imports::{ServiceExport, ServiceImport};
use super::latency::{Measurement, Outcome, timestamp};
use super::mappings::Mapped;
use super::message_trace::{Following, untraced};
use super::peer::Peer;
use super::responses::Pending;
use super::rewritten::Rewritten;
use super::subscription::{Handling, Subscription};
use crate::proto::headers;
use crate::proto::message_trace::DESTINATION;
use crate::proto::op::Publish;
use crate::proto::request_info::RequestInfo;

/// How acknowledgements of stored messages are addressed; these reply subjects stay as they are
/// (nats-server).
const ACKNOWLEDGEMENT_PREFIX: &[u8] = b"$JS.ACK.";

/// A message's way from one account into another, which may lead on from there.
#[derive(Debug, Clone, Copy)]
pub struct Passage<'a> {
    export: &'a Arc<ServiceExport>,
    /// Who asks; none for an answer.
    requester: Option<&'a RequestInfo>,
    before: Option<&'a Self>,
}

impl Passage<'_> {
    /// Whether the way led through this export before.
    fn goes_through(&self, export: &Arc<ServiceExport>) -> bool {
        Arc::ptr_eq(self.export, export)
            || self
                .before
                .is_some_and(|before| before.goes_through(export))
    }
}

impl Deliveries {
    /// Passes a publication of `account` on to the other accounts that subscriptions found for it lead
    /// to; to how many it was delivered there.
    pub(super) fn forward(
        &mut self,
        account: &Arc<Account>,
        found: Vec<Arc<Subscription>>,
        publication: &Publication<'_>,
    ) -> usize {
        let mut delivered = 0;
        for subscription in found {
            delivered += match subscription.handling() {
                Some(Handling::Service(_)) if publication.from_elsewhere => 0,
                Some(Handling::Service(import)) => self.request(account, import, publication),
                Some(Handling::Responses) => {
                    self.answer(account, subscription.peer(), publication);
                    1
                }
                Some(Handling::Judged(_) | Handling::Imported(_)) | None => 0,
            };
        }
        delivered
    }

    /// Sends a request to the service that `account` imports.
    fn request(
        &mut self,
        account: &Arc<Account>,
        import: &ServiceImport,
        publication: &Publication<'_>,
    ) -> usize {
        let message = publication.message;
        let before = publication.passage;
        let again = before.is_some_and(|before| before.goes_through(import.export()));
        let Some(exporter) = import.exporter().filter(|_| !again) else {
            return 0;
        };
        let measurement = self.measure(account, import, publication);
        let wanted = message
            .reply
            .filter(|reply| !reply.is_empty() && !reply.starts_with(ACKNOWLEDGEMENT_PREFIX));
        let reply = match wanted {
            None => None,
            Some(reply) => {
                let pending = Pending {
                    requester: Arc::downgrade(account),
                    reply: reply.into(),
                    export: Arc::clone(import.export()),
                    since: publication.now,
                    measurement: measurement.clone(),
                };
                let Some(reply) = exporter.await_answers(pending, &import.server().peer) else {
                    return 0;
                };
                Some(reply)
            }
        };
        let requester = requester(account, import, publication);
        let document = requester.to_json();
        let request = Rewritten::new(message, headers::REQUEST_INFO, document.as_bytes());
        let mut subject = Vec::new();
        import.destination(message.subject, &mut subject);
        self.map(&exporter, &mut subject);
        let passage = Passage {
            export: import.export(),
            requester: Some(&requester),
            before,
        };
        let forwarded = request.message(&subject, reply.as_deref().or(message.reply));
        let accounts = (account, &exporter);
        let delivered = match self.message_trace {
            None => self.publish_into(&exporter, &forwarded, &passage, publication),
            Some(_) => self.request_traced(accounts, import, &forwarded, &passage, publication),
        };
        let reply = match reply {
            // What is only traced is not answered.
            Some(reply) if delivered > 0 && self.is_only_traced() => {
                exporter.forget_request(&reply);
                return delivered;
            }
            reply => reply,
        };
        let outcome = match reply {
            None => Outcome::BadRequest,
            Some(reply) if delivered == 0 => {
                exporter.forget_request(&reply);
                Outcome::Unavailable
            }
            Some(_) => return delivered,
        };
        if let Some(measurement) = measurement {
            self.report(&exporter, &measurement, outcome, publication.now);
        }
        delivered
    }

    /// Sends a traced request to a service.
    fn request_traced(
        &mut self,
        accounts: (&Arc<Account>, &Arc<Account>),
        import: &ServiceImport,
        request: &Publish<'_>,
        passage: &Passage<'_>,
        publication: &Publication<'_>,
    ) -> usize {
        let exporter = accounts.1;
        let subjects = (publication.message.subject, request.subject);
        match self.trace_service(exporter, subjects, import.export().allow_trace) {
            Following::Untraced => self.publish_into(exporter, request, passage, publication),
            Following::Stop => 0,
            Following::Aside => self.publish_aside(exporter, request, passage, publication),
            Following::On => {
                let server = &import.server().peer;
                self.follow_service(accounts, publication, server, |here, destination| {
                    let name = DESTINATION.as_bytes();
                    let followed = Rewritten::new(request, name, destination.as_bytes());
                    let followed = followed.message(request.subject, request.reply);
                    here.publish_into(exporter, &followed, passage, publication)
                })
            }
        }
    }

    /// Publishes in another account what must not be traced there.
    fn publish_aside(
        &mut self,
        account: &Arc<Account>,
        message: &Publish<'_>,
        passage: &Passage<'_>,
        publication: &Publication<'_>,
    ) -> usize {
        let rewritten = untraced(message);
        let rewritten = rewritten.message(message.subject, message.reply);
        self.aside(|aside| aside.publish_into(account, &rewritten, passage, publication))
    }

    /// Begins to measure a request, if its service says so.
    fn measure(
        &mut self,
        account: &Account,
        import: &ServiceImport,
        publication: &Publication<'_>,
    ) -> Option<Arc<Measurement>> {
        let rules = import.export().latency.as_ref()?;
        let message = publication.message;
        let header = message.header.map_or(0, |header| header.bytes);
        let headers = self.sample(rules, message.body.get(..header).unwrap_or_default())?;
        Some(Arc::new(Measurement {
            rules: rules.clone(),
            requester: Arc::clone(publication.from),
            account: account.name().to_owned(),
            share: import.shares(),
            headers,
            server: Arc::clone(import.server()),
            since: publication.now,
        }))
    }

    /// Sends an answer to whoever asked `account`.
    fn answer(
        &mut self,
        account: &Arc<Account>,
        server: &Arc<Peer>,
        publication: &Publication<'_>,
    ) {
        let message = publication.message;
        let last = message.size.bytes == 0;
        let Some(pending) = account.answered(message.subject, last, publication.now) else {
            return;
        };
        let Some(requester) = pending.requester.upgrade() else {
            account.forget_request(message.subject);
            return;
        };
        if let Some(measurement) = &pending.measurement {
            let outcome = Outcome::Answered(publication.from, account.name());
            self.report(account, measurement, outcome, publication.now);
        }
        // Whoever answers may want an answer to that.
        let reply = message.reply.and_then(|reply| {
            let back = Pending {
                requester: Arc::downgrade(account),
                reply: reply.into(),
                export: Arc::clone(&pending.export),
                since: publication.now,
                measurement: None,
            };
            requester.await_answers(back, server)
        });
        let mut subject = pending.reply.to_vec();
        self.map(&requester, &mut subject);
        let answer = Publish {
            subject: &subject,
            reply: reply.as_deref(),
            ..*message
        };
        let passage = Passage {
            export: &pending.export,
            requester: None,
            before: publication.passage,
        };
        let subjects = (message.subject, &*subject);
        let delivered = match self.trace_service(&requester, subjects, false) {
            Following::Untraced => self.publish_into(&requester, &answer, &passage, publication),
            Following::Stop => 0,
            Following::On | Following::Aside => {
                self.publish_aside(&requester, &answer, &passage, publication)
            }
        };
        if delivered == 0 {
            account.forget_request(message.subject);
            if let Some(reply) = reply {
                requester.forget_request(&reply);
            }
        }
    }

    fn publish_into(
        &mut self,
        account: &Arc<Account>,
        message: &Publish<'_>,
        passage: &Passage<'_>,
        publication: &Publication<'_>,
    ) -> usize {
        let publication = Publication {
            message,
            source: None,
            passage: Some(passage),
            ..*publication
        };
        self.publish_uncached(account, &publication)
    }

    /// Lets the mappings of an account that a message comes into change its subject.
    fn map(&mut self, account: &Account, subject: &mut Vec<u8>) {
        if !account.maps() {
            return;
        }
        let random = self.random();
        let mut mapped = Vec::new();
        match account.rules().mappings.apply(subject, random, &mut mapped) {
            Mapped::Same => {}
            Mapped::Other | Mapped::Lost => *subject = mapped,
        }
    }
}

/// What the service learns of who asks. A request that came through another account before keeps what
/// was told there, and says which account passed it on.
fn requester(
    account: &Account,
    import: &ServiceImport,
    publication: &Publication<'_>,
) -> RequestInfo {
    let before = publication.passage.and_then(|passage| passage.requester);
    let mut info = match before {
        Some(before) => RequestInfo {
            service: account.name().to_owned(),
            ..before.clone()
        },
        None => introduce(publication.from, account.name(), import.shares()),
    };
    if import.shares() {
        let server = import.server();
        info.server.clone_from(&server.name);
        info.cluster.clone_from(&server.cluster);
    }
    info
}

/// What is told of `peer`; without `details` only its account and round-trip time.
pub(super) fn introduce(peer: &Peer, account: &str, details: bool) -> RequestInfo {
    let portrait = peer.portrait();
    let base = RequestInfo {
        account: account.to_owned(),
        round_trip: u64::try_from(portrait.round_trip.as_nanos()).unwrap_or(u64::MAX),
        ..RequestInfo::default()
    };
    let Some(known) = portrait.introduction.filter(|_| details) else {
        return base;
    };
    RequestInfo {
        start: timestamp(portrait.began),
        host: portrait.ip,
        id: portrait.id,
        user: known.user.to_string(),
        name: known.name.to_string(),
        language: known.language.to_string(),
        version: known.version.to_string(),
        kind: "Client",
        client_type: "nats",
        ..base
    }
}

//! What an account takes from another one: messages of a stream, or answers of a service.

use std::io::{self, IoSlice};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::account::Account;
use super::deliver::{Deliveries, Publication, Shipment};
use super::latency::LatencyRules;
use super::mappings::placeholders;
use super::message_trace::Following;
use super::peer::Wire;
use super::sharing::{ImportRules, OwnServer};
use super::subscription::{Handling, Subscription};
use crate::proto::op::{Publish, Subscribe};
use crate::subject;
use crate::subject::transform::{
    Functions, Transform, TransformError, destination_filter, is_placeholder,
};

/// Time that a service may take unless it is configured (nats-server).
pub const DEFAULT_RESPONSE_THRESHOLD: Duration = Duration::from_secs(120);

/// How many answers a service gives to a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ResponseType {
    /// One.
    #[default]
    Single,
    /// Any number, until an empty one.
    Several,
}

/// A service that an account offers.
#[derive(Debug, PartialEq, Eq)]
pub struct ServiceExport {
    /// How many answers a request gets.
    pub response: ResponseType,
    /// How long the service may take for the next one.
    pub threshold: Duration,
    /// Where its latency is reported, if it is.
    pub latency: Option<LatencyRules>,
    /// Whether traces follow requests into the account of the service.
    pub allow_trace: bool,
}

impl Default for ServiceExport {
    fn default() -> Self {
        Self {
            response: ResponseType::Single,
            threshold: DEFAULT_RESPONSE_THRESHOLD,
            latency: None,
            allow_trace: false,
        }
    }
}

/// How a subject on one side of an import becomes that on the other.
#[derive(Debug, PartialEq, Eq)]
enum Rewriting {
    Same,
    To(Box<[u8]>),
    By(Transform),
}

impl Rewriting {
    fn apply(&self, subject: &[u8], to: &mut Vec<u8>) {
        to.clear();
        match self {
            Self::Same => to.extend_from_slice(subject),
            Self::To(other) => to.extend_from_slice(other),
            // These transforms draw nothing.
            Self::By(transform) => transform.apply(subject, 0, to),
        }
    }
}

/// The subjects on both sides of an import.
#[derive(Debug, PartialEq, Eq)]
struct Correspondence {
    /// What the importing account calls it, as a filter.
    local: Box<[u8]>,
    /// From the exporting to the importing account.
    outward: Rewriting,
    /// From the importing to the exporting account.
    inward: Rewriting,
}

impl Correspondence {
    /// `local` may have placeholders for the wildcards of `exported`, or the same wildcards.
    fn new(exported: &str, local: &str) -> Result<Self, TransformError> {
        if !subject::has_wildcard(exported.as_bytes()) {
            return Ok(Self {
                local: local.as_bytes().into(),
                outward: Rewriting::To(local.as_bytes().into()),
                inward: Rewriting::To(exported.as_bytes().into()),
            });
        }
        if exported == local {
            return Ok(Self {
                local: local.as_bytes().into(),
                outward: Rewriting::Same,
                inward: Rewriting::Same,
            });
        }
        let destination = placeholders(local);
        let outward = Transform::new(exported, &destination, Functions::Reversible)?;
        let local = destination_filter(&destination);
        let inward = outward.reverse(exported);
        Ok(Self {
            local: local.into_bytes().into(),
            outward: Rewriting::By(outward),
            inward: Rewriting::By(inward),
        })
    }
}

/// Whether an import of a stream can call `local` what the exporting account calls `exported`.
///
/// # Errors
/// Their wildcards do not correspond.
pub fn check_stream_subjects(exported: &str, local: &str) -> Result<(), TransformError> {
    Correspondence::new(exported, local).map(drop)
}

/// The same of a service, which must not have placeholders in `exported`: nats-server reads them as wildcards then,
/// which `local` does not have.
///
/// # Errors
/// Their wildcards do not correspond.
pub fn check_service_subjects(exported: &str, local: &str) -> Result<(), TransformError> {
    let maps = exported != local && subject::has_wildcard(exported.as_bytes());
    if maps && exported.split('.').any(is_placeholder) {
        return Err(TransformError::NotUsingAllWildcards(local.to_owned()));
    }
    check_stream_subjects(exported, local)
}

/// Messages that flow from another account into the one that has this import.
#[derive(Debug)]
pub struct StreamImport {
    exporter: Weak<Account>,
    subjects: Correspondence,
    /// Whether traces follow messages into the importing account.
    allow_trace: bool,
}

impl StreamImport {
    /// An import of `exported` from `exporter` as `local`.
    ///
    /// # Errors
    /// The wildcards of both subjects do not correspond.
    pub fn new(
        exporter: &Arc<Account>,
        exported: &str,
        local: &str,
        allow_trace: bool,
    ) -> Result<Self, TransformError> {
        Ok(Self {
            exporter: Arc::downgrade(exporter),
            subjects: Correspondence::new(exported, local)?,
            allow_trace,
        })
    }

    /// The subscription of the exporting account that brings what `original`, one of the importing
    /// account, wants of this import; with that account.
    pub(super) fn shadow(
        self: &Arc<Self>,
        original: &Arc<Subscription>,
        importer: &Weak<Account>,
    ) -> Option<(Arc<Account>, Arc<Subscription>)> {
        let exporter = self.exporter.upgrade()?;
        let wanted = subject::intersection(original.filter(), &self.subjects.local)?;
        let mut filter = Vec::new();
        self.subjects.inward.apply(&wanted, &mut filter);
        let words = Subscribe {
            filter: &filter,
            queue: original.queue(),
            sid: original.sid(),
        };
        let handling = Handling::Imported(Imported {
            import: Arc::clone(self),
            original: Arc::clone(original),
            importer: Weak::clone(importer),
        });
        let shadow = Subscription::with(&words, Arc::clone(original.peer()), handling)?;
        Some((exporter, Arc::new(shadow)))
    }
}

/// What makes a subscription in an exporting account the shadow of one in an importing account.
#[derive(Debug)]
pub struct Imported {
    /// Whence it comes.
    import: Arc<StreamImport>,
    /// Who gets and counts the messages.
    pub(super) original: Arc<Subscription>,
    /// The original's account.
    pub(super) importer: Weak<Account>,
}

impl Imported {
    /// Whether traces follow messages into the importing account.
    pub(super) fn allows_trace(&self) -> bool {
        self.import.allow_trace
    }

    /// What the importing account calls a message on `subject`.
    pub(super) fn localize(&self, subject: &[u8], to: &mut Vec<u8>) {
        self.import.subjects.outward.apply(subject, to);
    }
}

impl Deliveries {
    /// Delivers to a subscription of another account, under the subject that the message has there.
    pub(super) fn ship_imported(
        &mut self,
        shadow: &Subscription,
        imported: &Imported,
        shipment: &mut Shipment<'_>,
    ) -> bool {
        let publication = shipment.publication;
        // What came for a service does not flow into streams (nats-server).
        if publication.passage.is_some() {
            return false;
        }
        let mut subject = std::mem::take(&mut self.local_subject);
        imported.localize(publication.message.subject, &mut subject);
        let message = Publish {
            subject: &subject,
            ..*publication.message
        };
        let local = Publication {
            message: &message,
            ..*publication
        };
        let mut apart = self.start(&local);
        let following = match self.message_trace {
            None => Following::Untraced,
            Some(_) => self.trace_stream(shadow, imported, &subject),
        };
        let original = &imported.original;
        let delivered = match following {
            Following::Untraced | Following::On => self.ship(original, &mut apart),
            Following::Aside => self.aside(|aside| aside.ship(original, &mut apart)),
            Following::Stop => true,
        };
        self.local_subject = subject;
        // The other receivers are sent what was framed for them.
        self.frame.prepare(publication.message);
        shipment.plain_ready = false;
        shipment.delivered += usize::from(delivered);
        if imported.original.is_closed()
            && let Some(account) = imported.importer.upgrade()
        {
            let original = &imported.original;
            self.expired
                .retain(|expired| !Arc::ptr_eq(expired, original));
            self.expired_elsewhere.push((account, Arc::clone(original)));
        }
        delivered
    }
}

/// Requests that go from the account that has this import to another one.
#[derive(Debug)]
pub struct ServiceImport {
    exporter: Weak<Account>,
    subjects: Correspondence,
    export: Arc<ServiceExport>,
    /// Whether the service learns more of who asks than the account.
    share: bool,
    server: Arc<OwnServer>,
}

impl ServiceImport {
    /// An import of the service `exported` of `exporter` as `local`.
    ///
    /// # Errors
    /// The wildcards of both subjects do not correspond.
    pub(super) fn new(
        exporter: &Arc<Account>,
        rules: &ImportRules,
        export: Arc<ServiceExport>,
        server: Arc<OwnServer>,
    ) -> Result<Self, TransformError> {
        Ok(Self {
            exporter: Arc::downgrade(exporter),
            subjects: Correspondence::new(&rules.subject, &rules.local)?,
            export,
            share: rules.share,
            server,
        })
    }

    /// The account that offers the service, unless it is gone.
    pub(super) fn exporter(&self) -> Option<Arc<Account>> {
        self.exporter.upgrade()
    }

    pub(super) fn export(&self) -> &Arc<ServiceExport> {
        &self.export
    }

    pub(super) fn shares(&self) -> bool {
        self.share
    }

    /// The server that passes requests on.
    pub(super) fn server(&self) -> &Arc<OwnServer> {
        &self.server
    }

    /// What the exporting account calls a request on `subject` of the importing one.
    pub(super) fn destination(&self, subject: &[u8], to: &mut Vec<u8>) {
        self.subjects.inward.apply(subject, to);
    }

    /// The subscription of the importing account that takes the requests.
    pub(super) fn subscription(self: &Arc<Self>) -> Option<Arc<Subscription>> {
        let words = Subscribe {
            filter: &self.subjects.local,
            queue: None,
            sid: b"",
        };
        let handling = Handling::Service(Arc::clone(self));
        Subscription::with(&words, Arc::clone(&self.server.peer), handling).map(Arc::new)
    }
}

/// The wire of a peer that is no connection: what is sent to it is gone.
#[derive(Debug)]
pub struct NoWire;

impl Wire for NoWire {
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }

    fn wake(&self) {}
}

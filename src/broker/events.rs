//! What happens to connections, for whoever reports it.

use std::fmt;
use std::sync::Arc;

use super::account::Account;
use super::close::CloseReason;
use super::message_trace::TraceReport;
use super::peer::Peer;

/// Something that happened to a connection.
#[derive(Debug)]
pub enum Event {
    /// It has introduced itself and belongs to an account.
    Connected(Arc<Peer>),
    /// One that had introduced itself has ended.
    Disconnected(Arc<Peer>, CloseReason),
    /// It may not come in.
    Refused(Arc<Peer>),
    /// It is cut off because it does not drain what is sent to it.
    SlowConsumer(Arc<Peer>, CloseReason),
    /// It published a message whose way was to be reported.
    Traced(Box<TraceReport>),
    /// It asks the server something about itself or its account.
    Request(Request),
}

/// A question from a connection to the server that it is connected to.
#[derive(Debug)]
pub struct Request {
    /// Who asks.
    pub peer: Arc<Peer>,
    /// The account in which the answer is published.
    pub account: Arc<Account>,
    /// What is asked.
    pub subject: Box<[u8]>,
    /// Where the answer goes.
    pub reply: Box<[u8]>,
    /// Details of the question.
    pub body: Box<[u8]>,
}

/// Hears of events. It is called in the middle of a turn and must return at once.
pub trait Observer: fmt::Debug + Send + Sync {
    /// Takes note of an event.
    fn notice(&self, event: Event);
}

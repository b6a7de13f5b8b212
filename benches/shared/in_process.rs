//! Clients of a broker without sockets: bytes go in by call, what comes out is counted and dropped.

use std::fmt;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use midge::auth::{AuthRules, Authenticator};
use midge::broker::deliver::Deliveries;
use midge::broker::peer::{Facts, Peer, Wire};
use midge::broker::registry::Broker;
use midge::conn::turn::{Input, Link as _, Turn, Verdict};
use midge::link::client::Client;
use midge::link::context::{ClientContext, ClientSettings, Limits, TlsTerms};
use midge::proto::info::Info;

const CONNECT: &[u8] = b"CONNECT {\"verbose\":false,\"pedantic\":false,\"protocol\":1,\
    \"headers\":true,\"no_responders\":true}\r\nPING\r\n";

/// A broker and the space that its clients' turns share.
pub(crate) struct Server {
    context: Arc<ClientContext>,
    deliveries: Deliveries,
}

/// One client.
pub(crate) struct Party {
    client: Client,
    peer: Arc<Peer>,
    received: Arc<AtomicU64>,
}

/// Takes everything at once.
struct Sink(Arc<AtomicU64>);

impl fmt::Debug for Sink {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Sink")
    }
}

impl Wire for Sink {
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        self.0.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }

    fn wake(&self) {}
}

impl Server {
    /// A server with default limits and nobody on it.
    #[expect(
        clippy::expect_used,
        reason = "rules that ask for nothing are always sound"
    )]
    pub(crate) fn new() -> Self {
        let info = Info {
            headers: true,
            max_payload: 1_048_576,
            ..Info::default()
        };
        let broker = Arc::new(Broker::default());
        let authenticator = Authenticator::new(&AuthRules::default(), &[0; 32])
            .expect("rules that ask for nothing are sound");
        let settings = ClientSettings {
            slow: Arc::default(),
            limits: Limits::default(),
            authenticator,
            tls: TlsTerms::default(),
            rates: Arc::default(),
            timeouts: midge::conn::Timeouts::default(),
        };
        let context = ClientContext::new(broker, settings, info);
        Self {
            context: Arc::new(context),
            deliveries: Deliveries::new(1),
        }
    }

    /// A client that has introduced itself and sent `lines`.
    pub(crate) fn connect(&mut self, lines: &[u8]) -> Party {
        let broker = &self.context.broker;
        #[expect(clippy::disallowed_methods, reason = "a connection begins now")]
        let began = (std::time::SystemTime::UNIX_EPOCH, Instant::now());
        let facts = Facts {
            id: broker.next_id(),
            ip: String::new(),
            port: 0,
            began,
            nonce: String::new(),
            label: String::new(),
            unix_user: None,
            in_process: false,
        };
        let received = Arc::new(AtomicU64::new(0));
        let wire = Box::new(Sink(Arc::clone(&received)));
        let peer = Arc::new(Peer::new(facts, wire, Limits::default().max_pending));
        broker.register(Arc::clone(&peer));
        let client = Client::new(Arc::clone(&self.context), Arc::clone(&peer));
        let mut party = Party {
            client,
            peer,
            received,
        };
        self.turn(&mut party, CONNECT);
        self.turn(&mut party, lines);
        party
    }

    /// Serves `bytes` from `party` as one turn; false when they are not whole or not welcome.
    #[expect(
        clippy::disallowed_methods,
        reason = "stands for the layer that reads the clock"
    )]
    pub(crate) fn turn(&mut self, party: &mut Party, bytes: &[u8]) -> bool {
        let now = Instant::now();
        let mut turn = Turn {
            deliveries: &mut self.deliveries,
            peer: &party.peer,
            now,
            messages: 0,
            introduced: false,
            ponged: false,
            pause: None,
        };
        let served = party.client.serve(
            &mut turn,
            Input {
                bytes,
                source: None,
            },
        );
        self.deliveries.flush(now);
        matches!(served.verdict, Verdict::Continue) && served.consumed == bytes.len()
    }
}

impl Party {
    /// Bytes that were sent to it.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

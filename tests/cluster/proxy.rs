//! A path between two servers that the test can cut and slow down.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Forwards connections to a port for as long as it is not dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    cut: AtomicBool,
    ended: AtomicBool,
    /// Milliseconds that each portion of bytes takes.
    delay: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// A path to `target`.
    pub(crate) fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let state = Arc::new(State::default());
        let accepting = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.ended.load(Ordering::SeqCst) {
                    return;
                }
                // Held until the connection is among those that the next cut breaks.
                let mut open = accepting.open.lock().expect("a lock");
                if accepting.cut.load(Ordering::SeqCst) {
                    continue;
                }
                if let (Ok(near), Ok(far)) = (stream, TcpStream::connect(("127.0.0.1", target))) {
                    forward(&accepting, &near, &far);
                    forward(&accepting, &far, &near);
                    open.extend([near, far]);
                }
            }
        });
        Self { port, state }
    }

    /// Breaks all connections and refuses new ones.
    pub(crate) fn cut(&self) {
        self.state.cut.store(true, Ordering::SeqCst);
        for stream in self.state.open.lock().expect("a lock").drain(..) {
            stream.shutdown(Shutdown::Both).ok();
        }
    }

    /// Breaks one connection, a different one each time.
    pub(crate) fn cut_one(&self) {
        let mut open = self.state.open.lock().expect("a lock");
        // The two halves of the oldest one.
        let oldest = open.len().min(2);
        for stream in open.drain(..oldest) {
            stream.shutdown(Shutdown::Both).ok();
        }
    }

    pub(crate) fn heal(&self) {
        self.state.cut.store(false, Ordering::SeqCst);
    }

    /// Lets each portion of bytes take that long.
    pub(crate) fn slow_down(&self, delay: Duration) {
        let delay = u64::try_from(delay.as_millis()).expect("a short time");
        self.state.delay.store(delay, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        self.cut();
        // Wakes the thread that accepts.
        TcpStream::connect(("127.0.0.1", self.port)).ok();
    }
}

fn forward(state: &Arc<State>, from: &TcpStream, to: &TcpStream) {
    let (mut from, mut to) = (
        from.try_clone().expect("a handle"),
        to.try_clone().expect("a handle"),
    );
    let state = Arc::clone(state);
    thread::spawn(move || {
        let mut bytes = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            let delay = Duration::from_millis(state.delay.load(Ordering::SeqCst));
            let deadline = Instant::now() + delay;
            while Instant::now() < deadline {
                thread::sleep(delay / 4);
            }
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        to.shutdown(Shutdown::Both).ok();
        from.shutdown(Shutdown::Both).ok();
    });
}

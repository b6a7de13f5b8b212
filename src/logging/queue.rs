//! The bounded queue between the server and the log's destination, and the thread behind it.
//!
//! Lines are rendered straight into one buffer under a lock of a few instructions; the writer thread swaps that
//! buffer against an empty one and writes it at its own pace. Where the destination does not keep up, the buffer
//! grows to its limit, then lines are lost, counted and, as soon as the destination moves again, reported.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fmt, io, mem, thread};

use super::render::{Renderer, Severity};
use super::sink::Sink;

/// Bytes that may wait for the writer thread. A second buffer of this size may be with the writer.
///
/// One line is accepted however long it is if nothing waits, so that a large trace line is not lost for its size.
pub(super) const QUEUE_LIMIT_BYTES: usize = 1024 * 1024;

/// Bytes of capacity that an empty buffer may keep.
const KEPT_CAPACITY_BYTES: usize = 64 * 1024;

/// Stack of the writer thread in bytes; it renders a few notes and writes.
const WRITER_STACK_BYTES: usize = 128 * 1024;

/// A piece of work for the writer thread, in the order of the log.
enum Entry {
    /// A line that ends at this offset of the batch's text.
    Line(usize),
    /// From here on lines go to this destination.
    Replace(Box<dyn Sink>),
}

/// What the writer thread takes in one go.
#[derive(Default)]
struct Batch {
    text: Vec<u8>,
    entries: Vec<Entry>,
    /// The queue's count of lines when the batch was taken.
    accepted: u64,
}

struct State {
    batch: Batch,
    renderer: Renderer,
    /// Lines lost since the last report.
    unreported: u64,
    /// Lines lost in all.
    lost: u64,
    /// Entries ever accepted.
    accepted: u64,
    /// Entries that the writer thread has dealt with.
    finished: u64,
    /// Whether the writer thread waits for work.
    idle: bool,
    /// Set when nobody can log any more.
    closed: bool,
}

struct Shared {
    state: Mutex<State>,
    /// Whether lines are JSON objects; read for each event before it is rendered.
    json: AtomicBool,
    work: Condvar,
    progress: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The side of the queue that logs. The writer thread ends when the last clone is gone.
#[derive(Clone)]
pub(super) struct Producer(Arc<Closer>);

struct Closer(Arc<Shared>);

impl Drop for Closer {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.work.notify_one();
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("lost", &self.lost_lines())
            .finish_non_exhaustive()
    }
}

impl Producer {
    /// Starts the writer thread.
    pub(super) fn start(sink: Box<dyn Sink>, renderer: Renderer) -> io::Result<Self> {
        let json = AtomicBool::new(renderer.is_json());
        let state = State {
            batch: Batch::default(),
            renderer,
            unreported: 0,
            lost: 0,
            accepted: 0,
            finished: 0,
            idle: false,
            closed: false,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            json,
            work: Condvar::new(),
            progress: Condvar::new(),
        });
        let writer = Arc::clone(&shared);
        thread::Builder::new()
            .name("midge-log".into())
            .stack_size(WRITER_STACK_BYTES)
            .spawn(move || write_until_closed(&writer, sink))?;
        Ok(Self(Arc::new(Closer(shared))))
    }

    /// Queues a line of this module's own.
    pub(super) fn line(&self, severity: Severity, message: &str) {
        self.event(severity, message, "");
    }

    /// Queues a line, or counts it as lost if the queue is full.
    pub(super) fn event(&self, severity: Severity, message: &str, fields: &str) {
        let shared = self.shared();
        let mut state = shared.lock();
        let waiting = state.batch.text.len();
        if waiting > 0 && waiting + message.len() + fields.len() > QUEUE_LIMIT_BYTES {
            state.unreported += 1;
            state.lost += 1;
            return;
        }
        state.append(severity, message, fields);
        state.accepted += 1;
        shared.wake(state);
    }

    /// Queues a change of destination and renders later lines for it.
    pub(super) fn replace(&self, sink: Box<dyn Sink>, renderer: Renderer) {
        let shared = self.shared();
        let mut state = shared.lock();
        state.batch.entries.push(Entry::Replace(sink));
        shared.json.store(renderer.is_json(), Ordering::Relaxed);
        state.renderer = renderer;
        state.accepted += 1;
        shared.wake(state);
    }

    /// Whether the fields of events are wanted, as JSON members.
    pub(super) fn wants_fields(&self) -> bool {
        self.shared().json.load(Ordering::Relaxed)
    }

    pub(super) fn flush(&self, patience: Duration) -> bool {
        let shared = self.shared();
        let state = shared.lock();
        let goal = state.accepted;
        let (state, _) = shared
            .progress
            .wait_timeout_while(state, patience, |state| state.finished < goal)
            .unwrap_or_else(PoisonError::into_inner);
        state.finished >= goal
    }

    pub(super) fn lost_lines(&self) -> u64 {
        self.shared().lock().lost
    }

    fn shared(&self) -> &Shared {
        &self.0.0
    }
}

impl Shared {
    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let wake = mem::take(&mut state.idle);
        drop(state);
        if wake {
            self.work.notify_one();
        }
    }

    /// Waits for work and takes all of it, leaving `empty` in its place; false when no more will come.
    fn take(&self, empty: &mut Batch) -> bool {
        let mut state = self.lock();
        while state.batch.entries.is_empty() {
            if state.closed {
                return false;
            }
            state.idle = true;
            state = self
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.idle = false;
        state.report_lost();
        state.batch.accepted = state.accepted;
        mem::swap(&mut state.batch, empty);
        true
    }
}

impl State {
    fn append(&mut self, severity: Severity, message: &str, fields: &str) {
        self.renderer
            .line(&mut self.batch.text, severity, message, fields);
        self.batch.entries.push(Entry::Line(self.batch.text.len()));
    }

    /// Puts the report where the lost lines would have stood: behind the last one that found room.
    fn report_lost(&mut self) {
        match mem::take(&mut self.unreported) {
            0 => {}
            1 => self.append(
                Severity::Warning,
                "Log destination failed or too slow: 1 line lost",
                "",
            ),
            lost => {
                let note = format!("Log destination failed or too slow: {lost} lines lost");
                self.append(Severity::Warning, &note, "");
            }
        }
    }
}

fn write_until_closed(shared: &Shared, mut sink: Box<dyn Sink>) {
    let mut batch = Batch::default();
    while shared.take(&mut batch) {
        let lost = write_batch(&mut sink, &mut batch);
        batch.text.clear();
        batch.text.shrink_to(KEPT_CAPACITY_BYTES);
        let mut state = shared.lock();
        state.lost += lost;
        state.unreported += lost;
        state.finished = batch.accepted;
        drop(state);
        shared.progress.notify_all();
    }
}

/// Writes a batch, changing the destination where the batch says so. Returns how many lines were lost.
fn write_batch(sink: &mut Box<dyn Sink>, batch: &mut Batch) -> u64 {
    let mut ends = Vec::with_capacity(batch.entries.len());
    let mut rest = batch.text.as_slice();
    let mut start = 0;
    let mut lost = 0;
    for entry in batch.entries.drain(..) {
        match entry {
            Entry::Line(end) => ends.push(end - start),
            Entry::Replace(next) => {
                let (lines, later) = rest.split_at(ends.last().copied().unwrap_or(0));
                lost += write_lines(sink.as_mut(), lines, &ends);
                start += lines.len();
                rest = later;
                ends.clear();
                *sink = next;
            }
        }
    }
    lost + write_lines(sink.as_mut(), rest, &ends)
}

fn write_lines(sink: &mut dyn Sink, text: &[u8], ends: &[usize]) -> u64 {
    if ends.is_empty() {
        0
    } else {
        sink.write(text, ends)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::super::LogOptions;
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// Hands each batch over, and waits until somebody takes it.
    struct Handover(SyncSender<String>);

    impl Sink for Handover {
        fn write(&mut self, text: &[u8], _ends: &[usize]) -> u64 {
            self.0
                .send(String::from_utf8(text.to_vec()).unwrap())
                .map_or(1, |()| 0)
        }
    }

    struct Broken;

    impl Sink for Broken {
        fn write(&mut self, _text: &[u8], ends: &[usize]) -> u64 {
            ends.len() as u64
        }
    }

    fn renderer() -> Renderer {
        Renderer::new(&LogOptions {
            timestamps: false,
            ..LogOptions::default()
        })
    }

    fn handover() -> (Box<Handover>, Receiver<String>) {
        let (sender, receiver) = sync_channel(0);
        (Box::new(Handover(sender)), receiver)
    }

    fn receive(receiver: &Receiver<String>) -> String {
        receiver.recv_timeout(PATIENCE).unwrap()
    }

    #[test]
    fn a_stuck_destination_costs_lines_and_never_blocks() {
        let (sink, receiver) = handover();
        let producer = Producer::start(sink, renderer()).unwrap();
        let line = "x".repeat(1000);
        let total = 4 * QUEUE_LIMIT_BYTES / line.len();
        for _ in 0..total {
            producer.line(Severity::Info, &line);
        }
        let lost = producer.lost_lines();
        assert!(lost > 0 && !producer.flush(Duration::from_millis(1)));
        let mut text = String::new();
        while !text.contains("lines lost") {
            text.push_str(&receive(&receiver));
        }
        assert!(producer.flush(PATIENCE));
        assert!(text.ends_with(&format!(
            "[WRN] Log destination failed or too slow: {lost} lines lost\n"
        )));
        assert_eq!(text.matches(&line).count() as u64 + lost, total as u64);
        assert!(text.len() < 2 * QUEUE_LIMIT_BYTES + 2 * line.len());
        producer.line(Severity::Info, "on we go");
        assert!(receive(&receiver).ends_with("[INF] on we go\n"));
    }

    #[test]
    fn a_line_larger_than_the_queue_passes_when_nothing_waits() {
        let (sink, receiver) = handover();
        let producer = Producer::start(sink, renderer()).unwrap();
        producer.line(Severity::Trace, &"y".repeat(2 * QUEUE_LIMIT_BYTES));
        assert!(receive(&receiver).len() > 2 * QUEUE_LIMIT_BYTES);
        assert!(producer.flush(PATIENCE));
        assert_eq!(producer.lost_lines(), 0);
    }

    #[test]
    fn lines_go_to_the_destination_of_their_time() {
        let (first, first_lines) = handover();
        let (second, second_lines) = handover();
        let producer = Producer::start(first, renderer()).unwrap();
        producer.line(Severity::Info, "hold the writer");
        producer.line(Severity::Info, "one");
        producer.replace(second, renderer());
        producer.line(Severity::Info, "two");
        let mut text = receive(&first_lines);
        if !text.contains("one") {
            text.push_str(&receive(&first_lines));
        }
        assert!(text.ends_with("[INF] one\n"), "{text}");
        assert!(receive(&second_lines).ends_with("[INF] two\n"));
        assert!(producer.flush(PATIENCE));
    }

    #[test]
    fn lines_that_a_destination_refuses_are_reported_later() {
        let producer = Producer::start(Box::new(Broken), renderer()).unwrap();
        producer.line(Severity::Info, "lost");
        assert!(producer.flush(PATIENCE));
        assert_eq!(producer.lost_lines(), 1);
        let (sink, receiver) = handover();
        producer.replace(sink, renderer());
        let text = receive(&receiver);
        assert!(
            text.ends_with(
                "[WRN] Log destination failed or too slow: 1 line lost
"
            ),
            "{text}"
        );
    }

    #[test]
    fn the_writer_ends_with_its_last_producer() {
        let (sink, receiver) = handover();
        let producer = Producer::start(sink, renderer()).unwrap();
        drop(producer.clone());
        producer.line(Severity::Info, "last words");
        drop(producer);
        assert!(receive(&receiver).ends_with("last words\n"));
        assert!(
            receiver.recv_timeout(PATIENCE).is_err(),
            "the sink was dropped with its thread"
        );
    }
}

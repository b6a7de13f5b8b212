//! Clients of a cluster whose nodes and paths fail, with async-nats.
//!
//! Four connections: one publishes numbers, one receives them, one asks and one answers, all without a
//! pause. The test that starts this program says on its input, line by line, what it wants to know, and
//! each line gets one line of answer; `python/cluster.py` tells which.

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event, Request};
use futures_util::StreamExt;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep};

/// Between two numbers, and between two requests.
const PAUSE: Duration = Duration::from_millis(2);

/// Within this a request must be answered.
const REQUEST_DEADLINE: Duration = Duration::from_secs(20);

/// Within this a cluster that has lost a node must serve its clients again, on a busy machine.
const STEADY_DEADLINE: Duration = Duration::from_secs(90);

/// Requests in a row that must be answered before a cluster counts as steady.
const STEADY_REQUESTS: u64 = 20;

/// Between two looks at what nothing announces.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// What the connections have seen.
#[derive(Debug, Default)]
struct Seen {
    published: u64,
    arrived: BTreeMap<u64, u64>,
    disordered: u64,
    answered: u64,
    failed: u64,
    in_a_row: u64,
}

impl Seen {
    /// One more than the largest number that has arrived.
    fn reached(&self) -> u64 {
        self.arrived
            .last_key_value()
            .map_or(0, |(last, _)| last + 1)
    }
}

struct Party {
    seen: Arc<Mutex<Seen>>,
    clients: [Client; 4],
    lost: Arc<Notify>,
    tasks: Vec<JoinHandle<Outcome>>,
}

impl Party {
    async fn start() -> Outcome<Self> {
        let seen: Arc<Mutex<Seen>> = Arc::default();
        // Told when the request under way is lost: the one that asks or answers has lost its server.
        let lost = Arc::new(Notify::new());
        let others = Arc::default();
        let [sender, receiver, asker, answerer] = [
            connect("SENDER_URLS", &others).await?,
            connect("RECEIVER_URLS", &others).await?,
            connect("ASKER_URLS", &lost).await?,
            connect("ANSWERER_URLS", &lost).await?,
        ];
        let tasks = vec![
            tokio::spawn(receive(receiver.clone(), Arc::clone(&seen))),
            tokio::spawn(answer(answerer.clone())),
            tokio::spawn(publish(sender.clone(), Arc::clone(&seen))),
            tokio::spawn(ask(asker.clone(), Arc::clone(&seen), Arc::clone(&lost))),
        ];
        let clients = [sender, receiver, asker, answerer];
        Ok(Self {
            seen,
            clients,
            lost,
            tasks,
        })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }

    async fn steady(&self) -> String {
        let begin = {
            let mut seen = self.seen();
            seen.in_a_row = 0;
            seen.published
        };
        let is_steady = || {
            let seen = self.seen();
            seen.in_a_row >= STEADY_REQUESTS && seen.reached() > begin
        };
        if wait_until(is_steady).await {
            return "steady".to_owned();
        }
        let seen = self.seen();
        let (row, reached) = (seen.in_a_row, seen.reached());
        format!("not steady: {row} requests in a row, {reached} of {begin} arrived")
    }

    async fn gaps(&self, begin: u64, end: u64) -> String {
        // What is missing at the deadline counts as lost.
        wait_until(|| self.seen().reached() >= end).await;
        let seen = self.seen();
        let missing = (begin..end).filter(|number| !seen.arrived.contains_key(number));
        format!("gaps {}", missing.count())
    }

    async fn reply(&self, words: &[&str]) -> Outcome<String> {
        Ok(match words {
            ["retry"] => {
                self.lost.notify_waiters();
                "retry".to_owned()
            }
            ["steady"] => self.steady().await,
            ["mark"] => {
                let seen = self.seen();
                format!("mark {} {} {}", seen.published, seen.answered, seen.failed)
            }
            ["gaps", begin, end] => self.gaps(begin.parse()?, end.parse()?).await,
            ["where"] => {
                let names = self.clients.each_ref();
                let names = names.map(|client| client.server_info().server_name);
                format!("where {}", names.join(" "))
            }
            ["check"] => {
                let seen = self.seen();
                let duplicates = seen.arrived.values().filter(|times| **times > 1);
                format!("check {} {}", duplicates.count(), seen.disordered)
            }
            ["end"] => {
                self.tasks.iter().for_each(JoinHandle::abort);
                for client in &self.clients {
                    client.drain().await?;
                }
                "end".to_owned()
            }
            _ => format!("unknown: {words:?}"),
        })
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until something is true; whether it has come true in time.
async fn wait_until(is_true: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + STEADY_DEADLINE;
    while !is_true() {
        if Instant::now() > deadline {
            return false;
        }
        sleep(LOOK_INTERVAL).await;
    }
    true
}

/// A connection to the first of the servers that a variable of the environment names. `reconnected` is
/// told when it is there again.
async fn connect(variable: &str, reconnected: &Arc<Notify>) -> Outcome<Client> {
    let reconnected = Arc::clone(reconnected);
    let urls = env::var(variable)?;
    let urls: Vec<&str> = urls.split(',').collect();
    let options = ConnectOptions::new()
        .retain_servers_order()
        .connection_timeout(Duration::from_secs(3))
        .ping_interval(Duration::from_secs(1))
        .event_callback(move |event| {
            if event == Event::Connected {
                reconnected.notify_waiters();
            }
            async {}
        })
        .reconnect_delay_callback(|_| Duration::from_millis(100));
    Ok(options.connect(urls).await?)
}

async fn receive(client: Client, seen: Arc<Mutex<Seen>>) -> Outcome {
    let mut numbers = client.subscribe("numbers").await?;
    while let Some(message) = numbers.next().await {
        let number: u64 = std::str::from_utf8(&message.payload)?.parse()?;
        let mut seen = lock(&seen);
        seen.disordered += u64::from(number + 1 < seen.reached());
        *seen.arrived.entry(number).or_default() += 1;
    }
    Ok(())
}

async fn answer(client: Client) -> Outcome {
    let mut requests = client.subscribe("service").await?;
    while let Some(request) = requests.next().await {
        if let Some(reply) = request.reply {
            client.publish(reply, request.payload).await?;
        }
    }
    Ok(())
}

/// Ticks no faster than one [`PAUSE`] after the other, however late the last one was.
fn pace() -> Interval {
    let mut pace = interval(PAUSE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}

async fn publish(client: Client, seen: Arc<Mutex<Seen>>) -> Outcome {
    let mut pace = pace();
    loop {
        pace.tick().await;
        let number = lock(&seen).published;
        client.publish("numbers", number.to_string().into()).await?;
        lock(&seen).published += 1;
    }
}

async fn ask(client: Client, seen: Arc<Mutex<Seen>>, lost: Arc<Notify>) -> Outcome {
    let mut pace = pace();
    loop {
        pace.tick().await;
        let question = lock(&seen).answered.to_string();
        let request = Request::new()
            .payload(question.clone().into())
            .timeout(Some(REQUEST_DEADLINE));
        let is_right = tokio::select! {
            () = lost.notified() => false,
            answer = client.send_request("service", request) => {
                answer.is_ok_and(|answer| answer.payload == question)
            }
        };
        {
            let mut seen = lock(&seen);
            seen.answered += u64::from(is_right);
            seen.failed += u64::from(!is_right);
            seen.in_a_row = if is_right { seen.in_a_row + 1 } else { 0 };
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let party = Party::start().await?;
    println!("started");
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let words: Vec<&str> = line.split_whitespace().collect();
        println!("{}", party.reply(&words).await?);
        if words == ["end"] {
            return Ok(());
        }
    }
    Ok(())
}

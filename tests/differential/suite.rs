//! The tests: all written conversations, and generated ones for a while.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::env;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::clock::Deadline;
use crate::generate;
use crate::known;
use crate::script::{self, Conversation};
use crate::server::Programs;
use crate::verdict::{GENERATED, KNOWN, Pair, Verdict, WRITTEN, compare_alone};

/// Conversations are spread over this many threads, which mostly wait, each with its own servers.
const WORKERS: usize = 4;
/// As many conversations share one pair of servers at most.
const SHARING: usize = 30;
/// The written conversations that this test promises.
const AT_LEAST: usize = 300;
/// How long conversations are generated unless the environment says otherwise.
const GENERATING: Duration = Duration::from_secs(15);
/// The same on the machines that judge a change.
const GENERATING_IN_CI: Duration = Duration::from_secs(60);
/// More differences than this are not reported one by one.
const REPORTED: usize = 12;

#[test]
fn written_conversations() {
    let conversations = written();
    assert!(
        conversations.len() >= AT_LEAST,
        "only {} conversations",
        conversations.len()
    );
    let wanted = env::var("MIDGE_CONVERSATION").unwrap_or_default();
    let chosen: Vec<Conversation> = conversations
        .into_iter()
        .filter(|conversation| is_wanted(conversation, &wanted))
        .collect();
    assert!(!chosen.is_empty(), "no conversation is called {wanted}");
    let Some(programs) = programs("written_conversations") else {
        return;
    };
    let verdicts = compare_all(&programs, chosen);
    let mut report = Report::default();
    for (conversation, verdict) in &verdicts {
        report.take(&programs, conversation, verdict);
    }
    if wanted.is_empty() && !programs.are_the_same() {
        report.complain_about_unused_entries();
    }
    let (compared, unsupported) = (verdicts.len() - report.unsupported, report.unsupported);
    say(&format!("{compared} written conversations compared"));
    if unsupported > 0 {
        let options = known::unsupported().join(", ");
        say(&format!(
            "skipped: {unsupported} written conversations that need {options}"
        ));
    }
    report.finish();
}

/// Whether the title or the file of `conversation` holds one of the `wanted` texts, if there are any.
fn is_wanted(conversation: &Conversation, wanted: &str) -> bool {
    let holds =
        |text: &str| conversation.title.contains(text) || conversation.origin.contains(text);
    wanted.is_empty() || wanted.split(',').any(holds)
}

#[test]
fn generated_conversations() {
    let Some(programs) = programs("generated_conversations") else {
        return;
    };
    if let Ok(seed) = env::var("MIDGE_SEED") {
        let conversation = generate::conversation(seed.parse().unwrap());
        say(&conversation.to_string());
        return judge_generated(&programs, &conversation);
    }
    let first = RandomState::new().hash_one("seed");
    let deadline = Deadline::after(generating());
    let count = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                let mut pairs = HashMap::new();
                while !deadline.is_over() {
                    let number = count.fetch_add(1, Ordering::Relaxed);
                    let conversation = generate::conversation(first.wrapping_add(number as u64));
                    if compare_sharing(&programs, &mut pairs, &conversation) != Verdict::Same {
                        judge_generated(&programs, &conversation);
                    }
                }
            });
        }
    });
    say(&format!(
        "{} generated conversations compared, first seed {first}",
        count.into_inner()
    ));
}

#[test]
fn every_known_difference_names_a_conversation() {
    let conversations = written();
    for entry in known::differences() {
        let found = conversations
            .iter()
            .any(|conversation| known::explains(&entry, &conversation.title));
        assert!(
            found,
            "docs/compatibility.md explains {entry:?}, which no conversation is called"
        );
    }
}

#[test]
fn titles_are_unique() {
    let mut origins = BTreeMap::new();
    for conversation in written() {
        let other = origins.insert(conversation.title.clone(), conversation.origin.clone());
        assert_eq!(
            other, None,
            "{} is used twice, at {}",
            conversation.title, conversation.origin
        );
    }
}

/// All conversations in the files beside this one.
fn written() -> Vec<Conversation> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential/conversations");
    let mut files: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let read = |file: &PathBuf| {
        let name = file.file_name().unwrap().to_string_lossy();
        script::read(&name, &fs::read_to_string(file).unwrap()).unwrap()
    };
    files.iter().flat_map(read).collect()
}

/// The programs to compare; `None`, said aloud, when the reference is not there.
pub(crate) fn programs(test: &str) -> Option<Programs> {
    let kept =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/.cache/python/bin/nats-server");
    let reference = env::var_os("MIDGE_NATS_SERVER").map_or(kept, PathBuf::from);
    if !reference.exists() {
        assert_ne!(
            env::var("CI").as_deref(),
            Ok("true"),
            "no nats-server at {}",
            reference.display()
        );
        say(&format!(
            "skipped: {test}: no nats-server at {}",
            reference.display()
        ));
        return None;
    }
    let tested = env::var_os("MIDGE_BINARY")
        .map_or_else(|| env!("CARGO_BIN_EXE_midge").into(), PathBuf::from);
    Some(Programs { reference, tested })
}

fn reported() -> usize {
    env::var("MIDGE_DIFFERENCES")
        .ok()
        .map_or(REPORTED, |text| text.parse().unwrap())
}

fn generating() -> Duration {
    let in_ci = env::var("CI").as_deref() == Ok("true");
    let seconds = env::var("MIDGE_DIFFERENTIAL_SECONDS")
        .ok()
        .map(|text| text.parse().unwrap());
    seconds.map_or(
        if in_ci { GENERATING_IN_CI } else { GENERATING },
        Duration::from_secs,
    )
}

/// Compares all, in batches that share their servers.
fn compare_all(
    programs: &Programs,
    conversations: Vec<Conversation>,
) -> Vec<(Conversation, Verdict)> {
    let mut same_servers: BTreeMap<String, Vec<Conversation>> = BTreeMap::new();
    for conversation in conversations {
        same_servers
            .entry(conversation.configuration.clone())
            .or_default()
            .push(conversation);
    }
    let batches: VecDeque<Vec<Conversation>> = same_servers
        .into_values()
        .flat_map(|all| all.chunks(SHARING).map(<[_]>::to_vec).collect::<Vec<_>>())
        .collect();
    let (batches, verdicts) = (Mutex::new(batches), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(batch) = next(&batches) {
                    let mut pairs = HashMap::new();
                    for conversation in batch {
                        let verdict = compare_written(programs, &mut pairs, &conversation);
                        verdicts.lock().unwrap().push((conversation, verdict));
                    }
                }
            });
        }
    });
    let mut verdicts = verdicts.into_inner().unwrap();
    verdicts.sort_by(|(a, _), (b, _)| a.origin.cmp(&b.origin));
    verdicts
}

fn next(batches: &Mutex<VecDeque<Vec<Conversation>>>) -> Option<Vec<Conversation>> {
    batches.lock().unwrap().pop_front()
}

type Pairs = HashMap<String, Pair>;

/// A difference on shared servers counts if servers of its own show it too.
fn compare_written(programs: &Programs, pairs: &mut Pairs, conversation: &Conversation) -> Verdict {
    let is_known = known::differences()
        .iter()
        .any(|entry| known::explains(entry, &conversation.title));
    if is_known {
        return compare_alone(programs, conversation, KNOWN);
    }
    if !conversation.tolerance.alone {
        let pair = match started(programs, pairs, conversation) {
            Ok(pair) => pair,
            Err(verdict) => return verdict,
        };
        match pair.compare(conversation, WRITTEN) {
            Verdict::Different(_) => {}
            verdict @ (Verdict::Same | Verdict::Unsupported(_) | Verdict::Broken(_)) => {
                return verdict;
            }
        }
        pairs.remove(&conversation.configuration);
    }
    compare_alone(programs, conversation, WRITTEN)
}

fn compare_sharing(programs: &Programs, pairs: &mut Pairs, conversation: &Conversation) -> Verdict {
    let verdict = match started(programs, pairs, conversation) {
        Ok(pair) => pair.compare(conversation, GENERATED),
        Err(verdict) => return verdict,
    };
    if verdict != Verdict::Same {
        pairs.remove(&conversation.configuration);
    }
    verdict
}

/// The servers of `conversation`'s configuration, started by the first that needs them.
fn started<'a>(
    programs: &Programs,
    pairs: &'a mut Pairs,
    conversation: &Conversation,
) -> Result<&'a mut Pair, Verdict> {
    let configuration = &conversation.configuration;
    if !pairs.contains_key(configuration) {
        pairs.insert(configuration.clone(), Pair::start(programs, configuration)?);
    }
    Ok(pairs.get_mut(configuration).unwrap())
}

/// Fails with the shortest part of `conversation` that differs, if it differs on new servers.
fn judge_generated(programs: &Programs, conversation: &Conversation) {
    let compare = |part: &Conversation| compare_alone(programs, part, GENERATED);
    let verdict = compare(conversation);
    if verdict == Verdict::Same {
        return;
    }
    let shortest = generate::minimise(conversation, |part| {
        matches!(compare(part), Verdict::Different(_))
    });
    let again = compare(&shortest);
    let verdict = if again == Verdict::Same {
        verdict
    } else {
        again
    };
    panic!(
        "{shortest}\n{}\nagain with MIDGE_SEED={}",
        explain(&verdict),
        conversation.title.trim_start_matches("seed ")
    );
}

fn explain(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Same => "the difference did not come again".into(),
        Verdict::Different(text) | Verdict::Broken(text) => text.clone(),
        Verdict::Unsupported(options) => format!("not supported: {options:?}"),
    }
}

/// Collects what is wrong.
#[derive(Default)]
struct Report {
    complaints: Vec<String>,
    /// Entries of the document that were of use.
    used: BTreeSet<String>,
    /// Conversations that need an option that is not supported yet.
    unsupported: usize,
}

impl Report {
    fn take(&mut self, programs: &Programs, conversation: &Conversation, verdict: &Verdict) {
        let explained = |entry: &String| known::explains(entry, &conversation.title);
        match verdict {
            Verdict::Same => return,
            Verdict::Different(_) if !programs.are_the_same() => {
                if let Some(entry) = known::differences().into_iter().find(explained) {
                    self.used.insert(entry);
                    return;
                }
            }
            Verdict::Unsupported(options) => {
                let listed = known::unsupported();
                if options.iter().all(|option| listed.contains(option)) {
                    self.unsupported += 1;
                    self.used.extend(options.iter().cloned());
                    return;
                }
            }
            Verdict::Different(_) | Verdict::Broken(_) => {}
        }
        let (origin, text) = (&conversation.origin, explain(verdict));
        self.complaints
            .push(format!("{origin}\n{conversation}\n{text}"));
    }

    fn complain_about_unused_entries(&mut self) {
        for entry in known::differences().into_iter().chain(known::unsupported()) {
            if !self.used.contains(&entry) {
                let complaint =
                    format!("{entry:?} is no longer true: remove it from docs/compatibility.md");
                self.complaints.push(complaint);
            }
        }
    }

    fn finish(self) {
        let count = self.complaints.len();
        let shown = self.complaints[..count.min(reported())].join("\n----\n");
        assert!(count == 0, "{count} differences\n{shown}");
    }
}

#[expect(
    clippy::print_stderr,
    reason = "what a run did and did not do is part of its result"
)]
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}

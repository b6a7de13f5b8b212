//! Which functions run while a server starts and waits for its first client: `cargo bench --bench start_order`.
//!
//! `layout/start.ld` tells the linker to lay those side by side. The kernel maps an executable 64 KiB at a time,
//! so what is strewn over all of it costs three times the memory (docs/performance.md, "Idle memory").
//! Without arguments this tells how many functions the list lacks; `-- --update` writes it anew. A list that
//! is out of date costs memory and nothing else. `MIDGE_BINARY` names another executable, with its symbols.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a command-line program reports on its standard streams and waits by the clock"
)]

use std::collections::{BTreeSet, HashMap};
use std::error::Error;
use std::fs;
use std::io::Read as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Threads meet a little differently each time.
const RUNS: usize = 3;
/// How long a start may take under valgrind.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long the server is left alone after its first client.
const IDLE: Duration = Duration::from_secs(2);

/// Before the list. What is not Rust and runs at start comes first.
const HEAD: &str = "\
/* What runs while the server starts and idles, laid side by side. Written by
   `cargo bench --bench start_order -- --update`; names that are not there do no harm. */
SECTIONS {
  .text.start : {
    *crt*.o(.text) *(.text.main .text.ring_core_*_OPENSSL_cpuid_setup)
";
/// After the list: what runs before `main`; constants apart from tables of cryptography, which are far larger.
const TAIL: &str = "  }
  .init : { KEEP(*(.init)) }
} INSERT AFTER .text;
SECTIONS {
  .rodata.start : { *sha256*(.rodata) *(.rodata.str1.1 .rodata.cst* .rodata..L*) }
} INSERT BEFORE .rodata;
";

fn main() -> ExitCode {
    let updates = std::env::args().any(|argument| argument == "--update");
    match run(updates) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("start_order: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(updates: bool) -> Outcome<String> {
    let valgrind = Command::new("valgrind").arg("--version").output();
    if valgrind.is_err() {
        return Ok("skipped: order at start: valgrind is not installed".to_owned());
    }
    let mut functions = BTreeSet::new();
    for _ in 0..RUNS {
        functions.extend(executed()?.iter().map(|symbol| pattern(symbol)));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("layout/start.ld");
    let lines: Vec<String> = functions.iter().map(|function| line(function)).collect();
    let committed = fs::read_to_string(&path)?;
    let known: BTreeSet<&str> = committed.split_inclusive('\n').collect();
    let lacking = lines
        .iter()
        .filter(|line| !known.contains(line.as_str()))
        .count();
    if updates {
        fs::write(&path, format!("{HEAD}{}{TAIL}", lines.concat()))?;
    }
    let count = functions.len();
    Ok(format!(
        "{count} functions run at start, {lacking} of them were not in the list"
    ))
}

/// One function's sections: itself, its copies and what the compiler thinks unlikely.
fn line(function: &str) -> String {
    format!("    *(.text*.{function}*)\n")
}

/// A server under valgrind, killed when dropped.
struct Traced(Child);

impl Drop for Traced {
    fn drop(&mut self) {
        // Both fail only when the process has ended.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The symbols of the functions that one server executes, from its start over one greeting until it idles.
fn executed() -> Outcome<BTreeSet<String>> {
    let directory = tempfile::tempdir()?;
    let profile = directory.path().join("profile");
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--demangle=no", "--quiet"])
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(std::env::var_os("MIDGE_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_midge").into()))
        .args(["-a", "127.0.0.1", "-p", "-1", "--ports_file_dir"])
        .arg(directory.path())
        .stderr(Stdio::null());
    let server = Traced(command.spawn()?);
    let address = greeting_address(directory.path())?;
    let mut client = TcpStream::connect(address)?;
    client.set_read_timeout(Some(START_LIMIT))?;
    client.read_exact(&mut [0_u8; 4])?;
    drop(client);
    thread::sleep(IDLE);
    let control = Command::new("callgrind_control")
        .arg("--dump")
        .arg(server.0.id().to_string())
        .output()?;
    if !control.status.success() {
        return Err(format!("callgrind_control: {}", control.status).into());
    }
    // A dump on request is numbered.
    Ok(functions(&fs::read_to_string(profile.with_extension("1"))?))
}

/// Where the server says it listens, as soon as it does.
fn greeting_address(directory: &Path) -> Outcome<String> {
    let began = Instant::now();
    while began.elapsed() < START_LIMIT {
        let written = ports_file(directory)?.map(fs::read_to_string).transpose()?;
        let address = written
            .as_deref()
            .and_then(|text| text.split("nats://").nth(1));
        if let Some((address, _)) = address.and_then(|rest| rest.split_once('"')) {
            return Ok(address.to_owned());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Err("the server does not listen".into())
}

fn ports_file(directory: &Path) -> Outcome<Option<PathBuf>> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "ports")
        {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Rust functions in a profile. A name is spelled out where it first occurs, later there is only its number.
fn functions(profile: &str) -> BTreeSet<String> {
    let mut names = HashMap::new();
    let mut executed = BTreeSet::new();
    for line in profile.lines() {
        let is_callee = line.starts_with("cfn=");
        let Some(text) = line
            .strip_prefix("cfn=")
            .or_else(|| line.strip_prefix("fn="))
        else {
            continue;
        };
        let (number, name) = text.split_once(' ').unwrap_or((text, ""));
        if !name.is_empty() {
            names.insert(number, name);
        }
        let name = names
            .get(number)
            .filter(|name| name.starts_with("_R") && !is_callee);
        executed.extend(name.map(|name| (*name).to_owned()));
    }
    executed
}

/// A symbol without what another compiler, another version of a crate or a new neighbour changes: the
/// disambiguators of crates (`Cs…_`) and of closures and `impl` blocks (`s…_`), references to earlier
/// parts (`B…_`, which count bytes), numbers of copies (`.…`).
fn pattern(symbol: &str) -> String {
    let symbol = symbol.split(['.', '\'']).next().unwrap_or(symbol);
    let mut pattern = String::new();
    let mut rest = symbol;
    while let Some(next) = rest.chars().next() {
        let cut = variable(rest, "Cs", 8..=12)
            .or_else(|| variable(rest, "B", 1..=3))
            .or_else(|| variable(rest, "s", 1..=2));
        if let Some((head, tail)) = cut {
            pattern.push_str(head);
            pattern.push_str("*_");
            rest = tail;
        } else {
            pattern.push(next);
            rest = rest.get(next.len_utf8()..).unwrap_or_default();
        }
    }
    without_user(&pattern).to_owned()
}

/// A pattern without the crate at its end, the one whose code made this copy of a generic function: any
/// of those that need one may.
fn without_user(pattern: &str) -> &str {
    let Some((function, user)) = pattern.rsplit_once("Cs*_") else {
        return pattern;
    };
    let digits = user.bytes().take_while(u8::is_ascii_digit).count();
    let (length, name) = user.split_at(digits);
    if length.parse() == Ok(name.len()) {
        function
    } else {
        pattern
    }
}

/// If the text begins with `head`, so many letters or digits and `_`: `head`, and what follows.
fn variable<'text>(
    text: &'text str,
    head: &'text str,
    length: std::ops::RangeInclusive<usize>,
) -> Option<(&'text str, &'text str)> {
    let (number, tail) = text.strip_prefix(head)?.split_once('_')?;
    let is_number = number.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (is_number && length.contains(&number.len())).then_some((head, tail))
}

//! Runs the checks of this program, each with a deadline, and reports them by name.

use std::error::Error;
use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::timeout;

/// Time for one check on a busy machine; none of them takes a tenth of it on an idle one.
const CHECK_DEADLINE: Duration = Duration::from_secs(45);

/// Time for one message or event that must come.
const EVENT_DEADLINE: Duration = Duration::from_secs(20);

/// What a check returns.
pub type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// A check under way.
pub type Run = Pin<Box<dyn Future<Output = Outcome>>>;

/// A check: its name and what starts it.
pub type Check = (&'static str, fn() -> Run);

/// Fails the check unless both values are the same.
pub fn expect_equal<T: PartialEq<U> + Debug, U: Debug>(
    actual: T,
    wanted: U,
    what: &str,
) -> Outcome {
    if actual == wanted {
        return Ok(());
    }
    Err(format!("{what}: {actual:?} instead of {wanted:?}").into())
}

/// Fails the check unless the condition holds.
pub fn expect(condition: bool, what: &str) -> Outcome {
    if condition { Ok(()) } else { Err(what.into()) }
}

/// Waits for something that must happen.
pub async fn event<T>(future: impl Future<Output = T>, what: &str) -> Outcome<T> {
    let outcome = timeout(EVENT_DEADLINE, future).await;
    outcome.map_err(|_| format!("did not happen within {EVENT_DEADLINE:?}: {what}").into())
}

/// Asks the test that started this program to do something, and waits until it is done.
pub async fn control(action: &str) -> Outcome {
    println!("control {action}");
    let mut answer = String::new();
    // The other side answers one line at a time, so nothing is lost with the buffer of this reader.
    let mut input = BufReader::new(tokio::io::stdin());
    // It has deadlines of its own and answers in any case.
    input.read_line(&mut answer).await?;
    expect_equal(answer.trim(), "done", action)
}

/// Runs the checks in order; returns the exit status of the program.
pub async fn run_all(checks: &[Check]) -> ExitCode {
    let mut status = ExitCode::SUCCESS;
    for (name, start) in checks {
        let outcome = timeout(CHECK_DEADLINE, start()).await;
        match outcome
            .unwrap_or_else(|_| Err(format!("not finished after {CHECK_DEADLINE:?}").into()))
        {
            Ok(()) => println!("ok {name}"),
            Err(error) => {
                println!("not ok {name}: {}", error.to_string().replace('\n', " "));
                status = ExitCode::FAILURE;
            }
        }
    }
    status
}

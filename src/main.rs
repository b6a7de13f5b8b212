//! The `midge` binary: understands its arguments and does what they say.

use std::process::ExitCode;

use midge::cli::{self, Command};
use midge::{daemon, http, signals};

fn main() -> ExitCode {
    let environment = |name: &str| std::env::var(name).ok();
    let outcome = match cli::parse(std::env::args_os(), &environment) {
        Ok(Command::Serve(loaded)) => daemon::run(*loaded),
        Ok(Command::Print(text)) => write(std::io::stdout(), &text),
        Ok(Command::Checked { text, exit_code }) => {
            write(std::io::stdout(), &text).map(|_| exit_code)
        }
        Ok(Command::Report(text)) => write(std::io::stderr(), &text),
        Ok(Command::HealthCheck(url)) => http::probe::probe(&url)
            .and_then(|answer| write(std::io::stdout(), &format!("{answer}\n"))),
        Ok(Command::Signal { command, target }) => {
            signals::send(command.word(), target.as_deref()).map(|()| 0)
        }
        Err(failure) => write(std::io::stderr(), &failure.text).map(|_| failure.exit_code),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(reason) => {
            let _ = write(std::io::stderr(), &format!("midge: {reason}\n"));
            ExitCode::FAILURE
        }
    }
}

/// Writes text; whoever closed the pipe early has seen enough.
fn write(mut stream: impl std::io::Write, text: &str) -> Result<u8, String> {
    match stream
        .write_all(text.as_bytes())
        .and_then(|()| stream.flush())
    {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.to_string()),
        Ok(()) | Err(_) => Ok(0),
    }
}

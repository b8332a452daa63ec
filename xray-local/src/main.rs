//! Prints the traces that programs on this machine record.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;
use xray_local::Daemon;

const HELP: &str = "\
Stands in for the AWS X-Ray daemon: prints the traces it receives as trees, and
says which documents break the rules and why. Nothing is sent to AWS.

Usage: xray-local [--listen ADDRESS] [--quiet-ms NUMBER]

  --listen ADDRESS    where to receive UDP; 127.0.0.1:2000 unless given
  --quiet-ms NUMBER   how long after its last document a trace is printed;
                      300 unless given
  --help              this text

Traces go to standard output, everything else to standard error. Ctrl-C prints
what is not finished and ends.
";

fn main() -> ExitCode {
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            let _ = io::stdout().write_all(HELP.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            say(&format!("{problem}\n\n{HELP}"));
            return ExitCode::from(2);
        }
    };
    match serve(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("cannot listen on {}: {error}", options.listen));
            ExitCode::FAILURE
        }
    }
}

fn serve(options: &Options) -> io::Result<()> {
    let (end, ended) = mpsc::channel();
    let output_lost = end.clone();
    let daemon = Daemon::builder()
        .quiet(options.quiet)
        .max_traces(10_000) // those just printed, in case more of them comes
        .on_received(|received| {
            if let Err(rejected) = &received.verdict {
                say(&rejected.to_string());
            }
        })
        .on_trace(move |trace| {
            let mut out = io::stdout().lock();
            if writeln!(out, "{trace}").and_then(|()| out.flush()).is_err() {
                let _ = output_lost.send(());
            }
        })
        .bind(options.listen)?;
    ctrlc::set_handler(move || {
        let _ = end.send(());
    })
    .map_err(io::Error::other)?;
    say(&format!("listening on {}", daemon.address()));

    let _ = ended.recv();
    daemon.stop();
    let mut summary = format!(
        "{} documents, {} rejected",
        daemon.received_count(),
        daemon.rejected_count()
    );
    for (count, what) in [
        (
            daemon.kernel_drops().unwrap_or_default(),
            "dropped by the kernel",
        ),
        (daemon.evicted() as u64, "thrown out to bound memory"),
    ] {
        if count > 0 {
            summary.push_str(&format!(", {count} {what}"));
        }
    }
    say(&summary);
    Ok(())
}

struct Options {
    listen: SocketAddr,
    quiet: Duration,
}

impl Options {
    /// `None` when help is wanted.
    fn read(arguments: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 2000)),
            quiet: Duration::from_millis(300),
        };
        let mut arguments = arguments.peekable();
        while let Some(argument) = arguments.next() {
            let (name, attached) = match argument.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (argument.as_str(), None),
            };
            let value = |arguments: &mut dyn Iterator<Item = String>| {
                let value = attached.clone().or_else(|| arguments.next());
                value.ok_or_else(|| format!("{name} needs a value"))
            };
            match name {
                "--help" | "-h" => return Ok(None),
                "--listen" => {
                    let text = value(&mut arguments)?;
                    options.listen = text
                        .parse()
                        .map_err(|_| format!("--listen needs an address and a port, such as 127.0.0.1:2000, not {text}"))?;
                }
                "--quiet-ms" => {
                    let text = value(&mut arguments)?;
                    let number = text
                        .parse()
                        .map_err(|_| format!("--quiet-ms needs a number, not {text}"))?;
                    options.quiet = Duration::from_millis(number);
                }
                _ => return Err(format!("unknown argument {argument}")),
            }
        }
        Ok(Some(options))
    }
}

/// To standard error, which may be closed.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

//! Prints the traces that programs on this machine record.

mod options;

use options::{HELP, Options};
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::mpsc;
use xray_local::{Daemon, render, render_json};

fn main() -> ExitCode {
    let options = match Options::read(std::env::args_os().skip(1)) {
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
    let listen = options.listen;
    match serve(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("cannot listen on {listen}: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn serve(options: Options) -> io::Result<()> {
    let no_color = std::env::var_os("NO_COLOR");
    let style = options::style(io::stdout().is_terminal(), no_color.as_deref());
    let (end, ended) = mpsc::channel();
    let output_lost = end.clone();
    let daemon = Daemon::builder()
        .quiet(options.quiet)
        .max_traces(options.max_traces)
        .max_bytes(options.max_bytes)
        .filter(options.filter)
        .on_received(|received| {
            if let Err(rejected) = &received.verdict {
                say(&rejected.to_string());
            }
        })
        .on_trace(move |trace| {
            let mut text = String::new();
            // A string takes everything.
            let _ = match options.json {
                true => render_json(trace, &mut text),
                false => render(trace, style, &mut text),
            };
            text.push('\n'); // ends the line of JSON, parts the trees
            let mut out = io::stdout().lock();
            if out
                .write_all(text.as_bytes())
                .and_then(|()| out.flush())
                .is_err()
            {
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
    say(&totals(&daemon));
    Ok(())
}

fn totals(daemon: &Daemon) -> String {
    let (received, rejected) = (daemon.received_count(), daemon.rejected_count());
    let documents = received - rejected;
    let drops = match daemon.kernel_drops() {
        Some(drops) => drops.to_string(),
        None => "an unknown number".to_owned(),
    };
    let traces = daemon.trace_counts();
    format!(
        "datagrams: {received} received, {documents} documents, {rejected} rejected, \
         {drops} dropped by the kernel\n\
         traces: {} finished, {} unfinished, {} filtered out, {} evicted",
        traces.finished, traces.unfinished, traces.filtered_out, traces.evicted
    )
}

/// To standard error, which may be closed.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

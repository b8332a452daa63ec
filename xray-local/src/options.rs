//! The command line.

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;
use xray_local::{Filter, Flag, Style, escape};

pub(crate) const HELP: &str = "\
Stands in for the AWS X-Ray daemon: prints the traces it receives as trees, and
says which documents break the rules and why. Nothing is sent to AWS.

Usage: xray-local [OPTION...]

  --listen ADDRESS    where to receive UDP; 127.0.0.1:2000 unless given
  --quiet-ms NUMBER   how long after its last document a trace is printed, and
                      ten times as long if it misses a parent; 300 unless given
  --json              print each trace as one line of JSON
  --help              this text

Which traces to print. Each of these may be given more than once; all must hold,
each for any segment or subsegment of the trace:

  --name TEXT         its name contains TEXT, in upper or lower case; with a *
                      or ? in TEXT, the whole name is like that
  --flag FLAG         it is marked error, fault, throttle or in_progress
  --annotation KEY[=VALUE]
                      it has this annotation, with just this value if given
  --longer-than TIME  the whole trace took longer than this, such as 250ms, 1.5s
                      or 800us

How much to hold. The oldest trace is thrown out first:

  --max-traces NUMBER traces, also those printed, in case more of them comes;
                      10000 unless given
  --max-bytes NUMBER  memory, by estimate, such as 65536, 100KiB, 64MiB or 1GiB;
                      512MiB unless given

Traces go to standard output, everything else to standard error. On a terminal
faults are red, errors yellow, throttles magenta and times dim, unless NO_COLOR
is set. Ctrl-C prints what is not finished, then the totals, and ends.
";

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    pub(crate) listen: SocketAddr,
    pub(crate) quiet: Duration,
    pub(crate) json: bool,
    pub(crate) filter: Filter,
    pub(crate) max_traces: usize,
    pub(crate) max_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 2000)),
            quiet: Duration::from_millis(300),
            json: false,
            filter: Filter::default(),
            max_traces: 10_000,
            max_bytes: 512 << 20,
        }
    }
}

impl Options {
    /// `None` when help is wanted; what is wrong otherwise, harmless to print.
    pub(crate) fn read(
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Result<Option<Self>, String> {
        let mut arguments = Arguments {
            rest: arguments.into_iter(),
            attached: None,
        };
        let mut options = Self::default();
        while let Some(name) = arguments.name()? {
            let name = name.as_str();
            match name {
                "--help" | "-h" => {
                    arguments.no_value(name)?;
                    return Ok(None);
                }
                "--json" => {
                    arguments.no_value(name)?;
                    options.json = true;
                }
                "--listen" => {
                    let wanted = "an address and a port, such as 127.0.0.1:2000";
                    options.listen = arguments.value(name, wanted, parsed)?;
                }
                "--quiet-ms" => {
                    let quiet = arguments.value(name, "a number", parsed)?;
                    options.quiet = Duration::from_millis(quiet);
                }
                "--max-traces" => {
                    options.max_traces = arguments.value(name, "a number above 0", positive)?;
                }
                "--max-bytes" => {
                    let wanted = "a number above 0, such as 65536 or 64MiB";
                    options.max_bytes = arguments.value(name, wanted, bytes)?;
                }
                _ => options.filter = filter(options.filter, name, &mut arguments)?,
            }
        }
        Ok(Some(options))
    }
}

/// Colours are for people: not for files and pipes, and not against their wish
/// (see <https://no-color.org>).
pub(crate) fn style(is_terminal: bool, no_color: Option<&OsStr>) -> Style {
    if is_terminal && no_color.is_none_or(OsStr::is_empty) {
        Style::Coloured
    } else {
        Style::Plain
    }
}

fn filter(
    filter: Filter,
    name: &str,
    arguments: &mut Arguments<impl Iterator<Item = OsString>>,
) -> Result<Filter, String> {
    match name {
        "--name" => {
            let pattern = arguments.value(name, "some text", not_empty)?;
            Ok(filter.name(&pattern))
        }
        "--flag" => {
            let wanted = "error, fault, throttle or in_progress";
            Ok(filter.flag(arguments.value(name, wanted, flag)?))
        }
        "--annotation" => {
            let annotation = arguments.value(name, "a key or key=value", not_empty)?;
            match annotation.split_once('=') {
                Some(("", _)) => Err("--annotation needs a key before the =".to_owned()),
                Some((key, value)) => Ok(filter.annotation_is(key, value)),
                None => Ok(filter.annotation(annotation)),
            }
        }
        "--longer-than" => {
            let wanted = "a time, such as 250ms or 1.5s";
            Ok(filter.longer_than(arguments.value(name, wanted, time)?))
        }
        _ => Err(format!("unknown argument {}", escape(name))),
    }
}

struct Arguments<I> {
    rest: I,
    /// The value behind the `=` of the latest name.
    attached: Option<String>,
}

impl<I: Iterator<Item = OsString>> Arguments<I> {
    fn name(&mut self) -> Result<Option<String>, String> {
        let Some(argument) = self.next()? else {
            return Ok(None);
        };
        let (name, attached) = match argument.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value)),
            _ => (argument.as_str(), None),
        };
        self.attached = attached.map(str::to_owned);
        Ok(Some(name.to_owned()))
    }

    fn value<T>(
        &mut self,
        name: &str,
        wanted: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, String> {
        let text = match self.attached.take() {
            Some(text) => Some(text),
            None => self.next()?,
        };
        let text = text.ok_or_else(|| format!("{name} needs a value"))?;
        read(&text).ok_or_else(|| format!("{name} needs {wanted}, not `{}`", escape(&text)))
    }

    fn no_value(&mut self, name: &str) -> Result<(), String> {
        match self.attached.take() {
            Some(_) => Err(format!("{name} takes no value")),
            None => Ok(()),
        }
    }

    fn next(&mut self) -> Result<Option<String>, String> {
        let Some(argument) = self.rest.next() else {
            return Ok(None);
        };
        let text = argument.into_string().map_err(|argument| {
            let shown = argument.to_string_lossy();
            format!("not valid UTF-8: {}", escape(&shown))
        })?;
        Ok(Some(text))
    }
}

fn parsed<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

fn positive(text: &str) -> Option<usize> {
    parsed(text).filter(|&number| number > 0)
}

fn not_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn flag(text: &str) -> Option<Flag> {
    match text {
        "error" => Some(Flag::Error),
        "fault" => Some(Flag::Fault),
        "in_progress" => Some(Flag::InProgress),
        "throttle" => Some(Flag::Throttle),
        _ => None,
    }
}

fn bytes(text: &str) -> Option<usize> {
    let unit_at = text.find(|character: char| !character.is_ascii_digit());
    let (number, unit) = text.split_at(unit_at.unwrap_or(text.len()));
    let factor = match unit {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    positive(number)?.checked_mul(factor)
}

fn time(text: &str) -> Option<Duration> {
    // `ms` and `us` first, as `s` ends them too.
    let units = [("ms", 1e3), ("us", 1e6), ("s", 1.0)];
    let (number, per_second) = units
        .iter()
        .find_map(|(unit, per_second)| Some((text.strip_suffix(unit)?, per_second)))?;
    // Leaves out the infinite and what is not a number, which `f64` would read.
    let is_plain = |text: &str| text.chars().all(|one| one.is_ascii_digit() || one == '.');
    let number: f64 = parsed(number).filter(|_| is_plain(number))?;
    Duration::try_from_secs_f64(number / per_second).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Option<Options>, String> {
        Options::read(arguments.iter().map(OsString::from))
    }

    #[track_caller]
    fn reads(arguments: &[&str], expected: Options) {
        assert_eq!(read(arguments), Ok(Some(expected)));
    }

    #[track_caller]
    fn filters(arguments: &[&str], filter: Filter) {
        let others = Options::default();
        reads(arguments, Options { filter, ..others });
    }

    #[track_caller]
    fn refuses(arguments: &[&str], reason: &str) {
        assert_eq!(read(arguments), Err(reason.to_owned()));
    }

    #[test]
    fn defaults_are_those_of_the_help() {
        reads(&[], Options::default());
        let defaults = ["127.0.0.1:2000", "300", "10000", "512MiB"];
        for (name, value) in ["--listen", "--quiet-ms", "--max-traces", "--max-bytes"]
            .iter()
            .zip(defaults)
        {
            reads(&[name, value], Options::default());
            assert!(HELP.contains(&format!("{value} unless given")), "{value}");
        }
    }

    #[test]
    fn values_stand_behind_an_equals_sign_or_apart() {
        let expected = Options {
            listen: SocketAddr::from(([0, 0, 0, 0], 7)),
            quiet: Duration::from_millis(20),
            json: true,
            filter: Filter::default(),
            max_traces: 5,
            max_bytes: 6 << 10,
        };
        reads(
            &[
                "--listen=0.0.0.0:7",
                "--quiet-ms=20",
                "--json",
                "--max-traces=5",
                "--max-bytes=6KiB",
            ],
            expected.clone(),
        );
        let apart = "--max-bytes 6144 --max-traces 5 --json --quiet-ms 20 --listen 0.0.0.0:7";
        reads(&apart.split(' ').collect::<Vec<_>>(), expected);
    }

    #[test]
    fn help() {
        for argument in ["--help", "-h"] {
            assert_eq!(read(&["--json", argument, "--bogus"]), Ok(None));
        }
    }

    #[test]
    fn filters_add_up() {
        let filter = Filter::default;
        filters(&["--name", "--a"], filter().name("--a"));
        filters(&["--name=a=b", "--name=*"], filter().name("a=b").name("*"));
        filters(
            &["--annotation=a", "--annotation", "b=c=d", "--annotation=e="],
            filter()
                .annotation("a")
                .annotation_is("b", "c=d")
                .annotation_is("e", ""),
        );
        filters(
            &["--flag=error", "--flag=fault"],
            filter().flag(Flag::Error).flag(Flag::Fault),
        );
        filters(
            &["--flag=throttle", "--flag=in_progress"],
            filter().flag(Flag::Throttle).flag(Flag::InProgress),
        );
        for (text, duration) in [
            ("250ms", Duration::from_millis(250)),
            ("1.5s", Duration::from_millis(1500)),
            ("800us", Duration::from_micros(800)),
            ("0s", Duration::ZERO),
        ] {
            filters(&["--longer-than", text], filter().longer_than(duration));
        }
    }

    #[test]
    fn bytes_have_units() {
        for (text, expected) in [
            ("1", Some(1)),
            ("2KiB", Some(2 << 10)),
            ("3MiB", Some(3 << 20)),
            ("1GiB", Some(1 << 30)),
            ("1MB", None),
            ("MiB", None),
            ("0", None),
            ("-1", None),
            ("99999999999GiB", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        refuses(&["--bogus"], "unknown argument --bogus");
        refuses(&["x=1"], "unknown argument x=1");
        refuses(&["--\u{1b}[2J"], r"unknown argument --\u{1b}[2J");
        refuses(&["--json=yes"], "--json takes no value");
        refuses(&["--help=yes"], "--help takes no value");
        for name in [
            "--listen",
            "--quiet-ms",
            "--max-traces",
            "--max-bytes",
            "--name",
            "--flag",
            "--annotation",
            "--longer-than",
        ] {
            refuses(&[name], &format!("{name} needs a value"));
        }
        let needs_time = "--longer-than needs a time, such as 250ms or 1.5s";
        for bad in ["", "5", "ms", "-1s", "infs", "nans", "1e3s", "1h", "\u{7}s"] {
            refuses(
                &["--longer-than", bad],
                &format!("{needs_time}, not `{}`", escape(bad)),
            );
        }
        for (argument, reason) in [
            (
                "--listen=2000",
                "--listen needs an address and a port, such as 127.0.0.1:2000, not `2000`",
            ),
            ("--quiet-ms=soon", "--quiet-ms needs a number, not `soon`"),
            (
                "--max-traces=0",
                "--max-traces needs a number above 0, not `0`",
            ),
            (
                "--max-bytes=1MB",
                "--max-bytes needs a number above 0, such as 65536 or 64MiB, not `1MB`",
            ),
            ("--name=", "--name needs some text, not ``"),
            (
                "--flag=Fault",
                "--flag needs error, fault, throttle or in_progress, not `Fault`",
            ),
            (
                "--annotation=",
                "--annotation needs a key or key=value, not ``",
            ),
            ("--annotation==v", "--annotation needs a key before the ="),
        ] {
            refuses(&[argument], reason);
        }
    }

    #[cfg(unix)]
    #[test]
    fn arguments_that_are_not_text_are_refused() {
        use std::os::unix::ffi::OsStringExt;
        let argument = OsString::from_vec(b"--name=\xff\x1b".to_vec());
        assert_eq!(
            Options::read([argument]),
            Err("not valid UTF-8: --name=\u{fffd}\\u{1b}".to_owned())
        );
    }

    #[test]
    fn colours_are_for_terminals() {
        let set = Some(OsStr::new("1"));
        assert_eq!(style(true, None), Style::Coloured);
        assert_eq!(style(true, Some(OsStr::new(""))), Style::Coloured);
        assert_eq!(style(true, set), Style::Plain);
        assert_eq!(style(false, None), Style::Plain);
        assert_eq!(style(false, set), Style::Plain);
    }
}

//! The trace on the lines of `tracing-subscriber`.

use std::fmt::{self, Write};

use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::{KEY, LogId};

/// An event format of `tracing-subscriber` that says on each line where it was
/// written, and leaves the rest to the format inside.
///
/// Lines are unchanged where no trace is. What is current counts, not what
/// `tracing` spans are entered.
///
/// ```
/// use xray_core::XRayFormat;
///
/// // xray=1-66f2a1c0-0123456789abcdef01234567@53995c3f42cd8ad8 2024-09-24T11:25:52Z  INFO shop: order placed
/// let text = tracing_subscriber::fmt().map_event_format(XRayFormat::text);
///
/// // {"xray":"1-66f2a1c0-0123456789abcdef01234567@53995c3f42cd8ad8","timestamp":"2024-09-24T11:25:52Z", ...}
/// let json = tracing_subscriber::fmt().json().map_event_format(XRayFormat::json);
/// # (text.finish(), json.finish());
/// ```
///
/// Settings of the format inside, such as `with_target`, come before
/// `map_event_format`. JSON takes the feature `json` of `tracing-subscriber`.
#[derive(Debug, Clone, Copy)]
pub struct XRayFormat<F> {
    inner: F,
    json: bool,
}

impl<F> XRayFormat<F> {
    /// For a format that writes text: `xray=<id> ` before each line, which
    /// keeps its colours. Where a log agent finds the beginning of a line by
    /// its timestamp, allow for what comes before.
    pub const fn text(inner: F) -> Self {
        Self { inner, json: false }
    }

    /// For a format that writes one JSON object for each event: `xray` becomes
    /// its first member.
    pub const fn json(inner: F) -> Self {
        Self { inner, json: true }
    }
}

impl<S, N, F> FormatEvent<S, N> for XRayFormat<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let id = crate::current().log_id();
        if !id.is_empty() && self.json {
            // Colours end here, as a `Writer` of our own has none. JSON has none.
            let mut object = Object::new(writer, id);
            let writer = Writer::new(&mut object);
            return self.inner.format_event(context, writer, event);
        }
        if !id.is_empty() {
            write!(writer, "{KEY}={id} ")?;
        }
        self.inner.format_event(context, writer, event)
    }
}

/// Puts a member of its own behind the first brace that is written.
struct Object<'a> {
    to: Writer<'a>,
    id: LogId,
    at: Place,
}

#[derive(PartialEq)]
enum Place {
    /// Before the brace.
    Outside,
    /// Behind our member; whether another one follows decides on the comma.
    Between,
    Inside,
}

impl<'a> Object<'a> {
    fn new(to: Writer<'a>, id: LogId) -> Self {
        let at = Place::Outside;
        Self { to, id, at }
    }
}

impl Write for Object<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        if self.at == Place::Outside {
            let Some((before, behind)) = text.split_once('{') else {
                return self.to.write_str(text);
            };
            write!(self.to, "{before}{{\"{KEY}\":\"{}\"", self.id)?;
            self.at = Place::Between;
            rest = behind;
        }
        if self.at == Place::Between
            && let Some(next) = rest.trim_start().chars().next()
        {
            if next != '}' {
                self.to.write_char(',')?;
            }
            self.at = Place::Inside;
        }
        self.to.write_str(rest)
    }
}

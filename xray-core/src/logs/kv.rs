//! The trace as a key and value of `log`.

use log::kv::{Error, Key, Source, ToValue, Value, VisitSource};
use log::{Log, Metadata, Record};

use super::{KEY, LogId};

/// A [`Log`] that adds to each record where it was logged, under the key
/// `xray`, and hands it to the logger inside.
///
/// The record is unchanged where no trace is, and where it has that key
/// already. What becomes of keys and values is up to the logger inside: many
/// write them only when a feature of theirs says so.
///
/// ```
/// # struct YourLogger;
/// # impl log::Log for YourLogger {
/// #     fn enabled(&self, _: &log::Metadata<'_>) -> bool { true }
/// #     fn log(&self, _: &log::Record<'_>) {}
/// #     fn flush(&self) {}
/// # }
/// use xray_core::XRayLogger;
///
/// static LOGGER: XRayLogger<YourLogger> = XRayLogger::new(YourLogger);
/// log::set_logger(&LOGGER)?;
/// log::set_max_level(log::LevelFilter::Info);
/// # Ok::<(), log::SetLoggerError>(())
/// ```
///
/// Without it, a [`LogId`] can be given to single lines:
///
/// ```
/// log::info!(xray = xray_core::current().log_id(); "order placed");
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct XRayLogger<L>(L);

impl<L> XRayLogger<L> {
    /// Adds the trace to what this logger is given.
    pub const fn new(inner: L) -> Self {
        Self(inner)
    }

    /// The logger inside.
    pub fn into_inner(self) -> L {
        self.0
    }
}

impl<L: Log> Log for XRayLogger<L> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        let id = crate::current().log_id();
        if id.is_empty() || record.key_values().get(Key::from(KEY)).is_some() {
            return self.0.log(record);
        }
        let pairs = Pairs(record.key_values(), id);
        self.0.log(&record.to_builder().key_values(&pairs).build());
    }

    fn flush(&self) {
        self.0.flush();
    }
}

/// What the record has, and the trace behind it.
struct Pairs<'a>(&'a dyn Source, LogId);

impl Source for Pairs<'_> {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn VisitSource<'kvs>) -> Result<(), Error> {
        self.0.visit(visitor)?;
        self.1.visit(visitor)
    }
}

/// The pair `xray` and the id; no pair where no trace is.
impl Source for LogId {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn VisitSource<'kvs>) -> Result<(), Error> {
        if self.is_empty() {
            return Ok(());
        }
        visitor.visit_pair(Key::from(KEY), self.to_value())
    }
}

impl ToValue for LogId {
    fn to_value(&self) -> Value<'_> {
        Value::from(&**self)
    }
}

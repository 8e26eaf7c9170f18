//! Logs: one JSON object per line on stdout, in upstream's shape.
//!
//! `ts` (RFC 3339), `caller` (`file.rs:line`), `level`, then the free keys of the event at top level, `msg` among them.
//! Keys of the spans around the event are added; the event's own win.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;
use std::sync::Mutex;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber, info, span};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Scope};
use tracing_subscriber::util::SubscriberInitExt;

/// Failure to start logging.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The value of `--log-level` is unknown.
    #[error("unknown log level {0:?}: must be all, debug, info, warn, error or none")]
    Level(String),
    /// The process logs already.
    #[error("logging was started before")]
    Started(#[from] tracing_subscriber::util::TryInitError),
}

/// The value of `--log-level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Everything, traces included.
    All,
    /// Decisions.
    Debug,
    /// State changes an operator acts on.
    Info,
    /// Trouble that passes.
    Warn,
    /// Trouble that stays.
    Error,
    /// Nothing.
    None,
}

impl FromStr for LogLevel {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "all" => Ok(Self::All),
            "debug" => Ok(Self::Debug),
            "info" => Ok(Self::Info),
            "warn" => Ok(Self::Warn),
            "error" => Ok(Self::Error),
            "none" => Ok(Self::None),
            other => Err(Error::Level(other.to_owned())),
        }
    }
}

impl LogLevel {
    fn filter(self) -> LevelFilter {
        match self {
            Self::All => LevelFilter::TRACE,
            Self::Debug => LevelFilter::DEBUG,
            Self::Info => LevelFilter::INFO,
            Self::Warn => LevelFilter::WARN,
            Self::Error => LevelFilter::ERROR,
            Self::None => LevelFilter::OFF,
        }
    }

    /// Libraries speak only of trouble, unless everything is wanted.
    fn libraries(self) -> LevelFilter {
        match self {
            Self::All => LevelFilter::DEBUG,
            _ => self.filter().min(LevelFilter::WARN),
        }
    }
}

/// Starts logging at `level` and logs the start of `component`.
///
/// # Errors
/// When the level is unknown, or logging was started before.
pub fn init(component: &str, level: &str) -> Result<(), Error> {
    let level: LogLevel = level.parse()?;
    let targets = Targets::new()
        .with_default(level.libraries())
        .with_target("metallb", level.filter());
    tracing_subscriber::registry()
        .with(Lines::new(io::stdout()).with_filter(targets))
        .try_init()?;
    info!(version = env!("CARGO_PKG_VERSION"), "{component} starting");
    Ok(())
}

/// Writes each event as one line of JSON.
struct Lines<W> {
    out: Mutex<W>,
}

impl<W: Write> Lines<W> {
    fn new(out: W) -> Self {
        Self { out: Mutex::new(out) }
    }
}

/// Fields of a span, kept in its extensions.
struct SpanFields(Map<String, Value>);

impl<S, W> Layer<S> for Lines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: Write + 'static,
{
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        let mut fields = Fields(Map::new());
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(SpanFields(fields.0));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut line = Fields(Map::new());
        line.0.insert("ts".into(), rfc3339(Timestamp::now()).into());
        line.0.insert("caller".into(), caller(event).into());
        line.0
            .insert("level".into(), level_name(*event.metadata().level()).into());
        for span in context.event_scope(event).into_iter().flat_map(Scope::from_root) {
            if let Some(fields) = span.extensions().get::<SpanFields>() {
                line.0.extend(fields.0.clone());
            }
        }
        event.record(&mut line);
        self.write(line.0);
    }
}

impl<W: Write> Lines<W> {
    fn write(&self, line: Map<String, Value>) {
        let mut text = Value::Object(line).to_string();
        text.push('\n');
        // Nowhere to report that stdout is gone.
        if let Ok(mut out) = self.out.lock() {
            let _ = out.write_all(text.as_bytes());
        }
    }
}

fn rfc3339(now: Timestamp) -> String {
    format!("{now:.3}")
}

fn caller(event: &Event<'_>) -> String {
    let metadata = event.metadata();
    let file = metadata.file().unwrap_or_else(|| metadata.target());
    let file = file.rsplit('/').next().unwrap_or(file);
    format!("{file}:{}", metadata.line().unwrap_or(0))
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        // Upstream knows nothing below debug.
        _ => "debug",
    }
}

struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        let name = match field.name() {
            "message" => "msg",
            name => name.strip_prefix("r#").unwrap_or(name),
        };
        self.0.insert(name.to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, value.to_string().into());
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tracing::{info_span, warn};

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(run: impl FnOnce()) -> Vec<Value> {
        let buffer = Buffer::default();
        let subscriber = tracing_subscriber::registry().with(Lines::new(buffer.clone()));
        tracing::subscriber::with_default(subscriber, run);
        let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn free_keys_stand_at_top_level_after_ts_caller_and_level() {
        let lines = logged(|| warn!(event = "sessionDown", peer = %"10.0.0.1:179", count = 2, "BGP session down"));
        let keys: Vec<&String> = lines[0].as_object().unwrap().keys().collect();
        assert_eq!(keys, ["ts", "caller", "level", "msg", "event", "peer", "count"]);
        assert_eq!(lines[0]["level"], "warn");
        assert_eq!(lines[0]["event"], "sessionDown");
        assert_eq!(lines[0]["peer"], "10.0.0.1:179");
        assert_eq!(lines[0]["count"], 2);
        assert_eq!(lines[0]["msg"], "BGP session down");
        assert!(lines[0]["caller"].as_str().unwrap().starts_with("telemetry.rs:"));
        assert!(lines[0]["ts"].as_str().unwrap().parse::<Timestamp>().is_ok());
    }

    #[test]
    fn keys_of_the_span_are_added_and_the_events_own_win() {
        let lines = logged(|| {
            let _in = info_span!("peer", peer = "a", node = "n").entered();
            info!(node = "other", "hello");
        });
        assert_eq!(lines[0]["peer"], "a");
        assert_eq!(lines[0]["node"], "other");
    }

    #[test]
    fn every_level_of_upstream_is_known_and_no_other() {
        for level in ["all", "debug", "info", "warn", "error", "none"] {
            assert!(level.parse::<LogLevel>().is_ok());
        }
        assert!("trace".parse::<LogLevel>().is_err());
    }

    #[test]
    fn libraries_are_quiet_unless_all_is_wanted() {
        assert_eq!(LogLevel::Debug.libraries(), LevelFilter::WARN);
        assert_eq!(LogLevel::None.libraries(), LevelFilter::OFF);
        assert_eq!(LogLevel::All.libraries(), LevelFilter::DEBUG);
    }
}

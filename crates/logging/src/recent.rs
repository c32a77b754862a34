//! The last log lines, for reports.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use doctor::LogLine;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

/// Number of lines kept.
const MAX_LINES: usize = 200;

/// Global, like the log of the process.
static LINES: Mutex<VecDeque<LogLine>> = Mutex::new(VecDeque::new());

/// Keeps lines of level INFO and above.
pub(super) struct Recent;

/// The last lines, oldest first.
#[must_use]
pub fn lines() -> Vec<LogLine> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
}

impl<S: Subscriber> Layer<S> for Recent {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let about = event.metadata();
        if *about.level() > Level::INFO {
            return;
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let module = about.module_path().unwrap_or_default();
        let mut line = LogLine::new(now, about.level().as_str(), module, about.line().unwrap_or_default());
        event.record(&mut Fields(&mut line));
        let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == MAX_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

struct Fields<'a>(&'a mut LogLine);

impl Visit for Fields<'_> {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.number(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.number(field.name(), value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.text(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.text(field.name(), &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn recent_lines_are_kept_without_texts() {
        tracing::subscriber::with_default(tracing_subscriber::registry().with(Recent), || {
            for number in 0..MAX_LINES + 1 {
                tracing::info!(number, state = %"connected", error = "wiki.corp.example", "hello, wiki");
            }
            tracing::debug!(number = 9999, "too fine");
        });
        let lines = lines();
        assert_eq!(lines.len(), MAX_LINES);
        let last = lines.last().unwrap();
        assert_eq!(
            last.fields,
            [("number", "200"), ("state", "connected")].map(|it| (it.0.to_owned(), it.1.to_owned())).into()
        );
        assert!(last.place.starts_with("logging::recent::tests:"), "{last:?}");
        assert!(!format!("{lines:?}").contains("wiki"));
    }
}

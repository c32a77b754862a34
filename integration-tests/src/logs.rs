//! Logs of all programs, which are saved when a test fails.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use tracing_subscriber::EnvFilter;

/// Sends logs of this process to standard error; the filter is `RUST_LOG`.
pub fn to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    if subscriber.try_init().is_err() {
        tracing::debug!("logging is set up already");
    }
}

/// The output of one program.
#[derive(Debug)]
pub struct Log {
    name: String,
    since: Instant,
    lines: Mutex<Vec<String>>,
}

/// The output of all programs of one test.
#[derive(Debug)]
pub struct Logs {
    since: Instant,
    logs: Mutex<Vec<Arc<Log>>>,
}

impl Log {
    /// Appends a line, with the seconds since the test began.
    pub fn add(&self, line: &str) {
        let line = format!("{:9.3} {line}", self.since.elapsed().as_secs_f64());
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    /// Whether `text` is in any line.
    #[must_use]
    pub fn contains(&self, text: &str) -> bool {
        self.count(text) > 0
    }

    /// How many lines contain `text`.
    #[must_use]
    pub fn count(&self, text: &str) -> usize {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).iter().filter(|line| line.contains(text)).count()
    }

    /// Everything so far.
    #[must_use]
    pub fn text(&self) -> String {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }
}

impl Default for Logs {
    fn default() -> Self {
        Self { since: Instant::now(), logs: Mutex::default() }
    }
}

impl Logs {
    /// A new log. A program that is started again gets another log of the same name.
    pub fn open(&self, name: &str) -> Arc<Log> {
        let log = Arc::new(Log { name: name.to_owned(), since: self.since, lines: Mutex::default() });
        self.logs.lock().unwrap_or_else(PoisonError::into_inner).push(log.clone());
        log
    }

    /// How many lines of all logs of this name contain `text`.
    #[must_use]
    pub fn count(&self, name: &str, text: &str) -> usize {
        let logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.iter().filter(|log| log.name == name).map(|log| log.count(text)).sum()
    }

    /// Writes all logs into files.
    pub fn keep(&self, story: &str) -> std::io::Result<PathBuf> {
        let parent = std::env::var_os("FIREZONE_TEST_LOGS")
            .map_or_else(|| std::env::temp_dir().join("firezone-tests"), PathBuf::from);
        let directory = parent.join(story);
        if directory.exists() {
            std::fs::remove_dir_all(&directory)?;
        }
        std::fs::create_dir_all(&directory)?;

        for log in self.logs.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            std::fs::write(unused(&directory, &log.name), log.text())?;
        }
        Ok(directory)
    }
}

fn unused(directory: &Path, name: &str) -> PathBuf {
    let mut path = directory.join(format!("{name}.log"));
    let mut number = 2;
    while path.exists() {
        path = directory.join(format!("{name}-{number}.log"));
        number += 1;
    }
    path
}

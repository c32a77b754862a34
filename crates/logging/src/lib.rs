//! The daemon's log: to the journal if systemd has connected standard error to it, else to standard error.
//!
//! This crate owns the log of the process and its filter. It must not know what is logged. [`start`] installs the log, the
//! [`LogHandle`] changes its filter, and [`recent`] returns the last lines for reports.

mod recent;

use std::{fmt, io::Write as _, os::fd::AsFd as _, str::FromStr};

use anyhow::Context as _;
use tracing_subscriber::{EnvFilter, Registry, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _};

pub use recent::lines as recent;

/// Levels for libraries that log ordinary events. The configured filter overrides them.
const LIBRARY_LEVELS: &str = "zbus=warn,hickory_server=warn,hickory_proto=warn,is=warn,rustls=warn";

/// A valid log filter, in the syntax of `RUST_LOG`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filter(String);

/// Changes the filter of the log.
#[derive(Clone, Debug)]
pub struct LogHandle(reload::Handle<EnvFilter, Registry>);

/// Installs the log of this process.
///
/// # Errors
/// A log is installed already.
pub fn start(filter: &Filter) -> anyhow::Result<LogHandle> {
    let (layer, handle) = reload::Layer::new(filter.to_env_filter());
    let registry = tracing_subscriber::registry().with(layer).with(recent::Recent);
    match journal() {
        Some(journal) => registry.with(journal).try_init(),
        None => registry
            .with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(is_terminal()))
            .try_init(),
    }
    .context("start to log")?;
    Ok(LogHandle(handle))
}

impl LogHandle {
    /// Replaces the filter.
    pub fn set_filter(&self, filter: &Filter) {
        if let Err(error) = self.0.reload(filter.to_env_filter()) {
            tracing::warn!(%error, "cannot change the log filter");
        }
    }
}

impl Filter {
    fn to_env_filter(&self) -> EnvFilter {
        // Later directives override earlier ones.
        EnvFilter::new(format!("{LIBRARY_LEVELS},{}", self.0))
    }
}

impl Default for Filter {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

/// An invalid log filter. The library's error is omitted, because it does not identify the invalid part.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("is not a log filter: a level (error, warn, info, debug, trace), or a list as info,tunnel=debug")]
pub struct InvalidFilter;

impl FromStr for Filter {
    type Err = InvalidFilter;

    fn from_str(text: &str) -> Result<Self, InvalidFilter> {
        EnvFilter::try_new(text).map(|_| Self(text.to_owned())).map_err(|_| InvalidFilter)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Logs the error that ends the process, in one line; on standard error if no log is installed yet.
pub fn log_fatal(error: &anyhow::Error) {
    if tracing::dispatcher::has_been_set() {
        tracing::error!(target: "firezoned", "{error:#}");
    } else {
        // A failure cannot be reported anywhere.
        let _written = writeln!(std::io::stderr(), "firezoned: {error:#}");
    }
}

/// The journal, if standard error is connected to it: systemd.exec(5), `$JOURNAL_STREAM`.
fn journal() -> Option<tracing_journald::Layer> {
    let stream = std::env::var("JOURNAL_STREAM").ok()?;
    let (device, inode) = stream.split_once(':')?;
    let stderr = rustix::fs::fstat(std::io::stderr().as_fd()).ok()?;
    let connected = device.parse() == Ok(stderr.st_dev) && inode.parse() == Ok(stderr.st_ino);
    connected.then(|| tracing_journald::layer().ok()).flatten()
}

fn is_terminal() -> bool {
    use std::io::IsTerminal as _;
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

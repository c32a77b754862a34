//! Where the daemon says what it does: the journal if systemd has connected us to it, standard error otherwise.

mod recent;

use std::{fmt, io::Write as _, os::fd::AsFd as _, str::FromStr};

use anyhow::Context as _;
use tracing_subscriber::{EnvFilter, Registry, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _};

pub use recent::lines as recent;

/// Some libraries are chatty about what is ordinary to us. Whoever wants to hear them names them.
const QUIET: &str = "zbus=warn,hickory_server=warn,hickory_proto=warn,is=warn,rustls=warn";

/// What is logged, in the language of `RUST_LOG`; valid.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filter(String);

/// The logs of this process, for whoever may change what is logged.
#[derive(Clone, Debug)]
pub struct Logs(reload::Handle<EnvFilter, Registry>);

/// Starts to log.
pub fn start(filter: &Filter) -> anyhow::Result<Logs> {
    let (layer, handle) = reload::Layer::new(filter.to_env_filter());
    let registry = tracing_subscriber::registry().with(layer).with(recent::Recent);
    match journal() {
        Some(journal) => registry.with(journal).try_init(),
        None => registry
            .with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(is_terminal()))
            .try_init(),
    }
    .context("start to log")?;
    Ok(Logs(handle))
}

impl Logs {
    /// From now on this is logged.
    pub fn set(&self, filter: &Filter) {
        if let Err(error) = self.0.reload(filter.to_env_filter()) {
            tracing::warn!(%error, "cannot change what is logged");
        }
    }
}

impl Filter {
    fn to_env_filter(&self) -> EnvFilter {
        // What comes later wins over what comes earlier about the same library.
        EnvFilter::new(format!("{QUIET},{}", self.0))
    }
}

impl Default for Filter {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

/// Something that is no filter. What the library says of it would be no help: it cannot tell which part is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("is not a log filter: a level (error, warn, info, debug, trace), or a list as info,tunnel=debug")]
pub struct NoFilter;

impl FromStr for Filter {
    type Err = NoFilter;

    fn from_str(text: &str) -> Result<Self, NoFilter> {
        EnvFilter::try_new(text).map(|_| Self(text.to_owned())).map_err(|_| NoFilter)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Says why the process ends, in one line: in the log, or on standard error if there is no log yet.
pub fn last_words(error: &anyhow::Error) {
    if tracing::dispatcher::has_been_set() {
        tracing::error!(target: "firezoned", "{error:#}");
    } else {
        // If this fails there is nobody left to tell.
        let _told = writeln!(std::io::stderr(), "firezoned: {error:#}");
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

//! Where the daemon says what it does: the journal if systemd has connected us to it, standard error otherwise.

use std::{io::Write as _, os::fd::AsFd as _};

use anyhow::Context as _;
use tracing_subscriber::{EnvFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// What is logged unless somebody says otherwise. Some libraries are chatty about what is ordinary to us.
const DEFAULT: &str = "info,zbus=warn,hickory_server=warn,hickory_proto=warn,str0m=warn,is=warn,rustls=warn";

/// Starts to log. `filter` is in the language of `RUST_LOG`.
pub fn start(filter: Option<&str>) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter.unwrap_or(DEFAULT)).context("RUST_LOG")?;
    let registry = tracing_subscriber::registry().with(filter);
    match journal() {
        Some(journal) => registry.with(journal).try_init(),
        None => registry
            .with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(is_terminal()))
            .try_init(),
    }
    .context("start to log")
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

//! Logs of our own programs, and what is done with everybody's when a test fails.

use tracing_subscriber::EnvFilter;

/// Logs of this process go to its standard error; `RUST_LOG` says how much.
pub fn to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    if subscriber.try_init().is_err() {
        tracing::debug!("somebody else has set up logging");
    }
}

//! `dev.firezone.Client1.Diagnostics`: a deeper look, for help with a problem.

#![allow(missing_docs, reason = "what the proxy macro makes cannot be documented; what we write is")]

use zbus::zvariant::OwnedFd;

use crate::{Error, client::NoOptions, dictionary::dictionary, status::PathKind, vocabulary::vocabulary};

vocabulary! {
    /// The result of a check.
    #[derive(Default)]
    pub enum Verdict {
        /// Passed.
        Ok = "ok",
        /// Something may not work.
        Warning = "warning",
        /// Something does not work.
        Failed = "failed",
        /// It cannot be determined.
        #[default]
        Skipped = "skipped",
    }
}

dictionary! {
    /// How a resource is reached at present.
    pub struct ResourcePath {
        /// The resource, a UUID.
        id: String,
        /// Its name.
        name: String,
        /// How it is reached.
        path: PathKind,
        /// The gateway, a UUID.
        gateway: Option<String>,
        /// The site of that gateway.
        site: Option<String>,
        /// Seconds since the last handshake.
        last_handshake_seconds["last-handshake"]: Option<u64>,
        /// Microseconds that the last connectivity check of the path took there and back.
        round_trip_microseconds["round-trip-microseconds"]: Option<u64>,
        /// Bytes sent to the gateway, for all of its resources.
        sent_bytes["sent-bytes"]: Option<u64>,
        /// Bytes received from the gateway, for all of its resources.
        received_bytes["received-bytes"]: Option<u64>,
    }
}

dictionary! {
    /// A check and its result.
    pub struct Check {
        /// `FZ001` and so on; never reused.
        id: String,
        /// Its subject.
        name: String,
        /// Its result.
        result: Verdict,
        /// What was found.
        evidence: String,
        /// The impact; empty if there is none.
        effect: String,
        /// How to fix it; empty if there is nothing to do.
        remedy: String,
    }
}

/// A deeper look, for help with a problem.
#[zbus::proxy(
    interface = "dev.firezone.Client1.Diagnostics",
    default_service = "dev.firezone.Client",
    default_path = "/dev/firezone/Client",
    gen_blocking = false
)]
pub trait Diagnostics {
    /// Looks for what may be wrong on this machine: the checks with these numbers, or all of them if none is named.
    fn run_checks(&self, checks: &[&str], options: NoOptions) -> Result<Vec<Check>, Error>;

    /// Writes a report for whoever helps: one JSON document, without names, addresses, people and secrets.
    ///
    /// `report` is a memfd that can be written. What was in it is replaced. When the call returns, the report is whole.
    fn collect(&self, report: OwnedFd, options: NoOptions) -> Result<(), Error>;

    /// How a resource is reached, by its name or its id.
    fn path(&self, resource: &str) -> Result<ResourcePath, Error>;

    /// Logs by this filter, in the language of the setting `log-filter`; after so many seconds by that setting again.
    /// At most a day. An empty filter goes back at once.
    fn set_log_filter(&self, filter: &str, seconds: u32) -> Result<(), Error>;
}

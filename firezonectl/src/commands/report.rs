//! `report`: what helps others to help, in a file, and what is in it.

use std::{
    fmt,
    fs::OpenOptions,
    io::{self, ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
};

use clap::ValueHint;
use doctor::{LogFrom, Material, Report};
use serde::Serialize;

use super::{Surroundings, doctor::facts};
use crate::{
    client::Daemon,
    failure::{Failure, in_words},
    output::{SCHEMA, Show, Style},
};

/// Shown below the options.
pub(super) const HELP: &str = "\
The file is for you to read and to give to somebody; nothing is sent anywhere. It has no names, addresses, people or \
tokens: what has a name has a number there.

Example: firezonectl report firezone.json";

/// What was typed after `report`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The file to write; it must not exist yet
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,
}

/// What was written.
#[derive(Debug, Serialize)]
pub(super) struct Written {
    schema: u32,
    file: String,
    /// `daemon`, or `machine` if there is no daemon that tells.
    by: &'static str,
    /// Why the daemon tells nothing.
    without: Option<String>,
    /// Where the lines of the log come from, or why there are none.
    log_from: LogFrom,
    parts: Vec<Part>,
}

/// One part of it.
#[derive(Debug, Serialize)]
struct Part {
    name: &'static str,
    /// How much of it there is.
    entries: usize,
    /// What that is.
    about: &'static str,
}

pub(super) async fn run(args: &Args, around: &Surroundings<'_>) -> Result<Written, Failure> {
    let (by, without, text) = match their_report(around).await {
        Ok(text) => ("daemon", None, text),
        Err(why) => {
            let made_by = concat!("firezonectl ", env!("CARGO_PKG_VERSION")).to_owned();
            let (log, log_from) = ::doctor::journal::read().await;
            let material = Material { made_by, facts: facts(around).await, log, log_from, ..Material::default() };
            let text = Report::of(&material).to_json().map_err(|error| Failure::Failed(error.to_string()))?;
            ("machine", Some(why.to_string()), text)
        }
    };
    // What cannot be read is not handed on.
    let report = Report::from_json(&text)
        .map_err(|error| Failure::Failed(format!("the daemon's report makes no sense: {error}")))?;
    let file = args.file.display().to_string();
    let cannot = |error: &io::Error| Failure::Failed(format!("cannot write {file}: {}", in_words(error)));
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&args.file).map_err(|error| {
        match error.kind() {
            ErrorKind::AlreadyExists => Failure::Failed(format!("{file} exists already")),
            _ => cannot(&error),
        }
    })?;
    out.write_all(text.as_bytes()).map_err(|error| cannot(&error))?;
    Ok(Written { schema: SCHEMA, file, by, without, log_from: report.log_from, parts: parts(&report) })
}

/// The daemon's, who knows more than we do.
async fn their_report(around: &Surroundings<'_>) -> Result<String, Failure> {
    match around.daemon()? {
        Daemon::Serving(bus) => bus.report().await,
        Daemon::Managed(_) => Err(Failure::ServiceMode),
    }
}

fn parts(report: &Report) -> Vec<Part> {
    let part = |name, entries, about| Part { name, entries, about };
    vec![
        part("system", 1, "distribution, kernel and architecture"),
        part("session", report.session.iter().len(), "its state, and codes of what is wrong with it"),
        part("gateways", report.gateways.len(), "kind of path, last handshake and traffic of each"),
        part("resources", report.resources.len(), "kind and status of each"),
        part("settings", report.settings.len(), "who has set each; values only if they are words of ours"),
        part("dns", report.dns.iter().len(), "how resolvers are asked, and what went wrong"),
        part("dropped", report.dropped.len(), "how many packets went no further, by reason"),
        part("log", report.log.len(), "what the daemon has logged lately: when and where in its source, without texts"),
        part("checks", report.checks.len(), "what doctor says, without names and addresses"),
    ]
}

/// Why there is nothing of the log.
fn missing(log_from: LogFrom) -> Option<&'static str> {
    match log_from {
        LogFrom::Daemon | LogFrom::Journal | LogFrom::Unknown => None,
        LogFrom::NoJournal => Some("this machine keeps no journal"),
        LogFrom::NotPermitted => Some("only root and the groups systemd-journal and adm may read the journal"),
        LogFrom::NotReadable => Some("the journal cannot be read (see: journalctl --unit firezone-client)"),
    }
}

impl Show for Written {
    fn human(&self, out: &mut dyn fmt::Write, style: &Style) -> fmt::Result {
        if let Some(why) = &self.without {
            writeln!(out, "{}  this machine only, without the daemon: {why}", style.warning("warning"))?;
        }
        writeln!(out, "{}: a report, without names, addresses, people and tokens", self.file)?;
        if let Some(why) = missing(self.log_from) {
            writeln!(out, "{}  it does not have what the daemon has logged: {why}", style.warning("warning"))?;
        }
        for part in self.parts.iter().filter(|it| it.entries > 0) {
            writeln!(out, "  {:9} {:>3}  {}", part.name, part.entries, part.about)?;
        }
        writeln!(out, "Read it before you give it to anybody. It was sent nowhere.")
    }

    fn json(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::to_value(self)
    }

    fn lines(&self) -> Option<&'static str> {
        Some("parts")
    }
}

//! `report` and `doctor` against a daemon that a test plays itself.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

#[path = "commands/schemas.rs"]
mod schemas;

use std::{collections::BTreeMap, fs::File, io::Write as _, os::unix::fs::PermissionsExt as _};

use clap::Parser as _;
use dbus_api::{Check, Error};
use doctor::{LogLine, Material, Report};
use firezonectl::{
    args::Args,
    client::Daemon,
    commands::{self, Surroundings},
    failure::Failure,
    output::{Out, Show, Style, render},
};
use tokio::net::UnixStream;
use zbus::{
    Connection, Guid, connection, interface,
    zvariant::{OwnedFd, OwnedValue},
};

use crate::schemas::described;

type Options = BTreeMap<String, OwnedValue>;

/// Nobody looks.
struct Nowhere;

impl Out for Nowhere {
    fn show(&mut self, _answer: &dyn Show) -> Result<(), Failure> {
        Ok(())
    }

    fn remark(&mut self, _text: &str) {}
}

struct FakeClient;
/// Whether the caller is permitted.
struct FakeDiagnostics(bool);

#[interface(name = "dev.firezone.Client1")]
impl FakeClient {
    #[zbus(property)]
    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }
}

#[interface(name = "dev.firezone.Client1.Diagnostics")]
impl FakeDiagnostics {
    async fn run_checks(&self, _checks: Vec<String>, _options: Options) -> Result<Vec<Check>, Error> {
        let [id, name, result, evidence, effect, remedy] =
            ["FZ003", "group", "ok", "as the daemon says", "", ""].map(str::to_owned);
        Ok(vec![Check { id, name, result: result.as_str().into(), evidence, effect, remedy }])
    }

    async fn collect(&self, report: OwnedFd, _options: Options) -> Result<(), Error> {
        if !self.0 {
            return Err(Error::NotAuthorized("no".to_owned()));
        }
        let log = vec![LogLine::new(7, "INFO", "firezoned::daemon", 326)];
        let text =
            Report::of(&Material { made_by: "firezoned".to_owned(), log, ..Material::default() }).to_json().unwrap();
        File::from(std::os::fd::OwnedFd::from(report)).write_all(text.as_bytes()).unwrap();
        Ok(())
    }
}

/// A daemon, and the other end, which must live as long.
async fn daemon(permits: bool) -> (Daemon, Connection) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let server = connection::Builder::unix_stream(ours).server(Guid::generate()).unwrap().p2p();
    let server = server.serve_at(dbus_api::PATH, FakeClient).unwrap();
    let server = server.serve_at(dbus_api::PATH, FakeDiagnostics(permits)).unwrap().build();
    let client = connection::Builder::unix_stream(theirs).p2p().build();
    let (server, client) = tokio::try_join!(server, client).unwrap();
    (Daemon::over(&client).await.unwrap(), server)
}

async fn run(line: &str, daemon: Daemon) -> Result<String, Failure> {
    let args = Args::try_parse_from(std::iter::once("firezonectl").chain(line.split(' '))).unwrap();
    let mut out = Nowhere;
    let answer = commands::run(&args.command, &mut Surroundings::with(daemon, &mut out)).await?.unwrap();
    render(answer.as_ref(), &args.format()?, false, &Style::default())
}

#[tokio::test]
async fn a_report_is_written_once_and_for_its_owner() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("firezone.json");
    let line = format!("report {}", file.display());
    let (there, _other_end) = daemon(true).await;
    let shown = run(&line, there).await.unwrap();
    assert!(
        shown.contains("checks     18") && shown.contains("log         1") && !shown.contains("this machine only"),
        "{shown}"
    );
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(Report::from_json(&text).unwrap().made_by, "firezoned");

    // What is there is not overwritten.
    let (there, _other_end) = daemon(true).await;
    assert_eq!(run(&line, there).await.unwrap_err().code(), 1);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
}

#[tokio::test]
async fn a_report_needs_no_daemon_that_tells() {
    let directory = tempfile::tempdir().unwrap();
    let line = |name: &str| format!("report {}/{name}", directory.path().display());
    let shown = run(&line("managed"), Daemon::Managed(Box::default())).await.unwrap();
    assert!(shown.contains("service mode") && shown.contains("this machine only"), "{shown}");
    let (there, _other_end) = daemon(false).await;
    let shown = run(&line("forbidden"), there).await.unwrap();
    assert!(shown.contains("not permitted") && shown.contains("this machine only"), "{shown}");
    let text = std::fs::read_to_string(directory.path().join("forbidden")).unwrap();
    assert!(Report::from_json(&text).unwrap().made_by.starts_with("firezonectl "));
}

#[tokio::test]
async fn its_answer_is_as_described() {
    let directory = tempfile::tempdir().unwrap();
    let (there, _other_end) = daemon(true).await;
    for (name, daemon) in [("a", there), ("b", Daemon::Managed(Box::default()))] {
        let answer = run(&format!("--json report {}/{name}", directory.path().display()), daemon).await.unwrap();
        described("report", "report", &answer);
    }
}

#[tokio::test]
async fn doctor_asks_the_daemon_what_it_cannot_see() {
    // Whether there is a group `firezone`, and who asks, is different everywhere; the daemon's word is taken if that
    // says nothing.
    let (there, _other_end) = daemon(true).await;
    let answer = run("--json doctor", there).await.unwrap();
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let group = answer["checks"].as_array().unwrap().iter().find(|it| it["id"] == "FZ003").unwrap();
    assert_ne!(group["result"], "skipped");
}

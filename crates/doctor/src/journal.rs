//! What a daemon that tells nothing itself has logged, from the system's journal: as far as the caller may read that, and
//! without texts.

use std::{fs, io, path::Path, process::Stdio, time::Duration};

use serde_json::{Map, Value};
use tokio::{io::AsyncReadExt as _, process::Command, time::timeout};

use dbus_api::UNIT;

use crate::{LogLine, report::LogFrom};

/// Who prints the journal. Not looked up, because root runs it.
const JOURNALCTL: [&str; 2] = ["/usr/bin/journalctl", "/bin/journalctl"];
/// Where journals are: those on disk, and those in memory.
const JOURNALS: [&str; 2] = ["var/log/journal", "run/log/journal"];
/// What is asked for: the last lines of the last days.
const LINES: &str = "--lines=200";
const SINCE: &str = "--since=-7d";
/// How long that may take, and how long it can be.
const PATIENCE: Duration = Duration::from_secs(10);
const LARGEST: u64 = 16 << 20;

/// The lines, oldest first, and whether there are any to have.
pub async fn read() -> (Vec<LogLine>, LogFrom) {
    match is_readable(Path::new("/")) {
        Ok(true) => {}
        Ok(false) => return (Vec::new(), LogFrom::NoJournal),
        Err(_) => return (Vec::new(), LogFrom::NotPermitted),
    }
    match timeout(PATIENCE, ask()).await.ok().flatten() {
        Some(text) => (lines(&text), LogFrom::Journal),
        None => (Vec::new(), LogFrom::NotReadable),
    }
}

/// Whether there is a journal of the system. Fails if there is one, and it is not for the caller: the program that prints it
/// shows what the caller may see, which is never the daemon's then, and is content.
fn is_readable(root: &Path) -> io::Result<bool> {
    let mut outcome = Ok(false);
    for directory in JOURNALS {
        for machine in fs::read_dir(root.join(directory)).into_iter().flatten().flatten() {
            match fs::File::open(machine.path().join("system.journal")) {
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => outcome = Err(error),
                Err(_) => {}
            }
        }
    }
    outcome
}

async fn ask() -> Option<String> {
    let program = JOURNALCTL.iter().find(|it| Path::new(it).exists())?;
    let mut journalctl = Command::new(program);
    journalctl.args(["--unit", UNIT, LINES, SINCE, "--output=json", "--no-pager", "--quiet"]);
    journalctl.env_clear().current_dir("/").kill_on_drop(true);
    let mut journalctl = journalctl.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    let output = journalctl.stdout.take()?;
    let mut text = Vec::new();
    output.take(LARGEST).read_to_end(&mut text).await.ok()?;
    journalctl.wait().await.ok()?.success().then(|| String::from_utf8_lossy(&text).into_owned())
}

/// One entry a line, as objects of texts: systemd.journal-fields(7).
fn lines(text: &str) -> Vec<LogLine> {
    text.lines()
        .filter_map(|line| serde_json::from_str::<Map<String, Value>>(line).ok())
        .filter_map(|it| line(&it))
        .collect()
}

/// What of an entry may be given away, by the same rules as of what the daemon remembers itself.
fn line(entry: &Map<String, Value>) -> Option<LogLine> {
    let field = |name: &str| entry.get(name).and_then(Value::as_str);
    let number = |name: &str| field(name)?.parse::<u64>().ok();
    let at = number("__REALTIME_TIMESTAMP")? / 1_000_000;
    let priority = number("PRIORITY").unwrap_or(6);
    let level = |finest_info: u64| match priority {
        0..=3 => Some("error"),
        4 => Some("warn"),
        it if it <= finest_info => Some("info"),
        _ => None,
    };
    match field("TARGET").filter(|it| field("_SYSTEMD_UNIT") == Some(UNIT) && is_module(it)) {
        Some(target) => {
            // The daemon's INFO is a notice there, and its DEBUG information.
            let place = u32::try_from(number("CODE_LINE").unwrap_or_default()).unwrap_or_default();
            let mut line = LogLine::new(at, level(5)?, target, place);
            for (name, value) in entry.iter().filter_map(|(name, it)| Some((name.strip_prefix("F_")?, it.as_str()?))) {
                let name = name.to_lowercase();
                match value.parse::<i64>() {
                    Ok(value) => line.number(&name, value),
                    Err(_) => line.text(&name, value),
                }
            }
            Some(line)
        }
        // Systemd, about the daemon.
        None if field("_PID") == Some("1") => {
            let mut line = LogLine { place: "systemd".to_owned(), ..LogLine::new(at, level(6)?, "", 0) };
            for (name, ours) in
                [("JOB_TYPE", "action"), ("UNIT_RESULT", "reason"), ("EXIT_CODE", "code"), ("JOB_RESULT", "state")]
            {
                field(name).into_iter().for_each(|value| line.text(ours, value));
            }
            number("EXIT_STATUS").into_iter().for_each(|it| line.number("status", it));
            Some(line)
        }
        // What it said before it could log, or its library.
        None => Some(LogLine { place: "stderr".to_owned(), ..LogLine::new(at, level(6)?, "", 0) }),
    }
}

/// Whether this can only be a place in the source.
fn is_module(text: &str) -> bool {
    text.len() <= 100 && text.chars().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || "_:".contains(it))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const ENTRIES: &str = r#"
{"__REALTIME_TIMESTAMP":"1700000001000000","_PID":"1","PRIORITY":"6","MESSAGE":"Started firezone-client.service","JOB_TYPE":"start","JOB_RESULT":"done","UNIT":"firezone-client.service"}
{"__REALTIME_TIMESTAMP":"1700000002000000","_PID":"77","_SYSTEMD_UNIT":"firezone-client.service","PRIORITY":"4","TARGET":"firezoned::daemon","CODE_LINE":"326","MESSAGE":"cannot resolve wiki.corp.example","F_REASON":"portal_tls","F_ERROR":"nobody knows wiki","F_PORT":"5353","F_STATE":"connected to 10.0.0.1"}
{"__REALTIME_TIMESTAMP":"1700000003000000","_PID":"77","_SYSTEMD_UNIT":"firezone-client.service","PRIORITY":"6","TARGET":"firezoned::daemon","CODE_LINE":"9","MESSAGE":"finer than INFO"}
{"__REALTIME_TIMESTAMP":"1700000004000000","_PID":"78","_SYSTEMD_UNIT":"firezone-client.service","PRIORITY":"6","MESSAGE":"firezoned: read configuration: /etc/corp: no","_TRANSPORT":"stdout"}
{"__REALTIME_TIMESTAMP":"1700000005000000","_PID":"1","PRIORITY":"4","MESSAGE":"Failed with result 'exit-code'","UNIT_RESULT":"exit-code","EXIT_CODE":"exited","EXIT_STATUS":"1"}
{"__REALTIME_TIMESTAMP":"1700000006000000","_PID":"79","_SYSTEMD_UNIT":"firezone-client.service","PRIORITY":"5","TARGET":"Wiki of Anna","CODE_LINE":"1","MESSAGE":[119,105,107,105]}
{"__REALTIME_TIMESTAMP":"no time"}
no object
"#;

    #[test]
    fn the_journal_of_a_dead_daemon_is_told_without_texts() {
        let lines = lines(ENTRIES);
        let told: Vec<_> = lines
            .iter()
            .map(|it| {
                let fields: Vec<_> = it.fields.iter().map(|(field, value)| format!("{field}={value}")).collect();
                format!("{} {} {} {}", it.at - 1_700_000_000, it.level, it.place, fields.join(","))
            })
            .collect();
        assert_eq!(
            told,
            [
                "1 info systemd action=start,state=done",
                "2 warn firezoned::daemon:326 port=5353,reason=portal_tls",
                "4 info stderr ",
                "5 warn systemd code=exited,reason=exit-code,status=1",
                "6 info stderr ",
            ]
        );
        let text = serde_json::to_string(&lines).unwrap();
        for secret in ["wiki", "Wiki", "Anna", "corp", "10.0.0.1"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }

    #[test]
    fn a_journal_that_is_not_for_the_caller_is_told_from_none() {
        let root = tempfile::tempdir().unwrap();
        assert!(!is_readable(root.path()).unwrap());
        let directory = root.path().join("var/log/journal/0123");
        fs::create_dir_all(&directory).unwrap();
        assert!(!is_readable(root.path()).unwrap());
        let journal = directory.join("system.journal");
        fs::write(&journal, "").unwrap();
        assert!(is_readable(root.path()).unwrap());
        fs::set_permissions(&journal, fs::Permissions::from_mode(0o000)).unwrap();
        // Root may read everything.
        assert_eq!(is_readable(root.path()).is_err(), !rustix::process::geteuid().is_root());
    }
}

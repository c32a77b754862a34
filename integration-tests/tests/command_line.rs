//! The command line in scripts: output in every locale, repeated commands, and a monitor that
//! continues after a restart.

use std::time::Duration;

use anyhow::ensure;
use integration_tests::{
    account::{ACCOUNT, CLIENT_TOKEN, PRIVATE_NAME},
    process::{Program, wait_until},
    stand::{Stand, with_stand},
};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Directory of the generated locales.
const LOCALES: &str = "/run/locales";
const GERMAN: &str = "de_DE.UTF-8";

/// Every reading command and the schema of its output. Words are separated by spaces.
const READ_ONLY_COMMANDS: [(&str, &str); 14] = [
    ("status", "status"),
    ("resources", "resources"),
    ("resources wiki", "resources"),
    ("resource Lab", "resource"),
    ("dns", "dns-status"),
    ("dns status", "dns-status"),
    ("dns explain wiki.corp.example", "dns-explain"),
    ("internet", "internet"),
    ("path Lab", "path"),
    ("doctor", "doctor"),
    ("settings", "settings"),
    ("settings get name", "settings"),
    ("wait --for connected", "wait"),
    ("completions bash", "completions"),
];

/// Every other command, and why it is not compared here.
const OTHERS: [(&str, &str); 12] = [
    ("sign-in", "changes something"),
    ("connect", "changes something"),
    ("disconnect", "changes something"),
    ("sign-out", "changes something"),
    ("reset", "changes something"),
    ("dns flush", "changes something"),
    ("dns reapply", "changes something"),
    ("settings set", "changes something"),
    ("settings reset", "changes something"),
    ("log-level", "changes something"),
    ("report", "writes a file that must not exist"),
    ("monitor", "does not end; has a test of its own"),
];

/// Terse output that scripts read.
const TERSE: [&str; 6] = [
    "-t -f state,reason,account_slug,tunnel_ipv4,internet_resource_active status",
    "-t -f name,address,sites,status resources",
    "-t -f kind,name resource Lab",
    "-t -f key,value,source,locked settings",
    "-t -f origin,names dns",
    "-t -f name,path path Lab",
];

fn make_german(stand: &Stand) -> anyhow::Result<()> {
    let client = stand.client();
    client.program("mkdir -p").arg(LOCALES).check()?;
    let make = client.program("localedef --inputfile=de_DE --charmap=UTF-8").arg(format!("{LOCALES}/{GERMAN}"));
    // It prints warnings about some definitions, which do not matter.
    let made = make.run()?;
    let comma = client.program("locale decimal_point").env("LOCPATH", LOCALES).env("LC_ALL", GERMAN).check()?.text();
    ensure!(comma.trim() == ",", "there is no German here: {}", made.error_text());
    Ok(())
}

/// All commands that the help lists, such as `dns explain`.
fn verbs(stand: &Stand, above: &str) -> anyhow::Result<Vec<String>> {
    let help = stand.ctl("anna", format!("{above} --help").trim()).check()?.text();
    // Options begin with a hyphen there, arguments with a bracket, and continued lines are indented further.
    let names = help.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let mut all = Vec::new();
    for name in names.filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase()) && *name != "help") {
        let name = format!("{above} {name}").trim().to_owned();
        all.extend(verbs(stand, &name)?);
        all.push(name);
    }
    Ok(all)
}

/// A command with this locale.
fn speak<'a>(program: Program<'a>, language: &str) -> Program<'a> {
    program.env("LC_ALL", language).env("LANGUAGE", "de").env("LOCPATH", LOCALES)
}

fn say(stand: &Stand, language: &str, line: &str) -> anyhow::Result<(String, Option<i32>)> {
    let done = speak(stand.ctl("anna", line), language).run()?;
    ensure!(matches!(done.status.code(), Some(0 | 1)), "{line}: {}: {}", done.status, done.error_text());
    Ok((done.text(), done.status.code()))
}

fn check(line: &str, schema: &str, answer: &str) -> anyhow::Result<()> {
    let path = format!("{}/../firezonectl/schemas/{schema}.json", env!("CARGO_MANIFEST_DIR"));
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let answer: Value = serde_json::from_str(answer)?;
    let validator = jsonschema::validator_for(&schema)?;
    let errors: Vec<String> = validator.iter_errors(&answer).map(|error| error.to_string()).collect();
    ensure!(errors.is_empty(), "{line}: {errors:?}");
    Ok(())
}

#[test]
#[ignore = "needs root: make integration"]
fn json_output_does_not_depend_on_the_locale() -> anyhow::Result<()> {
    with_stand(|stand| {
        make_german(stand)?;
        stand.start_bus()?;
        let _daemon = stand.start_on_bus(stand.daemon())?;
        stand.sign_in("anna")?;
        stand.download(PRIVATE_NAME, 1, 4)?;
        for verb in verbs(stand, "")? {
            let is_read =
                READ_ONLY_COMMANDS.iter().any(|(line, _)| *line == verb || line.starts_with(&format!("{verb} ")));
            let is_other = OTHERS.iter().any(|(it, _)| *it == verb);
            ensure!(is_read || is_other, "{verb}: neither read nor excused");
        }
        for (line, schema) in READ_ONLY_COMMANDS {
            let (german, _) = say(stand, GERMAN, &format!("--json {line}"))?;
            check(line, schema, &german)?;
        }
        for line in TERSE {
            let (german, english) = (say(stand, GERMAN, line)?, say(stand, "C", line)?);
            ensure!(german == english && !german.0.is_empty(), "{line}: {german:?}, {english:?}");
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn repeated_commands_are_idempotent() -> anyhow::Result<()> {
    with_stand(|stand| {
        stand.start_bus()?;
        let _daemon = stand.start_on_bus(stand.daemon())?;
        stand.ctl("anna", "sign-out --wait").check()?;
        stand.ctl("anna", "disconnect --wait").check()?;
        stand.sign_in("anna")?;
        let since = stand.ctl("anna", "--json status").check()?.json()?["since"].clone();
        stand.ctl("anna", &format!("sign-in --token-stdin --account-slug {ACCOUNT}")).input(CLIENT_TOKEN).check()?;
        for verb in ["internet on", "internet on", "internet off", "internet off", "dns flush", "dns flush"] {
            stand.ctl("anna", verb).check()?;
        }
        let status = stand.ctl("anna", "--json status").check()?.json()?;
        ensure!(status["since"] == since && status["state"] == "connected", "the session has changed: {status}");
        stand.ctl("anna", "reset").check()?;
        let anew = stand.ctl("anna", "reset --wait=20").check()?.text();
        ensure!(anew.trim() == "Connected", "a waiting command reported the old state: {anew}");
        for verb in ["sign-out", "sign-out", "sign-out --wait"] {
            stand.ctl("anna", verb).check()?;
        }
        ensure!(stand.host_state()?.is_empty(), "{}", stand.host_state()?);
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn monitor_continues_after_a_daemon_restart() -> anyhow::Result<()> {
    const TIMEOUT: Duration = Duration::from_secs(20);
    with_stand(|stand| {
        make_german(stand)?;
        stand.start_bus()?;
        let mut daemon = stand.start_on_bus(stand.daemon())?;
        let monitor = stand.ctl("anna", "monitor").start("monitor", stand.logs.open("monitor"))?;
        let program = speak(stand.ctl("anna", "--json monitor"), GERMAN);
        let for_programs = program.start("monitor --json", stand.logs.open("monitor-json"))?;
        wait_until("the state is printed", TIMEOUT, || monitor.log().contains("Signed out"))?;
        stand.sign_in("anna")?;
        let count = |what: &str| for_programs.log().count(what);
        let connected = r#""state":"connected""#;
        wait_until("the session is printed", TIMEOUT, || {
            monitor.log().count("Connected") == 1 && count(connected) == 1
        })?;

        daemon.signal(Signal::SIGKILL)?;
        daemon.wait(TIMEOUT)?;
        wait_until("the end is printed", TIMEOUT, || monitor.log().contains("The daemon is not running"))?;
        let _daemon = stand.start_on_bus(stand.daemon())?;
        wait_until("the new daemon is printed", TIMEOUT, || monitor.log().count("Signed out") == 2)?;
        stand.sign_in("anna")?;
        wait_until("the new session is printed", TIMEOUT, || monitor.log().count("Connected") == 2)?;

        // Consecutive lines differ.
        let told = monitor.log().text();
        let lines: Vec<&str> = told.lines().filter_map(|line| line.trim().split_once(' ')).map(|it| it.1).collect();
        ensure!(lines.windows(2).all(|pair| pair[0] != pair[1]), "{lines:?}");
        ensure!(lines.iter().filter(|line| line.contains("resources")).count() >= 4, "{lines:?}");
        monitor.stop()?;

        wait_until("JSON is printed, too", TIMEOUT, || count(connected) == 2)?;
        ensure!(count(r#""running":false"#) == 1, "{}", for_programs.log().text());
        for line in for_programs.log().text().lines().filter_map(|line| line.trim().split_once(' ')) {
            check("monitor", "monitor", line.1)?;
        }
        for_programs.stop().map(drop)
    })
}

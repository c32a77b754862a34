//! What is promised: by the manual about the bus, its errors and exit statuses, and about every verb.

use clap::CommandFactory as _;
use dbus_api::Error;
use firezonectl::args::Args;
use zbus::DBusError as _;

use crate::{connected, played::Played};

/// The manual of the bus.
fn page() -> String {
    plain(include_str!("../../../man/dev.firezone.Client.7"))
}

/// Roff without what only a typesetter needs.
fn plain(roff: &str) -> String {
    roff.replace("\\-", "-").replace("\\(->", "->")
}

/// The entry of the manual that begins with these words.
fn entry<'a>(page: &'a str, title: &str) -> Option<&'a str> {
    let (_, rest) = page.split_once(&format!("\n.TP\n.B {title}\n"))?;
    rest.split("\n.TP\n").next()?.split("\n.S").next()
}

/// A member of an interface as in the XML: what it is, its name, and its arguments by direction.
struct Member {
    interface: &'static str,
    kind: &'static str,
    name: String,
    ins: Vec<String>,
    outs: Vec<String>,
}

fn attribute<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split_once(&format!(" {name}=\""))?.1.split('"').next()
}

/// Every member of every interface that is committed. The files have one element a line.
fn members() -> Vec<Member> {
    let mut members: Vec<Member> = Vec::new();
    for (interface, xml) in dbus_api::INTERFACES {
        for line in xml.lines().map(str::trim) {
            let kind = ["method", "signal", "property"].into_iter().find(|it| line.starts_with(&format!("<{it} ")));
            let name = attribute(line, "name").unwrap_or_default().to_owned();
            if let Some(kind) = kind {
                let ins = attribute(line, "type").map(ToOwned::to_owned).into_iter().collect();
                members.push(Member { interface, kind, name, ins, outs: Vec::new() });
            } else if line.starts_with("<arg ") {
                let member = members.last_mut().unwrap();
                let argument = format!("{} {name}", attribute(line, "type").unwrap());
                let is_out = attribute(line, "direction") == Some("out");
                if is_out { member.outs.push(argument) } else { member.ins.push(argument) }
            }
        }
    }
    members
}

/// The part of the page about one interface's methods.
fn methods_of<'a>(page: &'a str, interface: &str) -> &'a str {
    let title = format!("\n.SS {interface}");
    let start = page.find(&format!("{title}\n")).unwrap_or_else(|| panic!("no {interface}"));
    page[start + title.len()..].split("\n.S").next().unwrap()
}

#[test]
fn the_manual_of_the_bus_names_everything_that_is_promised() {
    let page = page();
    let mut methods = 0;
    for it in members() {
        let arguments = it.ins.join(", ");
        match it.kind {
            "method" => {
                let outs = if it.outs.is_empty() { String::new() } else { format!(" -> {}", it.outs.join(", ")) };
                let title = format!("{}({arguments}){outs}", it.name);
                assert!(entry(methods_of(&page, it.interface), &title).is_some(), "{}: {title}", it.interface);
                methods += 1;
            }
            "signal" => {
                let title = format!("{}.{}({arguments})", it.interface, it.name);
                assert!(entry(&page, &title).is_some(), "{title}");
            }
            _ => {
                let title = format!("{} ({arguments})", it.name);
                assert!(entry(&page, &title).is_some(), "{title}");
            }
        }
    }
    // And nothing else.
    assert_eq!(page.matches("\nAction: ").count(), methods);
}

#[test]
fn every_method_of_the_bus_has_a_command() {
    let page = page();
    for it in members().into_iter().filter(|it| it.kind == "method") {
        let methods = methods_of(&page, it.interface);
        let about = methods.split("\n.TP\n").find(|about| about.starts_with(&format!(".B {}(", it.name))).unwrap();
        let word = |key: &str| about.lines().find_map(|line| line.strip_prefix(key)).map(str::to_owned);
        let command = word("Command: ").unwrap_or_else(|| panic!("{}.{}: no command", it.interface, it.name));
        if command.starts_with("none: ") {
            continue;
        }
        let mut words = command.split(' ');
        assert_eq!(words.next(), Some("firezonectl"), "{command}");
        let mut verb = &Args::command();
        for word in words {
            verb = verb.find_subcommand(word).unwrap_or_else(|| panic!("{command}: there is no {word}"));
        }
    }
}

/// The names of all errors, as the contract's source lists them.
fn errors() -> Vec<&'static str> {
    let source = include_str!("../../../crates/dbus-api/src/error.rs");
    source.lines().filter_map(|line| line.trim().strip_suffix("(String),")).collect()
}

/// The sources of tests of the daemon's objects.
fn tests_of_the_daemon() -> String {
    let mut open = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/bus/src")];
    let mut text = String::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|it| it.unwrap().path()));
        } else if path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().to_str().unwrap().contains("test") {
            text += &std::fs::read_to_string(path).unwrap();
        }
    }
    text
}

#[test]
fn each_error_is_reached_by_a_test_of_the_daemon() {
    let tests = tests_of_the_daemon();
    for error in errors() {
        let pattern = format!("Error::{error}(_)");
        let is_reached = |line: &str| line.contains("assert!(matches!(") && line.contains(&pattern);
        assert!(tests.lines().any(is_reached), "no test of the daemon is answered {error}");
    }
}

#[tokio::test]
async fn each_error_of_the_daemon_has_an_exit_code() {
    let played = Played::new(connected()).await;
    let page = page();
    let (_, promised) = page.split_once("\n.SH ERRORS\n").unwrap();
    let promised = promised.split("\n.PP\n").next().unwrap();
    let errors = errors();
    assert!(
        errors.len() >= 8
            && errors.contains(&Error::Stopping(String::new()).name().as_str().rsplit('.').next().unwrap())
    );
    assert_eq!(promised.matches("\n.TP\n").count(), errors.len(), "the manual has other errors");
    for word in errors {
        let name = format!("dev.firezone.Client1.Error.{word}");
        let about = entry(&page, word).unwrap_or_else(|| panic!("the manual lacks {word}"));
        let code: u8 = about.split_once("Exit status ").unwrap().1.split('.').next().unwrap().parse().unwrap();
        assert!(about.contains("To do: "), "{word}: no remedy");
        played.mind.0.lock().unwrap().fails_with = Some(name.clone());
        for line in ["status", "resources", "sign-out", "reset", "dns", "dns flush", "path x", "settings", "log-level"]
        {
            assert_eq!(played.run(line).await.unwrap_err().code(), code, "{line}: {word}");
        }
    }
}

#[tokio::test]
async fn errors_of_the_bus_and_of_newer_daemons_have_exit_codes_too() {
    let played = Played::new(connected()).await;
    for (name, code) in [
        ("org.freedesktop.DBus.Error.ServiceUnknown", 3),
        ("org.freedesktop.DBus.Error.NameHasNoOwner", 3),
        ("org.freedesktop.DBus.Error.NoReply", 3),
        ("org.freedesktop.DBus.Error.AccessDenied", 4),
        ("org.freedesktop.DBus.Error.LimitsExceeded", 9),
        ("dev.firezone.Client1.Error.Unheard", 1),
    ] {
        played.mind.0.lock().unwrap().fails_with = Some(name.to_owned());
        assert_eq!(played.run("status").await.unwrap_err().code(), code, "{name}");
    }
}

#[test]
fn the_manual_of_the_bus_names_every_key_of_every_dictionary() {
    let page = page();
    let words: Vec<&str> = page.split(|c: char| !c.is_alphanumeric() && c != '-').collect();
    let mut keys = 0;
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/dbus-api/src")).unwrap() {
        let source = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for dictionary in source.split("\ndictionary! {\n").skip(1) {
            let fields = dictionary.split("\n}\n").next().unwrap().lines().filter_map(|line| {
                let line = line.strip_prefix("        ").filter(|it| it.starts_with(|c: char| c.is_lowercase()))?;
                line.split_once(": ").map(|(field, _)| field)
            });
            for field in fields {
                let key = field.split_once("[\"").map_or(field, |(_, key)| key.trim_end_matches("\"]"));
                assert!(words.contains(&key), "{key}");
                assert!(!key.contains('_'), "{key}: keys on the bus have hyphens");
                keys += 1;
            }
        }
    }
    assert!(keys > 60, "only {keys} keys were found");
}

#[test]
fn the_manual_knows_every_command_and_option() {
    let page = plain(include_str!("../../../man/firezonectl.1"));
    let command = Args::command();
    for verb in command.get_subcommands() {
        assert!(
            page.contains(&format!(".B {}\n", verb.get_name()))
                || page.contains(&format!(".BR {} ", verb.get_name()))
                || page.contains(&format!(".BI {} ", verb.get_name())),
            "{}",
            verb.get_name()
        );
        for option in verb.get_arguments().chain(command.get_arguments()).filter_map(|it| it.get_long()) {
            assert!(page.contains(&format!("--{option}")), "{} --{option}", verb.get_name());
        }
    }
}

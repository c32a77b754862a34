//! Answers for programs and scripts.

use std::collections::BTreeSet;

use clap::CommandFactory as _;
use dbus_api::{Condition, Refusal, Resource, StatusFile};
use firezonectl::{args::Args, client::Daemon};

use crate::{connected, played::Played, resources, run, schemas::described};

#[tokio::test]
async fn scripts_get_lines_of_the_fields_that_they_want() {
    let played = Played::new(connected()).await;
    played.mind.0.lock().unwrap().resources = resources();
    let lists = played.run("status -t -f state,gateways,warnings").await.unwrap();
    assert_eq!(lists, "connected:9f0c1d2e-0000-4000-8000-000000000001:x\n");
    assert_eq!(played.run("status -t -f state,actor_name,portal_error").await.unwrap(), "connected:Anna:\n");
    assert_eq!(
        played.run("-t --fields name,status,sites resources").await.unwrap(),
        "Internet:unknown:Berlin\nWiki:online:Berlin\n\u{dc}tility network:offline:Berlin\n"
    );
    for line in ["-t status", "-f state status", "-t -f stat status"] {
        assert_eq!(played.run(line).await.unwrap_err().code(), 2, "{line}");
    }
}

/// A line for each verb, and the schema of its answer. Verbs of verbs are verbs, too.
const ANSWERS: [(&str, &str); 24] = [
    ("status", "status"),
    ("resources", "resources"),
    ("resource wiki", "resource"),
    ("internet", "internet"),
    ("internet on", "internet"),
    ("wait", "wait"),
    ("wait --for resource=wiki", "wait"),
    ("completions bash", "completions"),
    ("path Wiki", "path"),
    ("log-level debug", "log-level"),
    ("log-level", "log-level"),
    ("settings", "settings"),
    ("settings get name", "settings"),
    ("settings reset name", "settings"),
    ("dns", "dns-status"),
    ("dns status", "dns-status"),
    ("dns explain wiki.example", "dns-explain"),
    ("dns flush", "done"),
    ("dns reapply", "done"),
    ("doctor", "doctor"),
    ("settings set api-url x", "settings"),
    ("reset", "session"),
    ("disconnect", "session"),
    ("sign-out", "session"),
];

/// Verbs that need more than a daemon to answer, and the test that holds their answer against its schema.
const ELSEWHERE: [(&str, &str); 4] = [
    ("sign-in", "without_a_terminal_nobody_is_asked"),
    ("connect", "the_keyring_keeps_what_connect_needs_until_sign_out"),
    ("monitor", "a_monitor_prints_one_line_a_change_and_survives_a_restart"),
    ("report", "its_answer_is_as_described"),
];

/// All verbs that can be typed, as in `dns explain`.
fn verbs(command: &clap::Command, above: &str) -> Vec<String> {
    let mut all = Vec::new();
    for verb in command.get_subcommands() {
        let name = format!("{above}{}", verb.get_name());
        all.extend(verbs(verb, &format!("{name} ")));
        if !verb.is_subcommand_required_set() {
            all.push(name);
        }
    }
    all
}

#[test]
fn each_verb_has_an_answer_that_is_held_against_its_schema() {
    let verbs = verbs(&Args::command(), "");
    assert!(verbs.len() > 20 && verbs.iter().any(|it| it == "dns explain"), "{verbs:?}");
    let is_answered = |verb: &str, line: &str| {
        // What comes after a verb that has verbs of its own is one of these.
        line.strip_prefix(verb).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
            && verbs.iter().all(|it| it.len() <= verb.len() || line != it && !line.starts_with(&format!("{it} ")))
    };
    for verb in &verbs {
        let here = ANSWERS.iter().any(|(line, _)| is_answered(verb, line));
        let elsewhere = ELSEWHERE.iter().any(|(it, _)| it == verb);
        assert!(here != elsewhere, "{verb}: in one of both lists, not in none or both");
    }
    let sources = [include_str!("program.rs"), include_str!("../report.rs")].concat();
    for (verb, test) in ELSEWHERE {
        let body = sources.split(&format!("async fn {test}()")).nth(1).unwrap_or_else(|| panic!("{verb}: no {test}"));
        let body = body.split("\n}\n").next().unwrap();
        assert!(body.contains("described(") && body.contains(&format!("{verb} ")), "{verb}: {test} does no such thing");
    }
    // And no schema is left that nobody holds against anything.
    let of_lists = ANSWERS.iter().map(|(_, schema)| *schema).chain(["monitor", "report"]);
    let of_lists: BTreeSet<String> = of_lists.map(|it| format!("{it}.json")).collect();
    let committed = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/schemas")).unwrap();
    let committed: BTreeSet<String> = committed.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(of_lists, committed);
}

#[tokio::test]
async fn the_json_of_every_verb_is_as_described() {
    let played = Played::new(connected()).await;
    played.mind.0.lock().unwrap().resources = resources();
    played.mind.0.lock().unwrap().resources[1].refusal = Some(Refusal::Forbidden);
    played.mind.0.lock().unwrap().resources[1].violated = vec![Condition::RemoteIp];
    played.mind.0.lock().unwrap().dns = crate::dns::status();
    played.mind.0.lock().unwrap().explanation = crate::dns::explanation();
    for (line, schema) in ANSWERS {
        described(line, schema, &played.run(&format!("--json {line}")).await.unwrap());
    }
    for (line, schema) in [("status", "status"), ("resources", "resources"), ("internet", "internet")] {
        let file = StatusFile { schema: 1, resources: vec![Resource::default()], ..StatusFile::default() };
        let daemon = Daemon::Managed(Box::new(file));
        described(line, schema, &run(&format!("--json {line}"), daemon).await.unwrap());
    }
}

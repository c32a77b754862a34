//! Answers for programs and scripts.

use dbus_api::{StatusFile, status_file::Entry};
use firezonectl::client::Daemon;

use crate::{connected, played::Played, resources, run};

#[tokio::test]
async fn scripts_get_lines_of_the_fields_that_they_want() {
    let played = Played::new(connected()).await;
    played.mind.0.lock().unwrap().resources = resources();
    assert_eq!(played.run("status -t -f state,actor_name,portal_error").await.unwrap(), "connected:Anna:\n");
    assert_eq!(
        played.run("-t --fields name,status,sites resources").await.unwrap(),
        "Internet:unknown:Berlin\nWiki:online:Berlin\n\u{dc}tility network:offline:Berlin\n"
    );
    for line in ["-t status", "-f state status", "-t -f stat status", "-t -f gateways status"] {
        assert_eq!(played.run(line).await.unwrap_err().code(), 2, "{line}");
    }
}

/// Whether every key of the answer is described, so that nothing becomes a promise unnoticed.
fn undescribed(value: &serde_json::Value, schema: &serde_json::Value, at: &str) -> Vec<String> {
    match value {
        serde_json::Value::Object(map) => map
            .iter()
            .flat_map(|(key, value)| match schema["properties"].get(key) {
                Some(schema) => undescribed(value, schema, &format!("{at}.{key}")),
                None => vec![format!("{at}.{key}")],
            })
            .collect(),
        serde_json::Value::Array(list) => list.iter().flat_map(|it| undescribed(it, &schema["items"], at)).collect(),
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn the_json_of_every_verb_is_as_described() {
    let described = |line: &str, schema: &str, answer: &str| {
        let path = format!("{}/schemas/{schema}.json", env!("CARGO_MANIFEST_DIR"));
        let schema: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let answer: serde_json::Value = serde_json::from_str(answer).unwrap();
        let errors: Vec<String> = validator.iter_errors(&answer).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{line}: {errors:?}");
        assert_eq!(undescribed(&answer, &schema, ""), Vec::<String>::new(), "{line}");
    };
    let played = Played::new(connected()).await;
    played.mind.0.lock().unwrap().resources = resources();
    played.mind.0.lock().unwrap().resources[1].refusal = Some("forbidden".to_owned());
    played.mind.0.lock().unwrap().resources[1].violated = Some(vec!["remote_ip".to_owned()]);
    played.mind.0.lock().unwrap().dns = crate::dns::status();
    played.mind.0.lock().unwrap().explanation = crate::dns::explanation();
    for (line, schema) in [
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
    ] {
        described(line, schema, &played.run(&format!("--json {line}")).await.unwrap());
    }
    for (line, schema) in [("status", "status"), ("resources", "resources"), ("internet", "internet")] {
        let file = StatusFile { schema: 1, resources: vec![Entry::default()], ..StatusFile::default() };
        let daemon = Daemon::Managed(Box::new(file));
        described(line, schema, &run(&format!("--json {line}"), daemon).await.unwrap());
    }
}

//! `resources`, `resource`, `internet`, `path`.

use dbus_api::Condition;

use crate::{connected, played::Played, resources};

#[tokio::test]
async fn resources_are_a_table() {
    let played = Played::new(connected()).await;
    assert_eq!(played.run("resources").await.unwrap(), "No resources\n");
    played.mind.0.lock().unwrap().resources = resources();
    assert_eq!(
        played.run("resources").await.unwrap(),
        "\
NAME             ADDRESS         SITE    STATUS
Internet         internet        Berlin  unknown
Wiki             *.wiki.example  Berlin  online
Ütility network  10.1.0.0/16     Berlin  offline
"
    );
    assert_eq!(played.run("resources wiki").await.unwrap().lines().count(), 2);
    assert_eq!(played.run("resources vpn").await.unwrap(), "No resource has \"vpn\" in its name\n");
}

#[tokio::test]
async fn one_resource_is_found_by_name_or_id() {
    let played = Played::new(connected()).await;
    played.mind.0.lock().unwrap().resources = resources();
    let text = played.run("resource wIKI").await.unwrap();
    assert!(text.starts_with("Wiki\n") && text.contains("*.wiki.example") && text.contains("online"), "{text}");
    assert_eq!(played.run("resource wik").await.unwrap_err().code(), 10);
    let by_id = played.run("resource 5b0c1d2e-0000-4000-8000-000000000001").await.unwrap();
    assert!(by_id.starts_with("Internet\n"), "{by_id}");
}

#[tokio::test]
async fn a_resource_says_why_it_was_refused() {
    let played = Played::new(connected()).await;
    let refused = |refusal: &str, violated: &[&str]| {
        let mut all = resources();
        all[1].refusal = Some(refusal.into());
        all[1].violated = violated.iter().map(|word| Condition::from(*word)).collect();
        played.mind.0.lock().unwrap().resources = all;
    };
    for (refusal, violated, told) in [
        ("forbidden", &["current_utc_datetime", "moon_phase"][..], "no policy permits it now: the time, moon_phase"),
        ("forbidden", &[], "no policy permits it now"),
        ("not-found", &[], "the portal does not know it any more"),
        ("a-newer-reason", &[], "a-newer-reason"),
    ] {
        refused(refusal, violated);
        let text = played.run("resource Wiki").await.unwrap();
        assert!(text.contains(&format!("  refused      {told}\n")), "{text}");
        let json: serde_json::Value = serde_json::from_str(&played.run("--json resource Wiki").await.unwrap()).unwrap();
        assert_eq!((&json["refusal"], &json["violated"]), (&refusal.into(), &violated.into()));
    }
    assert!(played.run("resources wiki").await.unwrap().ends_with("Berlin  online, refused\n"));
    assert_eq!(played.run("-t -f name,refusal,violated resources wiki").await.unwrap(), "Wiki:a-newer-reason:\n");
    assert!(!played.run("resource Internet").await.unwrap().contains("refused"));
}

#[tokio::test]
async fn the_internet_resource_can_be_switched_and_read() {
    let played = Played::new(connected()).await;
    assert_eq!(played.run("internet").await.unwrap(), "The Internet resource is off\n");
    assert_eq!(played.run("internet on").await.unwrap(), "The Internet resource is on\n");
    played.run("internet off").await.unwrap();
    assert_eq!(played.mind.0.lock().unwrap().asked, ["internet on", "internet off"]);
}

#[tokio::test]
async fn a_path_says_how() {
    let played = Played::new(connected()).await;
    played.mind.0.lock().unwrap().resources = resources();
    assert_eq!(
        played.run("path Wiki").await.unwrap(),
        "\
Wiki: relayed
  gateway         9f0c1d2e-0000-4000-8000-000000000001 in Berlin
  round trip      12.3 ms
  last handshake  1 min ago
  traffic         2.0 KiB sent, 4.0 KiB received
"
    );
    assert_eq!(played.run("path nothing").await.unwrap_err().code(), 10);
}

#[tokio::test]
async fn resources_for_programs() {
    let played = Played::new(connected()).await;
    played.mind.0.lock().unwrap().resources = resources();
    let json: serde_json::Value = serde_json::from_str(&played.run("--json resources wiki").await.unwrap()).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "schema": 1,
            "resources": [{
                "id": "5b0c1d2e-0000-4000-8000-000000000001",
                "kind": "dns",
                "name": "Wiki",
                "address": "*.wiki.example",
                "address_description": null,
                "sites": ["Berlin"],
                "status": "online",
                "refusal": null,
                "violated": [],
            }],
        })
    );
}

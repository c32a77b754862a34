//! `dns`.

use dbus_api::dns::{Answer, DnsStatus, Explanation, Failure, Match, Origin, Server};

use crate::{connected, played::Played};

fn servers() -> Vec<Server> {
    let server = |sentinel: &str, upstream: &str, protocol: &str, via: &str| Server {
        sentinel: sentinel.to_owned(),
        upstream: upstream.to_owned(),
        protocol: protocol.into(),
        via: via.into(),
        ..Server::default()
    };
    let strict = Server {
        server_name: Some("dns.quad9.net".to_owned()),
        failure: Some(Failure::Certificate),
        ..server("100.100.111.2", "9.9.9.9:853", "tls", "host")
    };
    vec![server("100.100.111.1", "10.0.0.53:53", "plain", "tunnel"), strict]
}

pub(crate) fn status() -> DnsStatus {
    DnsStatus { origin: Origin::Portal, servers: servers(), search_domain: Some("corp.example".to_owned()), names: 7 }
}

pub(crate) fn explanation() -> Explanation {
    let id = "5b0c1d2e-0000-4000-8000-000000000001";
    let one = |name: &str, pattern: &str| Match {
        id: id.to_owned(),
        name: name.to_owned(),
        pattern: pattern.to_owned(),
        sites: vec!["Berlin".to_owned()],
    };
    Explanation {
        answer: Answer::Resource,
        resources: vec![one("Wiki\x1b[2J", "a.wiki.example"), one("All", "**.example")],
        addresses: vec!["100.96.0.1".to_owned(), "100.96.0.2".to_owned()],
        servers: servers()[..1].to_vec(),
        ..Explanation::default()
    }
}

#[tokio::test]
async fn dns_says_whom_the_daemon_asks_and_how() {
    let played = Played::new(connected()).await;
    let nobody = DnsStatus { origin: Origin::NoSession, ..DnsStatus::default() };
    played.mind.0.lock().unwrap().dns = nobody;
    assert_eq!(played.run("dns").await.unwrap(), "Nobody asks the daemon for names: there is no session\n");
    played.mind.0.lock().unwrap().dns = status();
    assert_eq!(
        played.run("dns").await.unwrap(),
        "\
The portal chose these resolvers
ASKED AT       STANDS FOR
100.100.111.1  10.0.0.53:53, not encrypted, through the tunnel
100.100.111.2  9.9.9.9:853 as dns.quad9.net, over TLS, past the tunnel; its certificate is not trusted
Single words are looked up in corp.example
Names of resources with addresses: 7
"
    );
    let json: serde_json::Value = serde_json::from_str(&played.run("dns status --json").await.unwrap()).unwrap();
    assert_eq!(json["servers"][1]["failure"], "certificate");
    assert_eq!((&json["schema"], &json["origin"], &json["names"]), (&1.into(), &"portal".into(), &7.into()));
}

#[tokio::test]
async fn a_name_is_explained() {
    let played = Played::new(connected()).await;
    played.mind.0.lock().unwrap().explanation = explanation();
    assert_eq!(
        played.run("dns explain a.wiki.example").await.unwrap(),
        "\
a.wiki.example belongs to the resource Wiki\u{fffd}[2J; the daemon answers for its addresses
  matches    Wiki\u{fffd}[2J by a.wiki.example (5b0c1d2e-0000-4000-8000-000000000001)
  also       All by **.example (5b0c1d2e-0000-4000-8000-000000000001)
  addresses  100.96.0.1, 100.96.0.2
  SRV, TXT   asked at Berlin
  others     10.0.0.53:53, not encrypted, through the tunnel
"
    );
    let json: serde_json::Value =
        serde_json::from_str(&played.run("dns explain a.wiki.example --json").await.unwrap()).unwrap();
    assert_eq!(json["resources"][0]["pattern"], "a.wiki.example");
    assert_eq!((&json["name"], &json["answer"]), (&"a.wiki.example".into(), &"resource".into()));

    let forwarded =
        Explanation { answer: Answer::Forwarded, servers: servers(), cached: true, ..Explanation::default() };
    played.mind.0.lock().unwrap().explanation = forwarded;
    assert_eq!(played.run("dns explain www.example").await.unwrap().lines().count(), 4);
    assert_eq!(played.run("dns explain a..b").await.unwrap_err().code(), 2);
}

#[tokio::test]
async fn names_are_forgotten_and_asked_again_on_demand() {
    let played = Played::new(connected()).await;
    assert_eq!(played.run("dns flush").await.unwrap(), "Done\n");
    assert_eq!(played.run("dns reapply").await.unwrap(), "Done\n");
    assert_eq!(played.mind.0.lock().unwrap().asked, ["flush", "reapply"]);
}

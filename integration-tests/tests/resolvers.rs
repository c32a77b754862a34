//! Resolvers of the portal: a name server with a signed zone, over plain DNS and HTTPS; and a thousand names.

use std::{fmt::Write as _, time::Duration};

use integration_tests::{
    account::{LAB_V4, LAB_V6, PORTAL_NAME, PRIVATE_NAME, SITE},
    netns::FILES,
    process::{Running, wait_until},
    stand::{DOH_NAME, Stand, with_stand},
    topology::{PORTAL, RESOLVER, SERVER},
};
use serde_json::json;

const ZONE: &str = "signed.example";
const SIGNED: &str = "www.signed.example";

/// A name server with a signed zone on the portal's host, with DNS over HTTPS.
fn start_named(stand: &Stand) -> anyhow::Result<Running> {
    let host = &stand.net.portal;
    host.program(&format!("mkdir -p {FILES}/named")).check()?;
    let request = format!(
        "[req]\ndistinguished_name=dn\nx509_extensions=ext\nprompt=no\n[dn]\nCN={DOH_NAME}\n[ext]\n\
         basicConstraints=critical,CA:FALSE\nsubjectAltName=DNS:{DOH_NAME}\n"
    );
    host.write(&format!("{FILES}/named/request.cnf"), &request)?;
    host.program(&format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -config {FILES}/named/request.cnf \
         -keyout {FILES}/named/key.pem -out {FILES}/named/certificate.pem"
    ))
    .check()?;
    let v4 = PORTAL.v4;
    let zone = format!(
        "$TTL 300\n@ IN SOA ns admin 1 3600 600 86400 300\n@ IN NS ns\nns IN A {v4}\nwww IN A 192.0.2.80\nwww IN AAAA 2001:db8::80\n"
    );
    host.write(&format!("{FILES}/named/{ZONE}.zone"), &zone)?;
    let config = format!(
        "tls lab {{ cert-file \"{FILES}/named/certificate.pem\"; key-file \"{FILES}/named/key.pem\"; }};\n\
         options {{ directory \"{FILES}/named\"; pid-file none; session-keyfile none; recursion no; dnssec-validation no; \
         listen-on {{ {v4}; }}; listen-on port 443 tls lab http default {{ {v4}; }}; listen-on-v6 {{ none; }}; }};\n\
         controls {{ }};\n\
         zone \"{ZONE}\" {{ type primary; file \"{ZONE}.zone\"; dnssec-policy default; inline-signing yes; }};\n"
    );
    host.write(&format!("{FILES}/named/named.conf"), &config)?;
    let named =
        host.program(&format!("named -g -c {FILES}/named/named.conf")).start("named", stand.logs.open("named"))?;
    host.wait_for_port("udp", 53)?;
    host.wait_for_port("tcp", 443)?;
    wait_until("the zone is signed", Duration::from_secs(60), || {
        let answer = host.program(&format!("dig +dnssec @{v4} {SIGNED} A")).run();
        answer.is_ok_and(|it| it.text().contains("RRSIG"))
    })?;
    Ok(named)
}

/// The sections and flags of a response, without the parts that differ from query to query.
fn facts(answer: &str) -> Vec<String> {
    let is_fact = |line: &&str| (!line.starts_with(';') && !line.is_empty()) || line.starts_with(";; flags:");
    let mut facts: Vec<_> = answer.lines().filter(is_fact).map(str::to_owned).collect();
    facts.sort();
    facts
}

/// Waits until a sentinel represents the name server. Returns its address.
fn sentinel(stand: &Stand) -> anyhow::Result<String> {
    let mut found = String::new();
    wait_until("the new resolver is asked", Duration::from_secs(20), || {
        let resolv_conf = stand.client().read("/etc/resolv.conf").unwrap_or_default();
        let server = resolv_conf.lines().find_map(|line| line.strip_prefix("nameserver ").map(str::to_owned));
        found = server.unwrap_or_default();
        let answer = stand.client().program(&format!("dig +short +time=2 +tries=1 @{found} {SIGNED} A")).run();
        answer.is_ok_and(|it| it.text().trim() == "192.0.2.80")
    })?;
    Ok(found)
}

#[test]
#[ignore = "needs root: make integration"]
fn dnssec_validation_works_through_the_stub() -> anyhow::Result<()> {
    with_stand(|stand| {
        let _named = start_named(stand)?;
        let _daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.wait_until_connected()?;
        stand.portal("PUT", "/dns", Some(&json!({ "upstream_do53": [PORTAL.v4.to_string()] })))?;
        let sentinel = sentinel(stand)?;

        for transport in ["+notcp", "+tcp"] {
            for question in [format!("{SIGNED} A"), format!("{ZONE} SOA"), format!("nothing.{ZONE} A")] {
                let ask = |server: &str| -> anyhow::Result<Vec<String>> {
                    let line = format!("dig +dnssec +time=5 +tries=2 {transport} @{server} {question}");
                    Ok(facts(&stand.client().program(&line).check()?.text()))
                };
                let (with_us, without_us) = (ask(&sentinel)?, ask(&PORTAL.v4.to_string())?);
                assert!(with_us.iter().any(|line| line.contains("RRSIG")), "{question}: {with_us:?}");
                assert_eq!(with_us, without_us, "{transport} {question}");
            }
        }

        let keys = stand.client().program(&format!("dig +short @{} {ZONE} DNSKEY", PORTAL.v4)).check()?.text();
        let key = keys.lines().find(|line| line.starts_with("257 ")).expect("a key that signs keys").to_owned();
        let mut parts = key.splitn(4, ' ');
        let numbers: Vec<_> = parts.by_ref().take(3).collect();
        let anchor = format!(
            "trust-anchors {{ {ZONE}. static-key {} \"{}\"; }};\n",
            numbers.join(" "),
            parts.next().unwrap_or_default()
        );
        stand.client().write(&format!("{FILES}/anchor"), &anchor)?;
        let line = format!("delv @{sentinel} -a {FILES}/anchor +root={ZONE} {SIGNED} A");
        let answer = stand.client().program(&line).check()?.text();
        assert!(answer.contains("; fully validated"), "{answer}");
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn doh_resolver_from_the_portal_is_used() -> anyhow::Result<()> {
    with_stand(|stand| {
        let _named = start_named(stand)?;
        let daemon = stand.headless().env("SSL_CERT_FILE", format!("{FILES}/named/certificate.pem"));
        let _daemon = daemon.start("firezoned", stand.logs.open("firezoned"))?;
        stand.wait_until_connected()?;
        let url = format!("https://{DOH_NAME}/dns-query");
        stand.portal("PUT", "/dns", Some(&json!({ "upstream_doh": [url] })))?;
        let sentinel = sentinel(stand)?;

        for transport in ["+notcp", "+tcp"] {
            let line = format!("dig +short +time=5 +tries=2 {transport} @{sentinel} {SIGNED} AAAA");
            assert_eq!(stand.client().program(&line).check()?.text().trim(), "2001:db8::80", "{transport}");
        }
        Ok(())
    })
}

/// A name that only the resolver of the private network knows, and its address.
const INSIDE: (&str, &str) = ("firezone.dev", "192.0.2.1");

#[test]
#[ignore = "needs root: make integration"]
fn resolver_inside_a_resource_works_with_the_internet_resource() -> anyhow::Result<()> {
    with_stand(|stand| {
        let internet = json!({"type": "internet", "site": SITE});
        stand.portal("PUT", "/resources/1e7e7000-0000-4000-8000-000000000001", Some(&internet))?;
        stand.portal(
            "PUT",
            "/dns",
            Some(&json!({ "upstream_do53": [SERVER.v4.to_string(), SERVER.v6.to_string()] })),
        )?;
        stand.start_bus()?;
        let _daemon = stand.start_on_bus(stand.daemon())?;
        stand.sign_in("anna")?;
        let resolv_conf = stand.client().read("/etc/resolv.conf")?;
        let sentinels: Vec<_> = resolv_conf.lines().filter_map(|line| line.strip_prefix("nameserver ")).collect();
        assert_eq!(sentinels.len(), 2, "{resolv_conf}");

        for internet in ["off", "on"] {
            stand.ctl("anna", &format!("internet {internet}")).check()?;
            for sentinel in &sentinels {
                for transport in ["+notcp", "+tcp"] {
                    let ask = |name: &str| -> anyhow::Result<String> {
                        let line = format!("dig +short +time=8 +tries=2 {transport} @{sentinel} {name} A");
                        Ok(stand.client().program(&line).check()?.text())
                    };
                    assert_eq!(ask(INSIDE.0)?.trim(), INSIDE.1, "{internet} {sentinel} {transport}");
                    assert_eq!(ask(PRIVATE_NAME)?.lines().filter(|line| line.starts_with("100.96.")).count(), 4);
                }
            }
        }
        // When no resource contains it any more, queries go out directly and not through the Internet resource, which has no private
        // networks. That it is unreachable there is reported at once, without a timeout for the client.
        for id in [LAB_V4, LAB_V6] {
            stand.portal("DELETE", &format!("/resources/{id}"), None)?;
        }
        wait_until("an unreachable resolver fails", Duration::from_secs(20), || {
            let line = format!("dig +time=8 +tries=1 @{} nobody.{} A", sentinels[0], INSIDE.0);
            stand.client().program(&line).run().is_ok_and(|it| it.text().contains("status: SERVFAIL"))
        })
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn dns_loop_through_a_local_resolver_is_detected() -> anyhow::Result<()> {
    with_stand(|stand| {
        stand.start_bus()?;
        let stand = &*stand;
        let host = stand.client();
        let start = |server: &str, log: &str| -> anyhow::Result<Running> {
            let dnsmasq = "dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --bind-interfaces \
                           --user=root --pid-file= --log-queries --log-facility=- --listen-address=127.0.0.1";
            let running =
                host.program(dnsmasq).arg(format!("--server={server}")).start("dnsmasq", stand.logs.open(log))?;
            host.wait_for_port("udp", 53)?;
            Ok(running)
        };
        host.write("/etc/resolv.conf", &format!("nameserver 127.0.0.1\nnameserver {}\n", RESOLVER.v4))?;
        // The first sentinel, which represents it.
        let circular = start("100.100.111.1", "circular")?;
        let _daemon = stand.start_on_bus(stand.daemon())?;
        stand.sign_in("anna")?;
        let ask = |server: &str| host.program(&format!("dig +time=5 +tries=1 {server} {PORTAL_NAME} A")).check();

        for _ in 0..20 {
            assert!(ask("@100.100.111.1")?.text().contains("status: SERVFAIL"));
            assert!(ask("@100.100.111.2")?.text().contains("status: NOERROR"));
            // A program that tries them in order gets a response.
            let found = host.program(&format!("getent ahostsv4 {PORTAL_NAME}")).check()?.text();
            assert!(found.contains(&PORTAL.v4.to_string()), "{found}");
        }
        let status = stand.ctl("anna", "--json dns").check()?.json()?;
        assert_eq!(status["servers"][0]["failure"], "loop", "{status}");
        assert!(status["servers"][1]["failure"].is_null(), "{status}");
        let questions = circular.log().count("query[");
        assert!(questions < 40, "{questions} questions went round");

        drop(circular);
        let _straight = start(&RESOLVER.v4.to_string(), "straight")?;
        wait_until("it is used again when it forwards elsewhere", Duration::from_secs(20), || {
            ask("@100.100.111.1").is_ok_and(|it| it.text().contains("status: NOERROR"))
        })
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn proxy_addresses_of_a_thousand_names_survive_a_reconnect() -> anyhow::Result<()> {
    with_stand(|stand| {
        let _daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.wait_until_connected()?;
        let mut batch = String::new();
        for number in 0..1000 {
            writeln!(batch, "n{number}.wide{}.corp.example A", number % 7)?;
        }
        let resource = integration_tests::account::dns_resource("Everything", "**.corp.example");
        let id = "d2500000-0000-4000-8000-000000001000";
        stand.client().write(&format!("{FILES}/names"), &batch)?;
        let ask = || -> anyhow::Result<Vec<String>> {
            let line = format!("dig +short +time=5 +tries=3 -f {FILES}/names");
            Ok(stand.client().program(&line).check()?.text().lines().map(str::to_owned).collect())
        };
        stand.portal("PUT", &format!("/resources/{id}"), Some(&serde_json::to_value(resource)?))?;
        wait_until("a resource that was added resolves", Duration::from_secs(20), || {
            let one = stand.client().program("dig +short +time=2 +tries=1 n0.wide0.corp.example A").run();
            one.is_ok_and(|it| it.text().lines().count() == 4)
        })?;

        let before = ask()?;
        assert_eq!(before.len(), 4000);
        let mut distinct = before.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), 4000, "no address has two names");

        stand.portal("POST", "/drop", Some(&json!({ "role": "client", "code": 1012 })))?;
        assert_eq!(ask()?, before, "while the portal is away");
        wait_until("the portal is joined again", Duration::from_secs(30), || {
            stand.portal("GET", "/state", None).is_ok_and(|state| state["clients"][0]["joined"] == true)
        })?;
        assert_eq!(ask()?, before, "when it is back");
        Ok(())
    })
}

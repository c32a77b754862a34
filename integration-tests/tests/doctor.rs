//! Findings of `firezonectl doctor` on a machine with real problems.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use integration_tests::{
    account::{PORTAL_NAME, PORTAL_URL, PRIVATE_NAME},
    netns::Host,
    process::Program,
    stand::{Stand, with_stand},
    topology::PORTAL,
};

/// The daemon's configuration.
const CONFIG: &str = "/etc/dev.firezone.client/firezoned.toml";
/// Port of a portal with a self-signed certificate.
const TLS_PORT: u16 = 8443;
const CERTIFICATE: &str = "/run/lab/certificate.pem";

/// The result and the evidence of one check, from the output of this program.
fn check(doctor: Program<'_>, id: &str) -> anyhow::Result<(String, String)> {
    let answer = doctor.run()?.json()?;
    let checks = answer["checks"].as_array().context("no checks")?;
    let check = checks.iter().find(|it| it["id"] == id).with_context(|| format!("no {id}"))?;
    let word = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
    ensure!(word("result") == "ok" || word("result") == "skipped" || !word("remedy").is_empty(), "{check}");
    Ok((word("result"), word("evidence")))
}

/// The configuration file of the daemon, which all users may read.
fn configure(client: &Host, text: &str) -> anyhow::Result<()> {
    client.program("mkdir -p /etc/dev.firezone.client").check()?;
    client.write(CONFIG, text)?;
    client.program("chmod 0644").arg(CONFIG).check().map(drop)
}

#[test]
#[ignore = "needs root: make integration"]
fn doctor_without_a_daemon_checks_the_configured_portal() -> anyhow::Result<()> {
    with_stand(|stand| {
        let portal = &stand.net.portal;
        let make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -keyout /run/lab/key.pem";
        let name = format!("subjectAltName=DNS:{PORTAL_NAME}");
        let subject = format!("/CN={PORTAL_NAME}");
        let make = portal.program(make).arg("-out").arg(CERTIFICATE).arg("-subj").arg(subject);
        make.arg("-addext").arg(name).arg("-addext").arg("basicConstraints=critical,CA:false").check()?;
        let server = format!("openssl s_server -quiet -accept {TLS_PORT} -cert {CERTIFICATE} -key /run/lab/key.pem");
        let _server = portal.program(&server).start("openssl", stand.logs.open("openssl"))?;
        portal.wait_for_port("tcp", TLS_PORT)?;

        let client = stand.client();
        let doctor = || stand.ctl("anna", "--json doctor");
        let found = |doctor: Program<'_>, result: &str, evidence: &[&str]| -> anyhow::Result<()> {
            let found = check(doctor, "FZ011")?;
            ensure!(found.0 == result && evidence.iter().all(|it| found.1.contains(it)), "not {result}: {found:?}");
            Ok(())
        };
        configure(client, &format!("api-url = \"{PORTAL_URL}\"\n"))?;
        found(doctor(), "ok", &[PORTAL_NAME, CONFIG, "without encryption"])?;

        configure(client, &format!("api-url = \"wss://{PORTAL_NAME}:{TLS_PORT}/\"\n"))?;
        found(doctor(), "failed", &[PORTAL_NAME, "does not trust"])?;
        found(doctor().env("SSL_CERT_FILE", CERTIFICATE), "ok", &["its certificate is trusted"])?;
        let elsewhere = format!("wss://{}:{TLS_PORT}", PORTAL.v4);
        let elsewhere = doctor().env("FIREZONE_API_URL", elsewhere).env("SSL_CERT_FILE", CERTIFICATE);
        found(elsewhere, "failed", &["FIREZONE_API_URL", "another name"])?;
        let plain = format!("wss://{PORTAL_NAME}:8081");
        found(doctor().env("FIREZONE_API_URL", plain), "failed", &["does not speak TLS"])?;
        found(doctor().env("FIREZONE_API_URL", format!("wss://{PORTAL_NAME}:1")), "failed", &["refuses"])?;

        // A file that anna may not read can contain another URL.
        client.program("chmod 0600").arg(CONFIG).check()?;
        found(doctor().env("FIREZONE_API_URL", PORTAL_URL), "ok", &["which you may not read", CONFIG])?;
        found(doctor().env("FIREZONE_API_URL", format!("wss://{PORTAL_NAME}:1")), "warning", &[CONFIG])?;

        configure(client, "api-url =\n")?;
        found(doctor(), "failed", &["firezoned.toml:1"])
    })
}

/// A container on `docker0`, which is routed through the client.
fn container(stand: &Stand) -> anyhow::Result<Host> {
    let client = stand.client();
    let container = stand.net.lab.host("container")?;
    client.ip(&["link add docker0 type bridge", "addr add 172.17.0.1/16 dev docker0", "link set docker0 up"])?;
    client.cable("veth0", &container, "eth0")?;
    client.ip(&["link set veth0 master docker0"])?;
    container.ip(&["addr add 172.17.0.2/16 dev eth0", "route add default via 172.17.0.1"])?;
    Ok(container)
}

#[test]
#[ignore = "needs root: make integration"]
fn doctor_reports_whether_containers_can_resolve_names() -> anyhow::Result<()> {
    with_stand(|stand| {
        stand.start_bus()?;
        let daemon = stand.start_on_bus(stand.unprivileged_daemon()?)?;
        let container = container(stand)?;
        stand.sign_in("anna")?;
        let client = stand.client();
        let knows_names = || -> anyhow::Result<bool> {
            let question = format!("dig +short +time=1 +tries=2 @100.100.111.1 {PRIVATE_NAME} A");
            Ok(container.program(&question).run()?.text().starts_with("100.9"))
        };
        let found = || check(stand.ctl("anna", "--json doctor"), "FZ018");
        let is = |result: &str, words: &str| -> anyhow::Result<()> {
            let found = found()?;
            ensure!(
                found.0 == result && found.1.contains("docker0") && found.1.contains(words),
                "not {result}: {found:?}"
            );
            Ok(())
        };

        ensure!(knows_names()?, "nothing is in the way");
        is("ok", "lets questions in")?;

        client.nft(
            "table inet filter { chain input { type filter hook input priority 0; policy drop; \
                    ct state established,related accept; iifname != \"docker*\" accept; }; }",
        )?;
        ensure!(!knows_names()?, "the packet filter is in the way");
        is("warning", "(inet filter input)")?;

        // The remedy.
        client.nft("insert rule inet filter input iifname docker0 th dport 53 accept")?;
        ensure!(knows_names()?, "the remedy is none");
        is("ok", "lets questions in")?;

        client.nft("insert rule inet filter input meta mark 1 drop")?;
        is("skipped", "nft list ruleset")?;

        // Without a daemon only root can see it.
        client.nft("flush chain inet filter input")?;
        daemon.stop()?;
        is("skipped", "only root")?;
        let root = client.program("firezonectl --json doctor").within(Duration::from_secs(60));
        ensure!(check(root, "FZ018")?.0 == "warning", "root sees it");
        Ok(())
    })
}

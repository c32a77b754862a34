//! The portal becomes unreachable, returns, or rejects the session.

use std::time::Duration;

use integration_tests::{
    account::{CLIENT_TOKEN, PRIVATE_NAME},
    process::wait_until,
    stand::with_stand,
    web,
};
use serde_json::json;

#[test]
#[ignore = "needs root: make integration"]
fn download_survives_a_portal_restart() -> anyhow::Result<()> {
    with_stand(|stand| {
        let _daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.wait_until_connected()?;
        stand.download(PRIVATE_NAME, 1, 4)?;
        let (mebibytes, file) = (12, "/run/lab/download");
        // About eight seconds.
        let mut download = stand
            .fetch(&format!("http://{PRIVATE_NAME}/bytes/{mebibytes}"))
            .arg("--limit-rate")
            .arg("1500K")
            .arg("--output")
            .arg(file)
            .start("curl", stand.logs.open("curl"))?;
        let size = || {
            stand
                .client()
                .program("stat --format=%s")
                .arg(file)
                .run()
                .ok()
                .and_then(|it| it.text().trim().parse::<u64>().ok())
        };
        wait_until("the download has begun", Duration::from_secs(10), || size().is_some_and(|size| size > 0))?;

        stand.stop_portal()?;
        let before = stand.client().program("stat --format=%s").arg(file).check()?.text();
        std::thread::sleep(Duration::from_secs(2));
        let after = stand.client().program("stat --format=%s").arg(file).check()?.text();
        assert_ne!(before, after, "nothing moved while the portal was away");
        stand.start_portal()?;

        let status = download.wait(Duration::from_secs(30))?;
        assert!(status.success(), "{}", download.log().text());
        let sum = stand.client().program("sha256sum").arg(file).check()?.text();
        assert!(sum.starts_with(&web::checksum(mebibytes)), "the file is not what the server has");
        wait_until("the client has come back by itself", Duration::from_secs(30), || {
            stand.portal("GET", "/state", None).is_ok_and(|state| state["clients"][0]["joined"] == true)
        })?;
        stand.wait_for_gateway()?;
        stand.download(PRIVATE_NAME, 1, 4)
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn rejected_token_ends_the_session_but_not_the_daemon() -> anyhow::Result<()> {
    with_stand(|stand| {
        stand.start_bus()?;
        let mut daemon = stand.start_on_bus(stand.daemon())?;
        stand.sign_in("anna")?;

        stand.portal("POST", "/tokens/forget", Some(&json!({"token": CLIENT_TOKEN})))?;
        stand.portal("POST", "/drop", Some(&json!({"role": "client"})))?;

        let property = "busctl --system get-property dev.firezone.Client /dev/firezone/Client dev.firezone.Client1";
        let reads = |name: &str, value: &str| {
            let text = stand.client().program(property).arg(name).run().map(|it| it.text()).unwrap_or_default();
            text.trim() == format!("s \"{value}\"")
        };
        wait_until("the session has ended", Duration::from_secs(20), || reads("State", "signed-out"))?;
        assert!(reads("Reason", "invalid_token"));
        assert_eq!(stand.host_state()?, "", "something was left behind");
        assert!(daemon.is_running());

        let again = stand.ctl("anna", "sign-in --token-stdin --wait=20").input(CLIENT_TOKEN).run()?;
        assert_eq!(again.status.code(), Some(8), "{}", again.error_text());
        assert!(daemon.is_running());
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn expired_session_ends_with_a_reason() -> anyhow::Result<()> {
    with_stand(|stand| {
        stand.start_bus()?;
        let mut daemon = stand.start_on_bus(stand.daemon())?;
        stand.sign_in("anna")?;

        stand.portal("POST", "/tokens/expire", Some(&json!({"token": CLIENT_TOKEN})))?;

        wait_until("the session has ended", Duration::from_secs(20), || {
            stand
                .ctl("anna", "--json status")
                .run()
                .ok()
                .and_then(|it| it.json().ok())
                .is_some_and(|status| status["state"] == "signed-out" && status["reason"] == "token_expired")
        })?;
        assert!(daemon.is_running());
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn other_portal_errors_are_retried() -> anyhow::Result<()> {
    with_stand(|stand| {
        let refusal = json!({"status": 503, "code": "rate_limit", "retry_after": 1, "times": 3});
        stand.portal("POST", "/refuse", Some(&refusal))?;

        let _daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;

        stand.wait_until_connected()?;
        stand.download(PRIVATE_NAME, 1, 4)
    })
}

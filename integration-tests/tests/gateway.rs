//! Restarts of the gateway, and expiring grants.

use std::time::Duration;

use integration_tests::{account::PRIVATE_NAME, process::wait_until, stand::with_stand};

#[test]
#[ignore = "needs root: make integration"]
fn gateway_is_reached_again_after_a_restart() -> anyhow::Result<()> {
    with_stand(|stand| {
        let _daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.wait_until_connected()?;
        stand.download(PRIVATE_NAME, 1, 4)?;

        stand.stop_gateway()?;
        let quick = stand.fetch(&format!("http://{PRIVATE_NAME}/")).arg("--max-time").arg("3").run()?;
        assert!(!quick.status.success(), "who has answered?");
        stand.start_gateway()?;

        wait_until("downloads work again", Duration::from_secs(20), || stand.download(PRIVATE_NAME, 1, 4).is_ok())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn expiring_grants_are_renewed_without_interruption() -> anyhow::Result<()> {
    with_stand(|stand| {
        stand.portal("PUT", "/authorization-seconds", Some(&4.into()))?;
        let _daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.wait_until_connected()?;

        // Ten seconds, or six if the kernel buffers as much as it can: the grant expires meanwhile, and
        // the next packet requests it.
        let url = format!("http://{PRIVATE_NAME}/bytes/16");
        let body = stand.fetch(&url).arg("--limit-rate").arg("1600K").check()?.stdout;

        assert_eq!(integration_tests::web::sha256(&body), integration_tests::web::checksum(16));
        let asked = stand.logs.count("dev-portal", r#"event":"request_authorization"#);
        assert!(asked >= 2, "the grant was given {asked} times");
        Ok(())
    })
}

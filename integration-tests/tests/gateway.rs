//! The gateway goes away and comes back.

use std::time::Duration;

use integration_tests::{
    account::PRIVATE_NAME, process::eventually, stand::tell, topology::SERVER, transfer::disturbed,
};

#[test]
#[ignore = "needs root: make integration"]
fn a_gateway_that_says_good_bye_is_found_again_when_it_is_back() -> anyhow::Result<()> {
    tell(|stand| {
        let _daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.is_connected()?;
        stand.download(PRIVATE_NAME, 1, 4)?;

        stand.stop_gateway()?;
        let quick = stand.fetch(&format!("http://{PRIVATE_NAME}/")).arg("--max-time").arg("3").run()?;
        assert!(!quick.status.success(), "who has answered?");
        stand.start_gateway()?;

        eventually("downloads work again", Duration::from_secs(20), || stand.download(PRIVATE_NAME, 1, 4).is_ok())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn grants_that_run_out_are_renewed_without_a_gap_that_anybody_sees() -> anyhow::Result<()> {
    tell(|stand| {
        stand.portal("PUT", "/authorization-seconds", Some(&4.into()))?;
        let _daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.is_connected()?;

        // It takes longer than the grant holds, and the same server is used for something else meanwhile: a gateway that
        // has said goodbye is asked for again by the next packet.
        let something_else = format!("http://{}/", SERVER.v4);
        disturbed(stand.client(), 8, |_| {
            eventually("the grant is asked for again", Duration::from_secs(30), || {
                stand.fetch(&something_else).run().is_ok_and(|it| it.status.success())
                    && stand.logs.count("dev-portal", r#"event":"request_authorization"#) >= 2
            })
        })?;
        Ok(())
    })
}

//! Guarantees of the test stand to the other tests.

use integration_tests::{account::PRIVATE_NAME, stand::with_stand, topology::SERVER, web};

#[test]
#[ignore = "needs root: make integration"]
fn private_server_is_reachable_from_the_gateway_only() -> anyhow::Result<()> {
    with_stand(|stand| {
        let at = |address: &str| format!("curl --silent --fail --globoff --max-time 3 http://{address}/");
        for address in [SERVER.v4.to_string(), format!("[{}]", SERVER.v6), PRIVATE_NAME.to_owned()] {
            assert_eq!(stand.net.gateway.program(&at(&address)).check()?.text(), web::GREETING);
            for stranger in [&stand.net.client, &stand.net.portal, &stand.net.relay, &stand.net.router] {
                let outcome = stranger.program(&at(&address)).run()?;
                assert!(!outcome.status.success(), "{} reaches {address}", stranger.name());
            }
        }
        Ok(())
    })
}

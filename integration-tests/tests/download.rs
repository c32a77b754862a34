//! A private server is reached by name and by address, through the tunnel only.

use integration_tests::{
    account::PRIVATE_NAME,
    stand::{Stand, with_stand},
    topology::{SERVER, Traffic},
};

/// Large enough for many packets, small enough to be quick.
const MEBIBYTES: usize = 3;

/// Downloads by name and by address, over IPv4 and IPv6.
fn downloads(stand: &Stand) -> anyhow::Result<()> {
    for family in [4, 6] {
        stand.download(PRIVATE_NAME, MEBIBYTES, family)?;
    }
    stand.download(&SERVER.v4.to_string(), MEBIBYTES, 4)?;
    stand.download(&format!("[{}]", SERVER.v6), MEBIBYTES, 6)
}

#[test]
#[ignore = "needs root: make integration"]
fn downloads_by_name_and_by_address_use_the_direct_path() -> anyhow::Result<()> {
    with_stand(|stand| {
        assert!(
            !stand.fetch(&format!("http://{}/", SERVER.v4)).run()?.status.success(),
            "reachable without the tunnel"
        );

        let daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.wait_until_connected()?;
        downloads(stand)?;
        let payload = (4 * MEBIBYTES as u64) << 20;
        assert!(stand.net.bytes(Traffic::Direct)? > payload, "the downloads did not take the direct path");

        daemon.stop()?;
        assert!(!stand.fetch(&format!("http://{}/", SERVER.v4)).run()?.status.success(), "reachable after the end");
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn downloads_use_the_relay_when_direct_udp_is_blocked() -> anyhow::Result<()> {
    with_stand(|stand| {
        stand.net.block_direct()?;

        let _daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.wait_until_connected()?;
        downloads(stand)?;

        let payload = (4 * MEBIBYTES as u64) << 20;
        assert!(stand.net.bytes(Traffic::Relayed)? > payload, "the downloads did not take the relay");
        assert!(stand.net.bytes(Traffic::Blocked)? > 0, "the direct path was not tried");
        assert_eq!(stand.net.bytes(Traffic::Direct)?, 0, "something got through");
        Ok(())
    })
}

//! Networks that know only one of the two Internet Protocols.

use integration_tests::{account::PRIVATE_NAME, stand::tell, topology::Traffic};

/// In the tunnel there are always both.
fn downloads(family: u8, relayed: bool) -> anyhow::Result<()> {
    tell(|stand| {
        stand.net.leave_client_only(family)?;
        if relayed {
            stand.net.block_direct()?;
        }

        let _daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.is_connected()?;

        stand.download(PRIVATE_NAME, 2, 4)?;
        stand.download(PRIVATE_NAME, 2, 6)?;
        let taken = if relayed { Traffic::Relayed } else { Traffic::Direct };
        assert!(stand.net.bytes(taken)? > 4 << 20, "the downloads took another way");
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn a_network_with_only_ipv4_is_enough() -> anyhow::Result<()> {
    downloads(4, false)
}

#[test]
#[ignore = "needs root: make integration"]
fn a_network_with_only_ipv6_is_enough() -> anyhow::Result<()> {
    downloads(6, false)
}

#[test]
#[ignore = "needs root: make integration"]
fn a_relay_is_reached_in_a_network_with_only_ipv4() -> anyhow::Result<()> {
    downloads(4, true)
}

#[test]
#[ignore = "needs root: make integration"]
fn a_relay_is_reached_in_a_network_with_only_ipv6() -> anyhow::Result<()> {
    downloads(6, true)
}

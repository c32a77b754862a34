//! Networks with IPv4 or IPv6 only.

use integration_tests::{account::PRIVATE_NAME, stand::with_stand, topology::Traffic};

/// Both families work inside of the tunnel.
fn downloads(family: u8, relayed: bool) -> anyhow::Result<()> {
    with_stand(|stand| {
        stand.net.restrict_client_to_family(family)?;
        if relayed {
            stand.net.block_direct()?;
        }

        let _daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.wait_until_connected()?;

        stand.download(PRIVATE_NAME, 2, 4)?;
        stand.download(PRIVATE_NAME, 2, 6)?;
        let taken = if relayed { Traffic::Relayed } else { Traffic::Direct };
        assert!(stand.net.bytes(taken)? > 4 << 20, "the downloads took another way");
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn client_connects_over_ipv4_only() -> anyhow::Result<()> {
    downloads(4, false)
}

#[test]
#[ignore = "needs root: make integration"]
fn client_connects_over_ipv6_only() -> anyhow::Result<()> {
    downloads(6, false)
}

#[test]
#[ignore = "needs root: make integration"]
fn relay_is_reached_over_ipv4_only() -> anyhow::Result<()> {
    downloads(4, true)
}

#[test]
#[ignore = "needs root: make integration"]
fn relay_is_reached_over_ipv6_only() -> anyhow::Result<()> {
    downloads(6, true)
}

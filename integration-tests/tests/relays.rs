//! Relays come and go, and the client is behind a NAT.

#![allow(clippy::print_stdout, reason = "measured figures of the test run")]

use std::time::Duration;

use integration_tests::{
    account::{PRIVATE_NAME, RELAY_ID, SPARE_RELAY_ID},
    stand::with_stand,
    topology::Traffic,
    transfer::disturbed,
};
use nix::sys::signal::Signal;

/// Longest permitted pause of a download without its relay.
const MAX_PAUSE: Duration = Duration::from_secs(20);

#[test]
#[ignore = "needs root: make integration"]
fn download_survives_a_relay_restart() -> anyhow::Result<()> {
    with_stand(|stand| {
        stand.net.block_direct()?;
        let _daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.wait_until_connected()?;

        let host = stand.client().clone();
        let transfer = disturbed(&host, 24, |progress| {
            stand.kill_relay()?;
            stand.set_relay_online(RELAY_ID, false)?;
            stand.start_relay()?;
            stand.set_relay_online(RELAY_ID, true)?;
            progress.moves(2 << 10, Duration::from_secs(40)).map(drop)
        })?;
        println!("longest silence: {:?}", transfer.longest_gap);
        assert!(transfer.longest_gap < MAX_PAUSE, "{transfer:?}");
        assert_eq!(stand.net.bytes(Traffic::Direct)?, 0, "something got through");
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn download_survives_a_relay_switch() -> anyhow::Result<()> {
    with_stand(|stand| {
        stand.net.block_direct()?;
        let _daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.wait_until_connected()?;
        stand.start_spare_relay()?;

        let transfer = disturbed(stand.client(), 24, |progress| {
            stand.set_relay_online(SPARE_RELAY_ID, true)?;
            progress.moves(2 << 10, Duration::from_secs(20))?;
            stand.set_relay_online(RELAY_ID, false)?;
            progress.moves(2 << 10, Duration::from_secs(40)).map(drop)
        })?;
        println!("longest silence: {:?}", transfer.longest_gap);
        assert!(transfer.longest_gap < MAX_PAUSE, "{transfer:?}");
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn killed_daemon_gets_a_relay_allocation_again() -> anyhow::Result<()> {
    with_stand(|stand| {
        stand.net.block_direct()?;
        let mut daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.wait_until_connected()?;
        stand.download(PRIVATE_NAME, 1, 4)?;
        // The relay keeps the allocation; the next daemon uses the same address and port.
        daemon.signal(Signal::SIGKILL)?;
        daemon.wait(Duration::from_secs(5))?;

        let _daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.wait_until_connected()?;
        stand.download(PRIVATE_NAME, 1, 4)
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn download_works_behind_symmetric_nat() -> anyhow::Result<()> {
    with_stand(|stand| {
        stand.net.put_client_behind_symmetric_nat()?;
        let _daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.wait_until_connected()?;
        stand.download(PRIVATE_NAME, 3, 4)?;
        stand.download(PRIVATE_NAME, 3, 6)
    })
}

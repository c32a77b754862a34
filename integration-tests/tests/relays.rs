//! Relays come and go, and the client is hidden behind a router.

#![allow(clippy::print_stdout, reason = "measured figures are for whoever runs the tests")]

use std::time::Duration;

use integration_tests::{
    account::{PRIVATE_NAME, RELAY_ID, SPARE_RELAY_ID},
    stand::tell,
    topology::Traffic,
    transfer::disturbed,
};
use nix::sys::signal::Signal;

/// How long a download may stand still when its relay is gone.
const LIMIT: Duration = Duration::from_secs(20);

#[test]
#[ignore = "needs root: make integration"]
fn a_download_survives_a_restart_of_its_relay() -> anyhow::Result<()> {
    tell(|stand| {
        stand.net.block_direct()?;
        let _daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.is_connected()?;

        let host = stand.client().clone();
        let transfer = disturbed(&host, 24, |progress| {
            stand.kill_relay()?;
            stand.mark_relay(RELAY_ID, false)?;
            stand.start_relay()?;
            stand.mark_relay(RELAY_ID, true)?;
            progress.moves(2 << 10, Duration::from_secs(40)).map(drop)
        })?;
        println!("longest silence: {:?}", transfer.longest_silence);
        assert!(transfer.longest_silence < LIMIT, "{transfer:?}");
        assert_eq!(stand.net.bytes(Traffic::Direct)?, 0, "something got through");
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn another_relay_takes_over_a_running_download() -> anyhow::Result<()> {
    tell(|stand| {
        stand.net.block_direct()?;
        let _daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.is_connected()?;
        stand.start_spare_relay()?;

        let transfer = disturbed(stand.client(), 24, |progress| {
            stand.mark_relay(SPARE_RELAY_ID, true)?;
            progress.moves(2 << 10, Duration::from_secs(20))?;
            stand.mark_relay(RELAY_ID, false)?;
            progress.moves(2 << 10, Duration::from_secs(40)).map(drop)
        })?;
        println!("longest silence: {:?}", transfer.longest_silence);
        assert!(transfer.longest_silence < LIMIT, "{transfer:?}");
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn a_daemon_that_was_killed_is_lent_an_address_again() -> anyhow::Result<()> {
    tell(|stand| {
        stand.net.block_direct()?;
        let mut daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.is_connected()?;
        stand.download(PRIVATE_NAME, 1, 4)?;
        // The relay still lends what it lent; the next daemon comes from the same address and port.
        daemon.signal(Signal::SIGKILL)?;
        daemon.wait(Duration::from_secs(5))?;

        let _daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.is_connected()?;
        stand.download(PRIVATE_NAME, 1, 4)
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn a_client_behind_a_router_with_random_ports_downloads() -> anyhow::Result<()> {
    tell(|stand| {
        stand.net.hide_client()?;
        let _daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.is_connected()?;
        stand.download(PRIVATE_NAME, 3, 4)?;
        stand.download(PRIVATE_NAME, 3, 6)
    })
}

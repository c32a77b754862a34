//! The network changes during a download.

#![allow(clippy::print_stdout, reason = "measured figures of the test run")]

use std::time::Duration;

use integration_tests::{
    account::PRIVATE_NAME,
    process::wait_until,
    stand::with_stand,
    topology::Traffic,
    transfer::{disturbed, download_from_during},
};

/// Number of address changes in a row; more with `make soak`.
fn rounds() -> usize {
    if std::env::var_os("FIREZONE_SOAK").is_some() { 20 } else { 3 }
}

#[test]
#[ignore = "needs root: make integration"]
fn download_survives_address_changes() -> anyhow::Result<()> {
    with_stand(|stand| {
        stand.net.restrict_client_to_family(4)?;
        let _daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.wait_until_connected()?;

        let rounds = rounds();
        let transfer = disturbed(stand.client(), 4 + 4 * rounds, |progress| {
            for round in 0..rounds {
                // Of the fourteen hosts in this network, the first is the router.
                stand.net.change_client_address(2 + u8::try_from(round % 10)?)?;
                progress.moves(16, Duration::from_secs(20))?;
                let took = progress.moves(2 << 10, Duration::from_secs(20))?;
                println!("round {round}: 2 MiB after {took:?}");
            }
            Ok(())
        })?;
        println!("longest silence in {rounds} rounds: {:?}", transfer.longest_gap);
        assert!(transfer.longest_gap < Duration::from_secs(2), "{transfer:?}");
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn download_by_name_survives_address_changes() -> anyhow::Result<()> {
    with_stand(|stand| {
        stand.net.restrict_client_to_family(4)?;
        let _daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.wait_until_connected()?;
        let addresses = stand.client().program(&format!("dig +short {PRIVATE_NAME} A")).check()?.text();
        let address = addresses.lines().next().unwrap_or_default().parse()?;

        let transfer = download_from_during(address, stand.client(), 16, |progress| {
            for number in 2..5 {
                stand.net.change_client_address(number)?;
                progress.moves(16, Duration::from_secs(20))?;
                progress.moves(2 << 10, Duration::from_secs(20))?;
            }
            Ok(())
        })?;
        println!("longest silence by name: {:?}", transfer.longest_gap);
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn download_survives_a_silently_blocked_direct_path() -> anyhow::Result<()> {
    with_stand(|stand| {
        stand.net.restrict_client_to_family(4)?;
        let _daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.wait_until_connected()?;

        let net = &stand.net;
        let grows = |traffic| {
            let before = net.bytes(traffic).unwrap_or_default();
            move || net.bytes(traffic).is_ok_and(|bytes| bytes > before + (200 << 10))
        };
        let transfer = disturbed(stand.client(), 80, |progress| {
            wait_until("the direct path is taken", Duration::from_secs(20), grows(Traffic::Direct))?;
            net.block_direct()?;
            let relayed = grows(Traffic::Relayed);
            wait_until("the relay is taken", Duration::from_secs(25), relayed)?;
            net.unblock_direct()?;
            let direct = grows(Traffic::Direct);
            wait_until("the direct path is taken again", Duration::from_secs(60), direct)?;
            progress.moves(64, Duration::from_secs(20)).map(drop)
        })?;
        println!("longest silence: {:?}", transfer.longest_gap);
        assert!(transfer.longest_gap < Duration::from_secs(20), "{transfer:?}");
        Ok(())
    })
}

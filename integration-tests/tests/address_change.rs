//! The client gets another address, as after a change of networks, without NetworkManager or another program
//! that would report it.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant},
};

use integration_tests::{
    process::wait_until,
    stand::{Stand, with_stand},
    topology::{CLIENT, SERVER},
};

/// Generous: the test is about the result, not about the time.
const TIMEOUT: Duration = Duration::from_secs(40);

/// The longest acceptable interruption.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// Addresses of the client's networks, one after the other.
const ADDRESSES: u8 = 12;

#[test]
#[ignore = "needs root: make integration"]
fn address_change_pauses_traffic_briefly() -> anyhow::Result<()> {
    with_stand(|stand| {
        let pauses = walk(stand, 3)?;
        assert_eq!(pauses.len(), 3);
        Ok(())
    })
}

/// A long test.
mod machine_walks {
    use super::*;

    #[test]
    #[ignore = "needs root: make test-machine"]
    fn every_address_change_pauses_traffic_for_at_most_two_seconds() -> anyhow::Result<()> {
        with_stand(|stand| {
            let mut pauses = walk(stand, 50)?;
            pauses.sort();
            let late = pauses.iter().filter(|pause| **pause > MAX_PAUSE).count();
            anyhow::ensure!(late == 0, "{late} of 50 took more than {MAX_PAUSE:?}: {pauses:?}");
            Ok(())
        })
    }
}

/// Moves the client through this many networks. Returns the time from each new default route until the server
/// answered through a new tunnel.
fn walk(stand: &Stand, networks: usize) -> anyhow::Result<Vec<Duration>> {
    let _daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
    stand.wait_until_connected()?;
    wait_until("the server answers", TIMEOUT, || answers(stand))?;
    (0..networks)
        .map(|number| {
            let key = public_key(stand)?;
            move_to(stand, u8::try_from(number)? % ADDRESSES)?;
            let moved = Instant::now();
            // A previous tunnel would prove nothing; the portal identifies each by its key.
            wait_until("the tunnel is a new one", TIMEOUT, || {
                public_key(stand).is_ok_and(|now| now != key && !now.is_empty())
            })?;
            wait_until("the server answers again", TIMEOUT, || answers(stand))?;
            Ok(moved.elapsed())
        })
        .collect()
}

fn answers(stand: &Stand) -> bool {
    let ask = format!("curl --silent --output /dev/null --max-time 0.4 http://{}/", SERVER.v4);
    stand.client().program(&ask).run().is_ok_and(|it| it.status.success())
}

fn public_key(stand: &Stand) -> anyhow::Result<String> {
    let state = stand.portal("GET", "/state", None)?;
    Ok(state["clients"][0]["public_key"].as_str().unwrap_or_default().to_owned())
}

/// A new address of each family, and then the default route.
fn move_to(stand: &Stand, number: u8) -> anyhow::Result<()> {
    let v4 = Ipv4Addr::from(u32::from(CLIENT.v4) + 1 + u32::from(number));
    let v6 = Ipv6Addr::from(u128::from(CLIENT.v6) + 1 + u128::from(number));
    let router = CLIENT.router();
    stand.client().ip(&[
        "addr flush dev eth0 scope global",
        &format!("addr add {v4}/28 dev eth0"),
        &format!("addr add {v6}/64 dev eth0 nodad"),
        &format!("-6 route replace default via {}", router.v6),
        &format!("route replace default via {}", router.v4),
    ])
}

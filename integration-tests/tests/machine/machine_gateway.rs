//! A simulated official gateway on the same machine: its user and group, its
//! interface, tables and rules, what it does to the kernel, and that it flushes its tables whenever it starts.

use std::time::Duration;

use integration_tests::{
    account::CLIENT_TOKEN,
    machine::{Machine, UNIT, footprint::difference},
    process::wait_until,
    stand::{INTERFACE, with_stand},
};

const GATEWAY: &str = "firezone-gateway.service";
/// Its interface, tables and rules. Its encrypted packets carry the mark and so bypass its rules and ours.
const START: &str = "#!/bin/sh
set -e
for table in 0x2021fd00 0x2021fd01 0x2021fd02; do ip route flush table $table; ip -6 route flush table $table; done 2>/dev/null || true
ip tuntap add dev tun-firezone mode tun
ip link set tun-firezone mtu 1280 up
ip addr add 100.64.0.1/32 dev tun-firezone
ip addr add fd00:2021:1111::1/128 dev tun-firezone
for family in -4 -6; do
    ip $family rule add priority 100 not fwmark 0xfd002021 table 0x2021fd00
    ip $family rule add priority 200 not fwmark 0xfd002021 table 0x2021fd01
    ip $family rule add priority 300 not fwmark 0xfd002021 table 0x2021fd02
done 2>/dev/null || true
ip route add 100.64.0.0/11 dev tun-firezone table 0x2021fd00
ip route add fd00:2021:1111::/107 dev tun-firezone table 0x2021fd00
exec perl -MIO::Socket::INET -e '
    $s = IO::Socket::INET->new(Listen => 1, LocalPort => 8080, ReuseAddr => 1) or die; while ($c = $s->accept) { close $c }'
";
const UNIT_FILE: &str = "[Service]
ExecStart=/usr/bin/firezone-gateway
ExecStopPost=-ip link del tun-firezone
User=firezone
Group=firezone
AmbientCapabilities=CAP_NET_ADMIN
[Install]
WantedBy=multi-user.target
";

/// The gateway's state in the kernel.
fn of_gateway(machine: &Machine) -> anyhow::Result<String> {
    let mut text = machine.program("ip -brief address show dev tun-firezone").check()?.text();
    for family in ["-4", "-6"] {
        for table in 0x2021_fd00..=0x2021_fd02 {
            text.push_str(&machine.program(&format!("ip {family} rule show table {table}")).check()?.text());
            text.push_str(&machine.program(&format!("ip {family} route show table {table}")).run()?.text());
        }
    }
    Ok(text)
}

fn gateway_is_up(machine: &Machine) -> anyhow::Result<()> {
    wait_until("the gateway listens", Duration::from_secs(20), || {
        machine.program("ss -Hltn sport = :8080").check().is_ok_and(|it| !it.text().is_empty())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn gateway_and_client_share_a_machine_without_conflict() -> anyhow::Result<()> {
    with_stand(|stand| {
        let mut machine = Machine::new(stand)?;
        // Installed first: its user's primary group has the name of ours.
        machine.write("/usr/lib/sysusers.d/firezone-gateway.conf", "u firezone - \"Firezone Gateway\"\n")?;
        machine.inside("systemd-sysusers").check()?;
        machine.write("/usr/bin/firezone-gateway", START)?;
        machine.inside("chmod 755 /usr/bin/firezone-gateway").check()?;
        machine.write(&format!("/etc/systemd/system/{GATEWAY}"), UNIT_FILE)?;
        machine.systemctl_offline(&format!("enable {GATEWAY}"))?;
        machine.install("install")?;
        machine.add_member("anna")?;
        // Inside of the machine this is not permitted.
        for parameter in ["net.ipv4.ip_forward", "net.ipv4.conf.all.src_valid_mark", "net.ipv6.conf.all.forwarding"] {
            stand.client().sysctl(parameter, "1")?;
        }
        machine.boot()?;
        gateway_is_up(&machine)?;

        machine.systemctl(&format!("stop {UNIT}"))?;
        let (before, its) = (machine.footprint()?, of_gateway(&machine)?);
        assert!(its.contains("tun-firezone") && its.contains("100:"), "{its}");

        machine.systemctl(&format!("start {UNIT}"))?;
        let command =
            format!("firezonectl sign-in --token-stdin --account-slug {}", integration_tests::account::ACCOUNT);
        let refused = machine.program(&command).as_user("firezone").input(CLIENT_TOKEN).run()?;
        assert_eq!(refused.status.code(), Some(4), "the gateway's user: {}", refused.error_text());
        machine.sign_in("anna")?;
        machine.check_private_server()?;
        assert_eq!(of_gateway(&machine)?, its, "we have changed what is the gateway's");

        // It flushes its tables.
        let ours =
            || machine.program("sh -c").arg(format!("ip route show table all | grep {INTERFACE}; ip rule")).check();
        let routes = ours()?.text();
        machine.systemctl(&format!("restart {GATEWAY}"))?;
        gateway_is_up(&machine)?;
        // The daemon needs a moment to notice the interface.
        wait_until("what is ours is as it was", Duration::from_secs(20), || {
            ours().is_ok_and(|it| it.text() == routes)
        })?;
        assert_eq!(of_gateway(&machine)?, its);
        machine.check_private_server()?;

        // The interface comes and goes during a session.
        machine.systemctl(&format!("stop {GATEWAY}"))?;
        machine.check_private_server()?;
        machine.systemctl(&format!("start {GATEWAY}"))?;
        gateway_is_up(&machine)?;
        machine.check_private_server()?;
        machine.sign_out("anna")?;
        assert_eq!(of_gateway(&machine)?, its, "at signing out we have changed what is the gateway's");
        machine.sign_in("anna")?;
        machine.check_private_server()?;

        machine.systemctl(&format!("stop {UNIT}"))?;
        assert_eq!(difference(&before, &machine.footprint()?), "", "something was left behind, or taken away");
        assert_eq!(of_gateway(&machine)?, its);
        Ok(())
    })
}

//! Two nodes connected through coturn in a network namespace. Requires root, `ip` and `turnserver`:
//!
//! ```text
//! cargo test -p sim --test coturn -- --ignored
//! ```

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test may fail loudly")]
#![allow(clippy::disallowed_methods, reason = "this is the edge: real sockets and the real clock")]

use std::{
    io::ErrorKind,
    net::{SocketAddr, UdpSocket},
    process::{Child, Command, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use connection::{Event, Node, PathKind, Sealed};
use ip_packet::{Ecn, control};
use model::{Relay, RelayId};

use sim::{CLIENT, GATEWAY, address, client, credentials_of, gateway, packet};

const INSIDE: &str = "FIREZONE_TEST_INSIDE";
const NAMESPACE: &str = "fz-conn-coturn";
/// The first bytes of a refresh request.
const REFRESH: [u8; 2] = [0, 4];

#[test]
#[ignore = "needs root and coturn"]
fn coturn_carries_packets_over_ipv4() {
    in_namespace("coturn_carries_packets_over_ipv4", "v4", || {
        let mut stand = Stand::new(&["203.0.113.1:3478"], &["192.0.2.10:52625"], &["192.0.2.20:52625"]);
        stand.exchange_packets();
    });
}

#[test]
#[ignore = "needs root and coturn"]
fn coturn_carries_packets_over_ipv6() {
    in_namespace("coturn_carries_packets_over_ipv6", "v6", || {
        let mut stand = Stand::new(&["[2001:db8:1::1]:3478"], &["[2001:db8::10]:52625"], &["[2001:db8::20]:52625"]);
        stand.exchange_packets();
    });
}

#[test]
#[ignore = "needs root and coturn"]
fn coturn_carries_packets_on_two_families() {
    in_namespace("coturn_carries_packets_on_two_families", "both", || {
        let mut stand = Stand::new(
            &["203.0.113.1:3478", "[2001:db8:1::1]:3478"],
            &["192.0.2.10:52625", "[2001:db8::10]:52625"],
            &["192.0.2.20:52625", "[2001:db8::20]:52625"],
        );
        stand.exchange_packets();
    });
}

#[test]
#[ignore = "needs root and coturn"]
fn coturn_refreshes_an_allocation() {
    in_namespace("coturn_refreshes_an_allocation", "refresh", || {
        let mut stand = Stand::new(&["203.0.113.1:3478"], &["192.0.2.10:52625"], &["192.0.2.20:52625"]);
        stand.exchange_packets();
        // A relay that is missing from the list is probed.
        for side in [CLIENT, GATEWAY] {
            stand.ends[side].node.update_relays(&[], &[], Instant::now());
        }
        stand.run_until(Duration::from_secs(3), |_| false);
        stand.exchange_packets();
        assert!(!stand.heard(|event| matches!(event, Event::InvalidateCandidates { .. } | Event::NoRelays)));
    });
}

#[test]
#[ignore = "needs root and coturn"]
fn coturn_releases_an_allocation() {
    in_namespace("coturn_releases_an_allocation", "return", || {
        let mut stand = Stand::new(&["203.0.113.1:3478"], &["192.0.2.10:52625"], &["192.0.2.20:52625"]);
        stand.exchange_packets();
        stand.ends[CLIENT].node.close(gateway(), &control::goodbye(), Instant::now());
        stand.ends[CLIENT].node.release_relays(Instant::now());
        let said = stand.ends[GATEWAY].received + 1;
        stand.run_until(Duration::from_secs(3), |stand| stand.ends[GATEWAY].received == said);
        assert_eq!(stand.ends[GATEWAY].received, said, "the goodbye is sent first");

        // coturn needs a second to delete an allocation.
        stand.run_until(Duration::from_secs(3), |_| false);

        // A new node on the same socket. A remaining allocation would have to be deleted first.
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let end = &mut stand.ends[CLIENT];
        end.node = Node::new(Instant::now(), unix, [3; 32]);
        end.node.update_relays(&[], &[relay_entry(&["203.0.113.1:3478"])], Instant::now());
        end.refreshes = 0;
        stand.run_until(Duration::from_secs(1), |_| false);
        assert_eq!(stand.ends[CLIENT].refreshes, 0);
    });
}

struct Stand {
    ends: Vec<End>,
    _coturn: Coturn,
}

struct End {
    node: Node,
    sockets: Vec<UdpSocket>,
    events: Vec<Event>,
    received: usize,
    /// Number of refresh requests sent.
    refreshes: usize,
}

struct Coturn(Child);

impl Drop for Coturn {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Stand {
    fn new(relay: &[&str], client_addresses: &[&str], gateway_addresses: &[&str]) -> Self {
        let coturn = start_coturn(relay);
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let end = |seed: u8, addresses: &[&str]| {
            let sockets: Vec<_> = addresses.iter().map(|it| UdpSocket::bind(address(it)).unwrap()).collect();
            for socket in &sockets {
                socket.set_nonblocking(true).unwrap();
            }
            End {
                node: Node::new(Instant::now(), unix, [seed; 32]),
                sockets,
                events: Vec::new(),
                received: 0,
                refreshes: 0,
            }
        };
        let mut ends = vec![end(1, client_addresses), end(2, gateway_addresses)];
        let entry = relay_entry(relay);
        for end in &mut ends {
            end.node.update_relays(&[], std::slice::from_ref(&entry), Instant::now());
        }
        let mut this = Self { ends, _coturn: coturn };
        this.run_until(Duration::from_millis(500), |_| false);
        for side in [GATEWAY, CLIENT] {
            let params = credentials_of(side, this.ends[side].node.public_key(), this.ends[1 - side].node.public_key());
            let peer = if side == CLIENT { gateway() } else { client() };
            this.ends[side].node.upsert(peer, params, Instant::now()).unwrap();
        }
        this
    }

    fn exchange_packets(&mut self) {
        let ready =
            |stand: &Self| stand.ends.iter().all(|end| end.has(|event| matches!(event, Event::SessionReady(_))));
        self.run_until(Duration::from_secs(10), ready);
        assert!(ready(self), "{:?}", self.ends.iter().map(|end| &end.events).collect::<Vec<_>>());
        let before: Vec<_> = self.ends.iter().map(|end| end.received).collect();
        for n in 0..100 {
            assert_eq!(self.ends[CLIENT].node.seal(gateway(), &packet(n), Instant::now()), Sealed::Sent);
            assert_eq!(self.ends[GATEWAY].node.seal(client(), &packet(n), Instant::now()), Sealed::Sent);
        }
        let done = |stand: &Self| stand.ends.iter().zip(&before).all(|(end, before)| end.received >= before + 100);
        self.run_until(Duration::from_secs(5), done);
        assert!(done(self));
        let paths = [self.ends[CLIENT].node.path(gateway()), self.ends[GATEWAY].node.path(client())];
        assert!(paths.iter().flatten().all(|path| path.kind != PathKind::Direct), "{paths:?}");
        println!("{paths:?}");
    }

    fn heard(&self, what: impl Fn(&Event) -> bool) -> bool {
        self.ends.iter().any(|end| end.has(&what))
    }

    /// Runs both nodes. Direct datagrams between them are dropped.
    fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) {
        let end = Instant::now() + limit;
        while Instant::now() < end && !done(self) {
            for side in [CLIENT, GATEWAY] {
                let direct: Vec<_> = self.ends[1 - side].addresses();
                let signals = self.ends[side].turn(&direct);
                let (other, peer) = (&mut self.ends[1 - side].node, if side == CLIENT { client() } else { gateway() });
                for signal in signals {
                    match signal {
                        Event::Candidates { candidates, .. } => {
                            other.add_remote_candidates(peer, &candidates, Instant::now());
                        }
                        Event::InvalidateCandidates { candidates, .. } => {
                            other.remove_remote_candidates(peer, &candidates, Instant::now());
                        }
                        _ => {}
                    }
                }
            }
            std::thread::yield_now();
        }
    }
}

impl End {
    fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().map(|it| it.local_addr().unwrap()).collect()
    }

    fn has(&self, what: impl Fn(&Event) -> bool) -> bool {
        self.events.iter().any(what)
    }

    fn turn(&mut self, forbidden: &[SocketAddr]) -> Vec<Event> {
        let mut buffer = [0; 2048];
        for socket in &self.sockets {
            loop {
                match socket.recv_from(&mut buffer) {
                    Ok((length, from)) => {
                        let local = socket.local_addr().unwrap();
                        let opened = self.node.open(local, from, Ecn::NotEct, &mut buffer[..length], Instant::now());
                        self.received += usize::from(opened.is_some());
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        if self.node.poll_timeout().is_some_and(|due| due.at <= Instant::now()) {
            self.node.handle_timeout(Instant::now());
        }
        while let Some(transmit) = self.node.poll_transmit() {
            let to = transmit.destination;
            let socket = self.sockets.iter().find(|it| it.local_addr().unwrap().is_ipv4() == to.is_ipv4());
            let Some(socket) = socket.filter(|_| !forbidden.contains(&to)) else { continue };
            for datagram in transmit.payload.chunks(transmit.segment) {
                self.refreshes += usize::from(datagram.starts_with(&REFRESH));
                socket.send_to(datagram, to).unwrap();
            }
        }
        let news: Vec<_> = std::iter::from_fn(|| self.node.poll_event()).collect();
        self.events.extend(news.iter().cloned());
        news
    }
}

fn relay_entry(addresses: &[&str]) -> Relay {
    let all: Vec<_> = addresses.iter().map(|it| address(it)).collect();
    let v4 = all.iter().find_map(|it| if let SocketAddr::V4(it) = it { Some(*it) } else { None });
    let v6 = all.iter().find_map(|it| if let SocketAddr::V6(it) = it { Some(*it) } else { None });
    Relay { id: RelayId::from_u128(1), v4, v6, username: "user".into(), password: "sekret".into() }
}

fn start_coturn(addresses: &[&str]) -> Coturn {
    let mut command = Command::new("turnserver");
    command.args(["-n", "--no-tls", "--no-dtls", "--no-cli", "--lt-cred-mech", "--realm", "firezone"]);
    command.args(["--user", "user:sekret", "--listening-port", "3478"]);
    command.args(["--pidfile", "/dev/null"]);
    command.args(["--log-file", "stdout", "--verbose"]);
    for it in addresses {
        let ip = address(it).ip().to_string();
        command.args(["--listening-ip", &ip, "--relay-ip", &ip]);
    }
    let child = Coturn(command.stdout(Stdio::inherit()).spawn().unwrap());
    std::thread::sleep(Duration::from_secs(2));
    child
}

/// Runs `inside` in a new process in a new network namespace, with all addresses on the loopback interface.
fn in_namespace(test: &str, name: &str, inside: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    let namespace = format!("{NAMESPACE}-{name}");
    let ip = |arguments: &str| Command::new("ip").args(arguments.split(' ')).status().unwrap().success();
    let _ = Command::new("ip").args(["netns", "del", &namespace]).stderr(Stdio::null()).status();
    assert!(ip(&format!("netns add {namespace}")));
    assert!(ip(&format!("-n {namespace} link set lo up")));
    for host in ["192.0.2.10", "192.0.2.20", "203.0.113.1"] {
        assert!(ip(&format!("-n {namespace} addr add {host}/32 dev lo")));
    }
    for host in ["2001:db8::10", "2001:db8::20", "2001:db8:1::1"] {
        assert!(ip(&format!("-n {namespace} addr add {host}/128 dev lo nodad")));
    }
    let outcome = Command::new("ip")
        .args(["netns", "exec", &namespace])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", test])
        .env(INSIDE, "yes")
        .status();
    assert!(ip(&format!("netns del {namespace}")));
    assert!(outcome.unwrap().success());
}

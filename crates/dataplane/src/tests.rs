//! The edges against a real kernel, each test in a network namespace of its own. Without root they are skipped.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::Command as Process,
    thread,
    time::{Duration, Instant},
};

use connection::Transmit;
use ip_packet::{Ecn, IpPacket, Transport, build};
use nix::sched::{CloneFlags, unshare};

use super::{
    Command, Counters, Dataplane, Event, SocketError, Statistics, Tun, TunError,
    sockets::{Bound, Sockets},
    syscalls,
    tun::{Flushed, TunDevice},
    udp::Udp,
};

const MARK: u32 = 0xfd00_2021;
const INTERFACE: &str = "fz-pack0";
/// The address of the interface.
const HERE: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
/// Routed into the interface.
const THERE: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
/// The address under which `HERE` sees itself, see [`reflected`].
const MIRROR: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 3);

#[test]
fn interface_has_one_owner() {
    in_namespace(|| {
        let first = Tun::open(INTERFACE).unwrap();

        let second = Tun::open(INTERFACE);

        assert!(matches!(second, Err(TunError::Busy(name)) if name == INTERFACE));
        drop(first);
        is_free();
    });
}

/// Asserts that the interface can be opened. Another test may be starting a program: until `exec` its process has our
/// descriptors too.
fn is_free() {
    let start = Instant::now();
    while let Err(error) = Tun::open(INTERFACE) {
        assert!(matches!(error, TunError::Busy(_)), "{error}");
        assert!(start.elapsed() < Duration::from_secs(10), "it is never closed");
        thread::yield_now();
    }
}

#[test]
fn invalid_interface_name_is_rejected() {
    in_namespace(|| {
        for name in ["", "sixteen-letters-", "a\0b"] {
            assert!(matches!(Tun::open(name), Err(TunError::Other { .. })), "{name:?}");
        }
    });
}

#[test]
fn interface_has_the_tunnel_mtu_and_a_long_queue() {
    in_namespace(|| {
        let tun = Tun::open(INTERFACE).unwrap();

        let shown = Process::new("ip").args(["link", "show", INTERFACE]).output().unwrap();

        let shown = String::from_utf8(shown.stdout).unwrap();
        assert!(shown.contains("mtu 1280") && shown.contains("qlen 10000"), "{shown}");
        assert!(shown.starts_with(&format!("{}: {}", tun.index(), tun.name())), "{shown}");
    });
}

#[test]
fn super_packet_of_the_kernel_is_split() {
    in_runtime(async {
        let mut tun = device();
        let sender = connected();
        let payload: Vec<u8> = (0..20).flat_map(|i| [i; 1000]).chain([20; 300]).collect();

        send_segmented(&sender, &payload, 1000);

        let packets = read(&mut tun, 21).await;
        let payloads: Vec<_> = packets.iter().flat_map(|packet| packet.as_bytes()[28..].to_vec()).collect();
        assert_eq!(payloads, payload);
        for packet in packets {
            assert!(matches!(packet.transport(), Transport::Udp { destination: 5000, .. }));
            assert_eq!(packet.destination(), THERE);
        }
    });
}

#[test]
fn coalesced_datagrams_arrive_separately() {
    in_runtime(async {
        let mut tun = device();
        let receiver = UdpSocket::bind((HERE, 5000)).unwrap();
        receiver.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let from = SocketAddr::from((THERE, 40000));
        for i in 0..30 {
            let length = if i == 29 { 10 } else { 1000 };
            tun.push(build::udp(from, (HERE, 5000).into(), &vec![i; length]).unwrap());
        }

        flush(&mut tun, &mut Counters::default()).await;

        for i in 0..30 {
            let mut buffer = [0; 2000];
            let (length, source) = receiver.recv_from(&mut buffer).unwrap();
            assert_eq!((length, buffer[0], source), (if i == 29 { 10 } else { 1000 }, i, from));
        }
    });
}

/// A TCP connection of this kernel with itself, through the interface: every packet is split, gets new addresses and ports,
/// and is coalesced again. One wrong checksum, length or sequence number would stall it.
#[test]
fn tcp_stream_survives_splitting_and_coalescing() {
    const BYTES: usize = 8 << 20;

    in_runtime(async {
        let mut tun = device();
        let listener = TcpListener::bind((HERE, 5000)).unwrap();
        let server = thread::spawn(move || {
            let mut received = Vec::new();
            listener.accept().unwrap().0.read_to_end(&mut received).unwrap();
            received
        });
        let client = thread::spawn(|| {
            let mut stream = TcpStream::connect((THERE, 5000)).unwrap();
            stream.write_all(&pattern(BYTES)).unwrap();
        });

        let mut counters = Counters::default();
        let mut largest_round = 0;
        while !server.is_finished() {
            let mut packets = Vec::new();
            tun.read(&mut counters, |packet| packets.push(packet)).unwrap();
            largest_round = packets.len().max(largest_round);
            if packets.is_empty() {
                let _ = tokio::time::timeout(Duration::from_millis(10), tun.readable()).await;
            }
            packets.into_iter().filter_map(reflected).for_each(|packet| tun.push(packet));
            flush(&mut tun, &mut counters).await;
        }

        client.join().unwrap();
        assert!(server.join().unwrap() == pattern(BYTES), "the bytes changed on the way");
        assert_eq!(counters.tun_write_failed, 0);
        assert!(largest_round > 20, "super packets were read");
    });
}

#[test]
fn deleted_interface_is_an_error() {
    in_runtime(async {
        let mut tun = device();
        ip(&["link", "delete", INTERFACE]);

        tun.readable().await.unwrap();
        assert!(tun.read(&mut Counters::default(), |_| {}).is_err());
        tun.push(build::udp((THERE, 1).into(), (HERE, 2).into(), b"late").unwrap());
        tun.writable().await.unwrap();
        assert!(tun.flush(&mut Counters::default()).is_err());
    });
}

#[test]
fn batch_arrives_complete_with_source_and_ecn() {
    in_runtime(async {
        let mut counters = Counters::default();
        let (mut ours, mut theirs) = (sockets(), sockets());
        for (source, destination) in [("127.0.0.1", "127.0.0.2"), ("::1", "::1")] {
            let to = SocketAddr::new(destination.parse().unwrap(), port_of(&theirs, destination));
            for (first, ecn) in [Ecn::Ect0, Ecn::Ce, Ecn::NotEct].into_iter().enumerate() {
                let source = Some(source.parse().unwrap());
                let payload = (first..90).step_by(3).flat_map(|i| [i as u8; 1312]).collect();
                ours.push(Transmit { source, destination: to, ecn, segment: 1312, payload }, &mut counters);
            }

            send(&mut ours, &mut counters).await;

            let mut received = Vec::new();
            while received.len() < 90 {
                theirs.readable().await.unwrap();
                theirs.receive(&mut counters, |datagram| {
                    assert_eq!(datagram.local, to);
                    assert_eq!(datagram.from.ip(), source.parse::<std::net::IpAddr>().unwrap());
                    assert_eq!(datagram.payload.len(), 1312);
                    received.push((datagram.payload[0], datagram.ecn));
                });
            }
            received.sort_unstable();
            let expected: Vec<_> = (0..90).zip([Ecn::Ect0, Ecn::Ce, Ecn::NotEct].into_iter().cycle()).collect();
            assert_eq!(received, expected);
        }
        assert_eq!(counters, Counters::default());
    });
}

#[test]
fn missing_source_address_drops_only_its_own_datagrams() {
    in_runtime(async {
        let mut counters = Counters::default();
        let (mut ours, mut theirs) = (sockets(), sockets());
        let destination = SocketAddr::from((Ipv4Addr::LOCALHOST, port_of(&theirs, "127.0.0.1")));
        let batch = |source: Ipv4Addr| Transmit {
            source: Some(source.into()),
            destination,
            ecn: Ecn::Ect0,
            segment: 100,
            payload: vec![1; 1000],
        };

        ours.push(batch(Ipv4Addr::new(192, 0, 2, 1)), &mut counters);
        ours.push(batch(Ipv4Addr::LOCALHOST), &mut counters);
        send(&mut ours, &mut counters).await;

        assert_eq!(counters.udp_send_failed, 10);
        let mut received = 0;
        while received < 10 {
            theirs.readable().await.unwrap();
            theirs.receive(&mut counters, |datagram| {
                assert_eq!(datagram.ecn, Ecn::Ect0);
                received += 1;
            });
        }
    });
}

#[test]
fn datagrams_are_sent_singly_if_the_kernel_refuses_batches() {
    in_runtime(async {
        let mut counters = Counters::default();
        let mut theirs = sockets();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        // Without checksums the kernel sends no batches.
        syscalls::set_option(&socket, libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).unwrap();
        let mut ours = Udp::new(socket).unwrap();

        ours.push(Transmit {
            source: None,
            destination: (Ipv4Addr::LOCALHOST, port_of(&theirs, "127.0.0.1")).into(),
            ecn: Ecn::Ect0,
            segment: 100,
            payload: (0..10).flat_map(|i| [i; 100]).chain([10; 50]).collect(),
        });
        while ours.flush(&mut counters) == Flushed::Blocked {
            ours.writable().await.unwrap();
        }

        let mut received = Vec::new();
        while received.len() < 11 {
            theirs.readable().await.unwrap();
            theirs.receive(&mut counters, |datagram| {
                assert_eq!(datagram.ecn, Ecn::Ect0);
                received.push((datagram.payload[0], datagram.payload.len()));
            });
        }
        let expected: Vec<_> = (0..10).map(|i| (i, 100)).chain([(10, 50)]).collect();
        assert_eq!(received, expected);
        assert_eq!(counters, Counters::default());
    });
}

#[test]
fn interface_and_sockets_require_privileges() {
    in_namespace(|| {
        let mut capabilities = rustix::thread::capabilities(None).unwrap();
        capabilities.effective = rustix::thread::CapabilitySet::empty();
        rustix::thread::set_capabilities(None, capabilities).unwrap();

        assert!(matches!(Tun::open(INTERFACE), Err(TunError::NotPermitted(_))));
        assert!(matches!(Bound::open(MARK), Err(SocketError::Mark(_))));
    });
}

#[test]
fn preferred_port_is_used_if_free() {
    in_runtime(async {
        let first = sockets();
        let second = sockets();
        for family in ["127.0.0.1", "::1"] {
            assert_eq!(port_of(&first, family), 52625);
            assert_ne!(port_of(&second, family), 52625);
        }
        drop(first);
        assert_eq!(port_of(&sockets(), "::1"), 52625);
    });
}

#[test]
fn reset_makes_a_new_key_and_stop_releases_the_interface() {
    in_namespace(|| {
        let tun = Tun::open(INTERFACE).unwrap();
        let statistics = Statistics::default();
        let publisher = statistics.publisher();
        let mut dataplane = Dataplane::start(tun, dns::Assignments::default(), MARK, publisher).unwrap();

        dataplane.commands.blocking_send(Command::Reset).unwrap();
        let Some(Event::Tunnel(tunnel::Event::NewPublicKey(key))) = dataplane.events.blocking_recv() else {
            panic!("a reset makes a new key");
        };
        assert_ne!(key, dataplane.public_key);

        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let published = runtime.block_on(statistics.read());
        assert_eq!(published.paths, []);
        assert!(published.dropped.contains_key("tun_invalid") && published.dropped.contains_key("datagram_forged"));

        dataplane.commands.blocking_send(Command::Stop).unwrap();
        assert!(matches!(dataplane.events.blocking_recv(), Some(Event::Stopped { .. })));
        assert!(dataplane.events.blocking_recv().is_none());
        is_free();
    });
}

#[test]
fn dropped_command_sender_stops_the_dataplane() {
    in_namespace(|| {
        let tun = Tun::open(INTERFACE).unwrap();
        let publisher = Statistics::default().publisher();
        let started = Dataplane::start(tun, dns::Assignments::default(), MARK, publisher);
        let Dataplane { commands, mut events, .. } = started.unwrap();

        drop(commands);

        assert!(matches!(events.blocking_recv(), Some(Event::Stopped { .. })));
    });
}

#[test]
fn deleted_interface_ends_the_dataplane() {
    in_namespace(|| {
        let tun = Tun::open(INTERFACE).unwrap();
        ip(&["link", "set", INTERFACE, "up"]);
        let publisher = Statistics::default().publisher();
        let mut dataplane = Dataplane::start(tun, dns::Assignments::default(), MARK, publisher).unwrap();

        ip(&["link", "delete", INTERFACE]);

        assert!(matches!(dataplane.events.blocking_recv(), Some(Event::Died { .. })));
    });
}

/// Runs `test` in a thread with a network namespace of its own, which contains only the loopback interface.
fn in_namespace(test: impl FnOnce() + Send + 'static) {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    let result = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        ip(&["link", "set", "lo", "up"]);
        test();
    })
    .join();
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

/// The same with a runtime.
fn in_runtime<T: Future<Output = ()> + Send + 'static>(test: T) {
    in_namespace(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            tokio::time::timeout(Duration::from_secs(60), test).await.expect("the test hangs");
        });
    });
}

fn ip(arguments: &[&str]) {
    assert!(Process::new("ip").args(arguments).status().unwrap().success(), "ip {arguments:?}");
}

/// An interface that is up, has an address and a route.
fn device() -> TunDevice {
    let tun = Tun::open(INTERFACE).unwrap();
    ip(&["address", "add", "10.9.0.1/24", "dev", INTERFACE]);
    ip(&["link", "set", INTERFACE, "up"]);
    TunDevice::new(tun).unwrap()
}

fn sockets() -> Sockets {
    Sockets::new(Bound::open(MARK).unwrap()).unwrap()
}

fn port_of(sockets: &Sockets, address: &str) -> u16 {
    sockets.port(address.contains(':')).unwrap()
}

async fn flush(tun: &mut TunDevice, counters: &mut Counters) {
    while tun.flush(counters).unwrap() == Flushed::Blocked {
        tun.writable().await.unwrap();
    }
}

async fn send(sockets: &mut Sockets, counters: &mut Counters) {
    while sockets.flush(counters) == Flushed::Blocked {
        sockets.writable().await.unwrap();
    }
}

/// Reads `count` packets to [`THERE`]; the kernel also sends packets of its own.
async fn read(tun: &mut TunDevice, count: usize) -> Vec<IpPacket> {
    let mut packets = Vec::new();
    while packets.len() < count {
        tun.readable().await.unwrap();
        tun.read(&mut Counters::default(), |packet| {
            if packet.destination() == THERE {
                packets.push(packet);
            }
        })
        .unwrap();
    }
    packets
}

fn connected() -> UdpSocket {
    let socket = UdpSocket::bind((HERE, 0)).unwrap();
    socket.connect((THERE, 5000)).unwrap();
    socket
}

fn send_segmented(socket: &UdpSocket, payload: &[u8], segment: u16) {
    use std::os::fd::AsRawFd;

    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

    let iov = [std::io::IoSlice::new(payload)];
    let batch = [ControlMessage::UdpGsoSegments(&segment)];
    sendmsg::<()>(socket.as_raw_fd(), &iov, &batch, MsgFlags::empty(), None).unwrap();
}

/// Sends a packet back with another source: packets to `THERE` return from `MIRROR`, and vice versa.
fn reflected(mut packet: IpPacket) -> Option<IpPacket> {
    let from = match packet.destination() {
        to if to == THERE => MIRROR,
        to if to == MIRROR => THERE,
        _ => return None,
    };
    packet.set_source(from.into()).unwrap();
    packet.set_destination(HERE.into()).unwrap();
    Some(packet)
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i / 7 + i / 1001) as u8).collect()
}

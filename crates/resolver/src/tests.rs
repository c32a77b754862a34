//! Tests of the server on loopback addresses, with a scripted packet thread and resolvers.

use std::{
    future::Future,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use dns::{Answer, Decision, Question, Upstream, Via};
use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata::A},
};
use tls::Roots;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::mpsc,
    task::JoinSet,
};

mod loop_detection;

use super::{
    ServeError, Server, Transport,
    forward::{Forwarder, Limits},
};
use dataplane::Command;

const BOTH: [Transport; 2] = [Transport::Udp, Transport::Tcp];
const TEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A server under test, and its peers.
struct TestServer {
    server: Server,
    sentinel: SocketAddr,
    helpers: JoinSet<()>,
}

impl TestServer {
    /// A server whose packet thread decides with `decide`. Answers to be cached arrive at the channel.
    async fn new(
        decide: impl Fn(&Question, IpAddr) -> Option<Decision> + Send + 'static,
    ) -> (Self, mpsc::Receiver<dns::Cacheable>) {
        Self::with(Limits { host: TEST_TIMEOUT, tunnel: TEST_TIMEOUT }, decide).await
    }

    async fn with(
        limits: Limits,
        decide: impl Fn(&Question, IpAddr) -> Option<Decision> + Send + 'static,
    ) -> (Self, mpsc::Receiver<dns::Cacheable>) {
        Self::on(free_address(), Forwarder::with(0, limits, Roots::System), decide).await
    }

    async fn on(
        sentinel: SocketAddr,
        forwarder: Forwarder,
        decide: impl Fn(&Question, IpAddr) -> Option<Decision> + Send + 'static,
    ) -> (Self, mpsc::Receiver<dns::Cacheable>) {
        let (ask, mut asked) = mpsc::channel(8);
        let (learnt, learns) = mpsc::channel(8);
        let mut helpers = JoinSet::new();
        helpers.spawn(async move {
            let mut undecided = Vec::new();
            while let Some(command) = asked.recv().await {
                match command {
                    Command::Query { question, sentinel, reply } => match decide(&question, sentinel) {
                        Some(decision) => drop(reply.send(decision)),
                        None => undecided.push(reply),
                    },
                    Command::Answer { answer, .. } => drop(learnt.send(answer).await),
                    _ => {}
                }
            }
        });
        let server = Server::new(ask, forwarder);
        let mut world = Self { server, sentinel, helpers };
        world.serve(&[sentinel.ip()]).await.expect("the address is free");
        (world, learns)
    }

    async fn serve(&mut self, ips: &[IpAddr]) -> Result<(), ServeError> {
        self.server.serve(ips, self.sentinel.port()).await
    }

    async fn ask(&self, transport: Transport, query: &[u8]) -> Vec<u8> {
        match transport {
            Transport::Udp => ask_udp(self.sentinel, query).await,
            Transport::Tcp => {
                let mut stream = TcpStream::connect(self.sentinel).await.expect("a connection");
                send_framed(&mut stream, query).await;
                receive_framed(&mut stream).await
            }
        }
    }
}

async fn ask_udp(server: SocketAddr, query: &[u8]) -> Vec<u8> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    socket.connect(server).await.expect("a peer");
    socket.send(query).await.expect("sent");
    let mut buffer = vec![0; 65_535];
    let length = socket.recv(&mut buffer).await.expect("a reply");
    buffer.truncate(length);
    buffer
}

async fn send_framed(stream: &mut TcpStream, message: &[u8]) {
    let length = u16::try_from(message.len()).expect("short enough");
    stream.write_all(&length.to_be_bytes()).await.expect("written");
    stream.write_all(message).await.expect("written");
}

async fn receive_framed(stream: &mut TcpStream) -> Vec<u8> {
    let length = stream.read_u16().await.expect("a reply");
    let mut message = vec![0; length.into()];
    stream.read_exact(&mut message).await.expect("a whole reply");
    message
}

/// An address with a port on which nothing listens, neither UDP nor TCP.
fn free_address() -> SocketAddr {
    std::iter::repeat_with(|| {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = tcp.local_addr().expect("an address");
        std::net::UdpSocket::bind(address).ok().map(|_| address)
    })
    .flatten()
    .next()
    .expect("endless")
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

fn query(id: u16, text: &str, qtype: RecordType) -> Message {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name(text), qtype));
    message
}

fn bytes(message: &Message) -> Vec<u8> {
    message.to_vec().expect("a message")
}

fn read(bytes: &[u8]) -> Message {
    Message::from_vec(bytes).expect("a message")
}

fn address(owner: &Name, ttl: u32, last: u8) -> Record {
    Record::from_rdata(owner.clone(), ttl, RData::A(A(Ipv4Addr::new(192, 0, 2, last))))
}

/// The response of a resolver: `count` addresses, and properties that our own answers never have.
fn response_to(query: &[u8], count: usize) -> Vec<u8> {
    let query = read(query);
    let mut message = Message::response(query.metadata.id, OpCode::Query);
    message.metadata.recursion_available = true;
    message.metadata.authentic_data = true;
    message.add_queries(query.queries.clone());
    let owner = query.queries[0].name();
    message.answers = (0..count).map(|_| address(owner, 300, 1)).collect();
    message.authorities = vec![address(&name("elsewhere.test."), 77, 2)];
    bytes(&message)
}

/// A resolver on UDP and TCP that answers with `respond`, or not at all.
async fn resolver(
    helpers: &mut JoinSet<()>,
    respond: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + Clone + 'static,
) -> SocketAddr {
    let address = free_address();
    let udp = UdpSocket::bind(address).await.expect("a socket");
    let tcp = TcpListener::bind(address).await.expect("a listener");
    let by_tcp = respond.clone();
    helpers.spawn(async move {
        let mut buffer = vec![0; 65_535];
        loop {
            let (length, client) = udp.recv_from(&mut buffer).await.expect("a query");
            for response in respond(&buffer[..length]) {
                udp.send_to(&response, client).await.expect("sent");
            }
        }
    });
    helpers.spawn(async move {
        let mut silent = Vec::new();
        loop {
            let (mut stream, _) = tcp.accept().await.expect("a connection");
            let query = receive_framed(&mut stream).await;
            for response in by_tcp(&query) {
                send_framed(&mut stream, &response).await;
            }
            silent.push(stream);
        }
    });
    address
}

/// A server whose packet thread forwards everything to a resolver that answers with `respond`.
async fn forwarding(
    via: Via,
    limits: Limits,
    respond: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + Clone + 'static,
) -> (TestServer, mpsc::Receiver<dns::Cacheable>) {
    let mut helpers = JoinSet::new();
    let to = resolver(&mut helpers, respond).await;
    let (mut world, learns) = TestServer::with(limits, move |_, _| Some(forward(to, via))).await;
    world.helpers.spawn(async move { while helpers.join_next().await.is_some() {} });
    (world, learns)
}

fn forward(to: SocketAddr, via: Via) -> Decision {
    Decision::Forward { to: Upstream::Do53(to), via, generation: dns::CacheGeneration::default() }
}

/// Nothing in these tests may hang.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(TEST_TIMEOUT, test).await.expect("no test takes that long") });
}

#[test]
fn own_answer_has_the_header_of_a_recursive_resolver() {
    run(async {
        let (world, _learns) = TestServer::new(|question, _| {
            Some(Decision::Answer(Answer::records(
                (1..=4).map(|last| address(&question.original_name, 1, last)).collect(),
            )))
        })
        .await;
        for transport in BOTH {
            let plain = bytes(&query(0x1234, "wWw.CORP.test.", RecordType::A));
            let raw = world.ask(transport, &plain).await;
            assert_eq!(raw[12..plain.len()], plain[12..], "the question comes back as it was");
            let reply = read(&raw);
            let metadata = &reply.metadata;
            assert_eq!((metadata.id, metadata.message_type), (0x1234, MessageType::Response));
            assert!(metadata.recursion_available && metadata.recursion_desired);
            assert!(!metadata.truncation && !metadata.authoritative && !metadata.authentic_data);
            assert_eq!(reply.answers.len(), 4);
            assert!(reply.answers.iter().all(|record| record.ttl == 1 && record.name.eq_case(&name("wWw.CORP.test."))));
            assert!(reply.edns.is_none());

            let mut modern = query(0x1234, "www.corp.test.", RecordType::A);
            modern.set_edns(Edns::new().set_dnssec_ok(true).set_max_payload(4096).clone());
            let reply = read(&world.ask(transport, &bytes(&modern)).await);
            assert!(reply.edns.expect("an OPT record").flags().dnssec_ok);
        }
    });
}

#[test]
fn decision_request_carries_question_and_sentinel() {
    run(async {
        let (world, _learns) = TestServer::new(|question, sentinel| {
            let expected = question.name.as_str() == "www.corp.test"
                && question.qtype == RecordType::AAAA
                && sentinel == IpAddr::V4(Ipv4Addr::LOCALHOST);
            expected.then_some(Decision::Answer(Answer::no_such_name()))
        })
        .await;
        let reply = read(&world.ask(Transport::Udp, &bytes(&query(7, "WWW.Corp.Test.", RecordType::AAAA))).await);
        assert_eq!(reply.metadata.response_code, ResponseCode::NXDomain);
    });
}

#[test]
fn forwarded_reply_is_unchanged_and_cached() {
    run(async {
        for via in [Via::Host, Via::Tunnel] {
            let limits = Limits { host: TEST_TIMEOUT, tunnel: TEST_TIMEOUT };
            let (world, mut learns) = forwarding(via, limits, |query| vec![response_to(query, 2)]).await;
            for transport in BOTH {
                let asked = bytes(&query(0xbeef, "wWw.example.test.", RecordType::A));
                assert_eq!(world.ask(transport, &asked).await, response_to(&asked, 2), "{via:?} {transport}");
                assert!(learns.recv().await.is_some());
            }
        }
    });
}

#[test]
fn forwarded_query_is_unchanged() {
    run(async {
        let (seen, mut queries) = mpsc::channel(4);
        let limits = Limits { host: TEST_TIMEOUT, tunnel: TEST_TIMEOUT };
        let (world, _learns) = forwarding(Via::Host, limits, move |query| {
            seen.try_send(query.to_vec()).expect("room");
            vec![response_to(query, 1)]
        })
        .await;
        let mut odd = query(0, "oDd.test.", RecordType::Unknown(65280));
        odd.metadata.checking_disabled = true;
        odd.set_edns(Edns::new().set_dnssec_ok(true).set_max_payload(1400).clone());
        for transport in BOTH {
            world.ask(transport, &bytes(&odd)).await;
            assert_eq!(queries.recv().await, Some(bytes(&odd)), "{transport}");
        }
    });
}

#[test]
fn long_reply_is_truncated_over_udp_and_complete_over_tcp() {
    run(async {
        let limits = Limits { host: TEST_TIMEOUT, tunnel: TEST_TIMEOUT };
        let (world, _learns) = forwarding(Via::Host, limits, |query| vec![response_to(query, 1000)]).await;
        let mut asked = query(3, "lOng.test.", RecordType::A);
        asked.set_edns(Edns::new().set_max_payload(65_000).clone());
        let asked = bytes(&asked);

        let cut = world.ask(Transport::Udp, &asked).await;
        assert!(cut.len() <= 1212);
        let cut = read(&cut);
        assert!(cut.metadata.truncation && cut.metadata.authentic_data);
        assert_eq!((cut.answers.len(), cut.authorities.len()), (0, 0));
        assert!(cut.queries[0].name().eq_case(&name("lOng.test.")));

        let whole = world.ask(Transport::Tcp, &asked).await;
        assert_eq!(read(&whole).answers.len(), 1000);
    });
}

#[test]
fn udp_reply_respects_the_advertised_payload_size() {
    run(async {
        let (world, _learns) = TestServer::new(|question, _| {
            Some(Decision::Answer(Answer::records(
                (0..40).map(|last| address(&question.original_name, 60, last)).collect(),
            )))
        })
        .await;
        let reply = read(&world.ask(Transport::Udp, &bytes(&query(1, "a.test.", RecordType::A))).await);
        assert!(reply.metadata.truncation);
        assert_eq!(reply.answers.len(), 0);

        let mut modern = query(1, "a.test.", RecordType::A);
        modern.set_edns(Edns::new().set_max_payload(1232).clone());
        let reply = read(&world.ask(Transport::Udp, &bytes(&modern)).await);
        assert!(!reply.metadata.truncation);
        assert_eq!(reply.answers.len(), 40);
        assert_eq!(read(&world.ask(Transport::Tcp, &bytes(&modern)).await).answers.len(), 40);
    });
}

#[test]
fn silent_resolver_yields_servfail_via_host_and_tunnel() {
    run(async {
        let soon = Duration::from_millis(20);
        for via in [Via::Host, Via::Tunnel] {
            let limits = match via {
                Via::Host => Limits { host: soon, tunnel: TEST_TIMEOUT },
                Via::Tunnel => Limits { host: TEST_TIMEOUT, tunnel: soon },
            };
            let (world, mut learns) = forwarding(via, limits, |_| vec![]).await;
            for transport in BOTH {
                let reply = read(&world.ask(transport, &bytes(&query(9, "a.test.", RecordType::A))).await);
                assert_eq!(reply.metadata.response_code, ResponseCode::ServFail, "{via:?} {transport}");
                assert_eq!(reply.metadata.id, 9);
            }
            assert!(learns.try_recv().is_err());
        }
    });
}

#[test]
fn unreachable_resolver_yields_servfail_at_once() {
    run(async {
        let unreachable = free_address();
        let (world, _learns) = TestServer::new(move |_, _| Some(forward(unreachable, Via::Tunnel))).await;
        for transport in BOTH {
            let reply = read(&world.ask(transport, &bytes(&query(9, "a.test.", RecordType::A))).await);
            assert_eq!(reply.metadata.response_code, ResponseCode::ServFail, "{transport}");
        }
    });
}

#[test]
fn mismatched_response_is_ignored() {
    run(async {
        let limits = Limits { host: TEST_TIMEOUT, tunnel: TEST_TIMEOUT };
        let (world, _learns) = forwarding(Via::Host, limits, |query| {
            let good = response_to(query, 1);
            let mut other_id = good.clone();
            other_id[0] ^= 1;
            let mut other_name = good.clone();
            other_name[13] ^= 1;
            vec![vec![], vec![1], other_id, other_name, good]
        })
        .await;
        let asked = bytes(&query(5, "a.test.", RecordType::A));
        assert_eq!(world.ask(Transport::Udp, &asked).await, response_to(&asked, 1));

        let (world, _learns) = forwarding(Via::Host, limits, |query| {
            let mut other_id = response_to(query, 1);
            other_id[0] ^= 1;
            vec![other_id]
        })
        .await;
        let reply = read(&world.ask(Transport::Tcp, &asked).await);
        assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    });
}

#[test]
fn malformed_response_yields_servfail() {
    run(async {
        let limits = Limits { host: TEST_TIMEOUT, tunnel: TEST_TIMEOUT };
        let (world, _learns) = forwarding(Via::Host, limits, |query| {
            let mut broken = response_to(query, 0);
            broken[6..8].copy_from_slice(&[0, 9]);
            vec![broken]
        })
        .await;
        for transport in BOTH {
            let reply = read(&world.ask(transport, &bytes(&query(5, "a.test.", RecordType::A))).await);
            assert_eq!(reply.metadata.response_code, ResponseCode::ServFail, "{transport}");
        }
    });
}

#[test]
fn response_from_another_address_is_ignored() {
    run(async {
        let mut helpers = JoinSet::new();
        let server = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let stranger = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let to = server.local_addr().expect("an address");
        helpers.spawn(async move {
            let mut buffer = [0; 512];
            let (length, client) = server.recv_from(&mut buffer).await.expect("a query");
            stranger.send_to(&response_to(&buffer[..length], 9), client).await.expect("sent");
            server.send_to(&response_to(&buffer[..length], 1), client).await.expect("sent");
        });
        let (world, _learns) = TestServer::new(move |_, _| Some(forward(to, Via::Host))).await;
        let asked = bytes(&query(5, "a.test.", RecordType::A));
        assert_eq!(world.ask(Transport::Udp, &asked).await, response_to(&asked, 1));
    });
}

#[test]
fn tcp_queries_with_equal_ids_are_answered_independently() {
    run(async {
        let (world, _learns) = TestServer::new(|question, _| {
            let known = question.name.as_str() != "slow.test";
            known.then(|| Decision::Answer(Answer::records(vec![address(&question.original_name, 1, 1)])))
        })
        .await;
        let mut stream = TcpStream::connect(world.sentinel).await.expect("a connection");
        for text in ["slow.test.", "a.test.", "b.test."] {
            send_framed(&mut stream, &bytes(&query(1, text, RecordType::A))).await;
        }
        let mut answered = Vec::new();
        for _ in 0..2 {
            let reply = read(&receive_framed(&mut stream).await);
            assert_eq!(reply.metadata.id, 1);
            answered.push(reply.queries[0].name().to_string());
        }
        answered.sort();
        assert_eq!(answered, ["a.test.", "b.test."]);
    });
}

#[test]
fn half_closed_connection_still_gets_its_reply() {
    run(async {
        let limits = Limits { host: TEST_TIMEOUT, tunnel: TEST_TIMEOUT };
        let (world, _learns) = forwarding(Via::Host, limits, |query| vec![response_to(query, 1000)]).await;
        let mut stream = TcpStream::connect(world.sentinel).await.expect("a connection");
        send_framed(&mut stream, &bytes(&query(1, "a.test.", RecordType::A))).await;
        stream.shutdown().await.expect("half closed");
        assert_eq!(read(&receive_framed(&mut stream).await).answers.len(), 1000);
    });
}

#[test]
fn non_query_gets_no_reply() {
    run(async {
        let (world, _learns) = TestServer::new(|_, _| Some(Decision::Answer(Answer::empty()))).await;
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        socket.connect(world.sentinel).await.expect("a peer");
        let mut two = query(2, "a.test.", RecordType::A);
        two.add_query(Query::query(name("b.test."), RecordType::A));
        let mut response = query(3, "a.test.", RecordType::A);
        response.metadata.message_type = MessageType::Response;
        let none = Message::new(4, MessageType::Query, OpCode::Query);
        for message in [&two, &response, &none] {
            socket.send(&bytes(message)).await.expect("sent");
        }
        let good = bytes(&query(99, "a.test.", RecordType::A));
        for length in 0..good.len() {
            socket.send(&good[..length]).await.expect("sent");
        }
        socket.send(&good).await.expect("sent");
        let mut buffer = [0; 512];
        socket.recv(&mut buffer).await.expect("a reply");
        assert_eq!(buffer[..2], [0, 99], "the first reply is that to the first query");
    });
}

#[test]
fn server_survives_corrupted_queries() {
    run(async {
        let (world, _learns) = TestServer::new(|_, _| Some(Decision::Answer(Answer::empty()))).await;
        let mut modern = query(0x5555, "a.corp.test.", RecordType::A);
        modern.set_edns(Edns::new());
        let good = bytes(&modern);
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        socket.connect(world.sentinel).await.expect("a peer");
        for bit in 0..good.len() * 8 {
            let mut flipped = good.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            socket.send(&flipped).await.expect("sent");
            tokio::task::yield_now().await;
        }
        assert_eq!(read(&world.ask(Transport::Udp, &good).await).metadata.id, 0x5555);
    });
}

#[test]
fn stream_without_dns_is_closed() {
    run(async {
        let (world, _learns) = TestServer::new(|_, _| Some(Decision::Answer(Answer::empty()))).await;
        let mut stream = TcpStream::connect(world.sentinel).await.expect("a connection");
        send_framed(&mut stream, b"GET / HTTP/1.1").await;
        assert_eq!(stream.read(&mut [0]).await.unwrap_or_default(), 0);
    });
}

#[test]
fn query_yields_servfail_without_packet_thread() {
    run(async {
        let (mut world, _learns) = TestServer::new(|_, _| Some(Decision::ServFail)).await;
        for transport in BOTH {
            let reply = read(&world.ask(transport, &bytes(&query(5, "a.test.", RecordType::A))).await);
            assert_eq!(reply.metadata.response_code, ResponseCode::ServFail, "{transport}");
        }
        world.helpers.shutdown().await;
        for transport in BOTH {
            let reply = read(&world.ask(transport, &bytes(&query(5, "a.test.", RecordType::A))).await);
            assert_eq!(reply.metadata.response_code, ResponseCode::ServFail, "{transport}");
        }
    });
}

#[test]
fn remaining_sentinels_keep_their_connections() {
    run(async {
        let (mut world, _learns) = TestServer::new(|_, _| Some(Decision::Answer(Answer::empty()))).await;
        let first = world.sentinel.ip();
        let second = IpAddr::from([127, 0, 0, 77]);
        let asked = bytes(&query(5, "a.test.", RecordType::A));
        let mut stays = TcpStream::connect(world.sentinel).await.expect("a connection");

        world.serve(&[first, second]).await.expect("both are free");
        let port = world.sentinel.port();
        let mut goes = TcpStream::connect((second, port)).await.expect("a connection");
        for stream in [&mut stays, &mut goes] {
            send_framed(stream, &asked).await;
            assert_eq!(read(&receive_framed(stream).await).metadata.id, 5);
        }

        world.serve(&[first]).await.expect("nothing new");
        assert_eq!(goes.read(&mut [0]).await.unwrap_or_default(), 0, "it is closed");
        send_framed(&mut stays, &asked).await;
        assert_eq!(read(&receive_framed(&mut stays).await).metadata.id, 5);

        world.serve(&[]).await.expect("nothing to do");
        assert_eq!(stays.read(&mut [0]).await.unwrap_or_default(), 0, "it is closed");
        assert!(TcpStream::connect(world.sentinel).await.is_err());
        world.serve(&[first]).await.expect("free again");
    });
}

#[test]
fn port_owner_is_named_and_other_sentinels_are_served() {
    run(async {
        let (mut world, _learns) = TestServer::new(|_, _| Some(Decision::Answer(Answer::empty()))).await;
        let taken = IpAddr::from([127, 0, 0, 78]);
        let free = IpAddr::from([127, 0, 0, 79]);
        let port = world.sentinel.port();
        let _obstacle = std::net::UdpSocket::bind((taken, port)).expect("an obstacle");

        let error = world.serve(&[taken, free]).await.expect_err("it is taken");
        let ServeError::PortInUse { transport: Transport::Udp, process: Some(process), .. } = &error else {
            panic!("unexpected: {error:?}")
        };
        assert_eq!(process.pid, std::process::id());
        assert!(error.to_string().contains(&format!("(process {})", process.pid)), "{error}");
        let reply = ask_udp(SocketAddr::new(free, port), &bytes(&query(5, "a.test.", RecordType::A))).await;
        assert_eq!(read(&reply).metadata.id, 5);
    });
}

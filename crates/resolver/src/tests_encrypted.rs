//! Tests with TLS and HTTPS resolvers on loopback addresses.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use dns::{Upstream, Via};
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query},
    rr::{Name, RData, Record, RecordType, rdata::A},
};
use model::{DohUrl, Encryption, Resolver};
use tls::Roots;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    Failure, Transport,
    error::ForwardError,
    forward::{Forwarder, Limits},
    query::Answered,
};

const TEST_TIMEOUT: Duration = Duration::from_secs(60);
/// The name in the certificate of the tests.
const NAME: &str = "portal.test";

/// A server, and a client that trusts it.
struct TestServer {
    forwarder: Forwarder,
    servers: JoinSet<()>,
    /// How many connections were made.
    connections: Arc<AtomicU32>,
    acceptor: TlsAcceptor,
}

impl TestServer {
    fn new(protocols: &[&[u8]]) -> Self {
        Self::with(Limits { host: TEST_TIMEOUT, tunnel: TEST_TIMEOUT }, protocols)
    }

    fn with(limits: Limits, protocols: &[&[u8]]) -> Self {
        let (acceptor, roots) = certificate(protocols);
        let forwarder = Forwarder::with(0, limits, roots);
        Self { forwarder, servers: JoinSet::new(), connections: Arc::default(), acceptor }
    }

    /// Runs `serve` for each connection.
    async fn serve<F>(&mut self, serve: impl Fn(TlsStream<TcpStream>, u32) -> F + Send + 'static) -> SocketAddr
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (acceptor, connections) = (self.acceptor.clone(), Arc::clone(&self.connections));
        self.servers.spawn(async move {
            let mut served = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                if let Ok(stream) = acceptor.accept(stream).await {
                    served.spawn(serve(stream, connections.fetch_add(1, Ordering::SeqCst)));
                }
            }
        });
        address
    }

    /// Starts a plain resolver that resolves only [`NAME`].
    async fn serve_name(&mut self) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        self.servers.spawn(async move {
            let mut buffer = [0; 512];
            loop {
                let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
                let mut message = Message::from_vec(&buffer[..length]).unwrap();
                let query = message.queries[0].clone();
                message.metadata.message_type = MessageType::Response;
                if query.name().to_string() == format!("{NAME}.") && query.query_type() == RecordType::A {
                    let data = RData::A(A(Ipv4Addr::LOCALHOST));
                    message.add_answer(Record::from_rdata(query.name().clone(), 60, data));
                }
                socket.send_to(&message.to_vec().unwrap(), from).await.unwrap();
            }
        });
        self.forwarder.set_host_resolvers(vec![Resolver { address, ..Resolver::plain(address.ip()) }]);
    }

    async fn ask(&self, id: u16, to: &Upstream) -> Result<Answered, ForwardError> {
        let (question, bytes) = query(id);
        self.forwarder.ask(&bytes, &question, to, Via::Host, Transport::Udp).await
    }

    fn connections(&self) -> u32 {
        self.connections.load(Ordering::SeqCst)
    }
}

fn certificate(protocols: &[&[u8]]) -> (TlsAcceptor, Roots) {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
    let certificate = CertificateDer::from_pem_slice(include_bytes!("../../tls/testdata/certificate.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../../tls/testdata/key.pem")).unwrap();
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    (Arc::new(config).into(), Roots::Fixed(Arc::new(roots)))
}

fn query(id: u16) -> (Query, Vec<u8>) {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    let question = Query::query(Name::from_ascii("wWw.example.").unwrap(), RecordType::A);
    message.add_query(question.clone());
    (question, message.to_vec().unwrap())
}

/// The response of a resolver, with a property that our own answers never have.
fn response(query: &[u8]) -> Vec<u8> {
    let mut message = Message::from_vec(query).unwrap();
    message.metadata.message_type = MessageType::Response;
    message.metadata.authentic_data = true;
    let owner = message.queries[0].name().clone();
    message.add_answer(Record::from_rdata(owner, 300, RData::A(A(Ipv4Addr::new(192, 0, 2, 1)))));
    message.to_vec().unwrap()
}

fn strict(address: SocketAddr, name: Option<&str>) -> Upstream {
    Upstream::Dot(Resolver { address, ..Resolver::over_tls(address.ip(), name) })
}

fn perhaps(address: SocketAddr) -> Upstream {
    Upstream::Dot(Resolver { address, encryption: Encryption::Opportunistic, server_name: None })
}

fn url(address: SocketAddr) -> Upstream {
    Upstream::Doh(DohUrl::new(format!("https://{NAME}:{}/dns-query", address.port()).parse().unwrap()).unwrap())
}

async fn read_framed(stream: &mut TlsStream<TcpStream>) -> Option<Vec<u8>> {
    let mut message = vec![0; stream.read_u16().await.ok()?.into()];
    stream.read_exact(&mut message).await.ok()?;
    Some(message)
}

async fn write_framed(stream: &mut TlsStream<TcpStream>, message: &[u8]) {
    let framed = [&u16::try_from(message.len()).unwrap().to_be_bytes(), message].concat();
    stream.write_all(&framed).await.unwrap();
    stream.flush().await.unwrap();
}

/// A resolver that answers queries in sequence.
async fn dot(mut stream: TlsStream<TcpStream>, _number: u32) {
    while let Some(query) = read_framed(&mut stream).await {
        write_framed(&mut stream, &response(&query)).await;
    }
}

/// An HTTP/1.1 DoH server. Without `keep_alive` it closes each connection after one request.
async fn http(stream: TlsStream<TcpStream>, keep_alive: bool) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            if line == "\r\n" {
                break;
            }
            head.push(line.trim_end().to_ascii_lowercase().replace(": ", ":"));
            if head.len() == 1 {
                let target = line.split(' ').nth(1).unwrap().to_owned();
                head[0] = target;
            }
        }
        let message = head[0].strip_prefix("/dns-query?dns=").expect("the path of the URL and the query");
        let message = URL_SAFE_NO_PAD.decode(message).expect("base64url without padding");
        assert_eq!(message[..2], [0, 0], "the id is 0");
        assert!(head.contains(&"accept:application/dns-message".to_owned()), "{head:?}");
        assert!(head.iter().any(|line| line.starts_with("host:portal.test:")), "{head:?}");
        let body = response(&message);
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/dns-message\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
        stream.flush().await.unwrap();
        if !keep_alive {
            return;
        }
    }
}

/// Nothing in these tests may hang.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(TEST_TIMEOUT, test).await.expect("no test takes that long") });
}

#[test]
fn dot_queries_share_one_connection_and_responses_are_unchanged() {
    run(async {
        let mut world = TestServer::new(&[]);
        let server = strict(world.serve(dot).await, Some(NAME));
        for id in [7, 7, 0xffff] {
            let (bytes, parsed) = world.ask(id, &server).await.unwrap();
            assert_eq!(bytes, response(&query(id).1));
            assert_eq!(parsed.metadata.id, id);
        }
        assert_eq!(world.connections(), 1);
        assert_eq!(world.forwarder.failure(&server), None);
    });
}

#[test]
fn concurrent_dot_queries_with_equal_ids_get_their_own_responses() {
    run(async {
        let mut world = TestServer::new(&[]);
        let server = world
            .serve(|mut stream, _| async move {
                let (first, second) =
                    (read_framed(&mut stream).await.unwrap(), read_framed(&mut stream).await.unwrap());
                assert_ne!(first[..2], second[..2], "ids differ on the connection");
                write_framed(&mut stream, &response(&second)).await;
                write_framed(&mut stream, &response(&first)).await;
                let _end = read_framed(&mut stream).await;
            })
            .await;
        let server = strict(server, Some(NAME));
        let (one, other) = tokio::join!(world.ask(1, &server), world.ask(1, &server));
        assert_eq!(one.unwrap().0, response(&query(1).1));
        assert_eq!(other.unwrap().0, response(&query(1).1));
    });
}

#[test]
fn closed_dot_connection_is_reopened() {
    run(async {
        let mut world = TestServer::new(&[]);
        let server = world
            .serve(|mut stream, number| async move {
                let query = read_framed(&mut stream).await.unwrap();
                write_framed(&mut stream, &response(&query)).await;
                if number == 0 {
                    // The next query is read and not answered.
                    let _query = read_framed(&mut stream).await;
                } else {
                    let _end = read_framed(&mut stream).await;
                }
            })
            .await;
        let server = strict(server, Some(NAME));
        world.ask(1, &server).await.unwrap();
        world.ask(2, &server).await.unwrap();
        assert_eq!(world.connections(), 2);
    });
}

/// A resolver that is silent on its first connection after one response, as after a route change.
async fn silent_after_first(mut stream: TlsStream<TcpStream>, number: u32) {
    while let Some(query) = read_framed(&mut stream).await {
        write_framed(&mut stream, &response(&query)).await;
        if number == 0 {
            std::future::pending::<()>().await;
        }
    }
}

#[test]
fn connections_of_a_former_network_are_not_used() {
    run(async {
        let mut world = TestServer::new(&[]);
        let server = strict(world.serve(silent_after_first).await, Some(NAME));
        world.ask(1, &server).await.unwrap();
        let hangs = world.ask(2, &server);
        let changes = async { world.forwarder.forget_connections() };
        assert_eq!(tokio::join!(hangs, changes).0.unwrap().0, response(&query(2).1));
        assert_eq!(world.connections(), 2);

        let mut world = TestServer::new(&[]);
        let server = url(world.serve(|stream, _| http(stream, true)).await);
        world.serve_name().await;
        world.ask(1, &server).await.unwrap();
        world.forwarder.forget_connections();
        world.ask(2, &server).await.unwrap();
        assert_eq!(world.connections(), 2);
    });
}

#[test]
fn dead_dot_connection_costs_one_query() {
    run(async {
        let mut world = TestServer::with(Limits { host: Duration::from_secs(1), tunnel: TEST_TIMEOUT }, &[]);
        let server = strict(world.serve(silent_after_first).await, Some(NAME));
        world.ask(1, &server).await.unwrap();
        assert!(matches!(world.ask(2, &server).await, Err(ForwardError::TimedOut)));
        world.ask(3, &server).await.unwrap();
        assert_eq!(world.connections(), 2);
    });
}

#[test]
fn resolver_with_foreign_certificate_is_not_used() {
    run(async {
        let mut world = TestServer::new(&[]);
        let address = world.serve(dot).await;
        for name in [Some("other.test"), None] {
            let server = strict(address, name);
            assert!(matches!(world.ask(1, &server).await, Err(ForwardError::Io(_))), "{name:?}");
            assert_eq!(world.forwarder.failure(&server), Some(Failure::Certificate));
        }
        assert_eq!(world.connections(), 0);
    });
}

#[test]
fn opportunistic_tls_accepts_any_certificate() {
    run(async {
        let mut world = TestServer::new(&[]);
        let server = perhaps(world.serve(dot).await);
        world.ask(1, &server).await.unwrap();
        assert_eq!(world.connections(), 1);
    });
}

#[test]
fn resolver_without_tls_is_queried_in_plain_and_remembered() {
    run(async {
        let world = TestServer::new(&[]);
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let mut helpers = JoinSet::new();
        helpers.spawn(async move {
            let mut buffer = [0; 512];
            loop {
                let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
                socket.send_to(&response(&buffer[..length]), from).await.unwrap();
            }
        });
        let server = perhaps(address);
        world.ask(1, &server).await.unwrap();

        // From now on a silent server listens on the port.
        let listener = TcpListener::bind(address).await.unwrap();
        world.ask(2, &server).await.unwrap();
        assert!(tokio::time::timeout(Duration::ZERO, listener.accept()).await.is_err());
    });
}

#[test]
fn silent_dot_resolver_times_out() {
    run(async {
        let soon = Duration::from_millis(50);
        let mut world = TestServer::with(Limits { host: soon, tunnel: TEST_TIMEOUT }, &[]);
        let server = world.serve(|stream, _| async move { drop(stream) }).await;
        assert!(world.ask(1, &strict(server, Some(NAME))).await.is_err());
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = strict(silent.local_addr().unwrap(), Some(NAME));
        assert!(matches!(world.ask(1, &server).await, Err(ForwardError::TimedOut)));
        assert_eq!(world.forwarder.failure(&server), Some(Failure::TimedOut));
    });
}

#[test]
fn doh_server_is_resolved_by_host_resolvers_and_shares_one_connection() {
    run(async {
        for protocols in [&[][..], &[b"http/1.1".as_slice()]] {
            let mut world = TestServer::new(protocols);
            let server = url(world.serve(|stream, _| http(stream, true)).await);
            assert!(matches!(world.ask(1, &server).await, Err(ForwardError::NoAddress)));
            assert_eq!(world.forwarder.failure(&server), Some(Failure::NoAddress));

            world.serve_name().await;
            for id in [7, 8] {
                assert_eq!(world.ask(id, &server).await.unwrap().0, response(&query(id).1));
            }
            let (one, other) = tokio::join!(world.ask(1, &server), world.ask(1, &server));
            assert_eq!(one.unwrap().0, other.unwrap().0);
            assert_eq!((world.connections(), world.forwarder.failure(&server)), (1, None));
        }
    });
}

#[test]
fn closed_doh_connection_is_reopened() {
    run(async {
        let mut world = TestServer::new(&[]);
        let server = url(world.serve(|stream, _| http(stream, false)).await);
        world.serve_name().await;
        for id in 1..=3 {
            assert_eq!(world.ask(id, &server).await.unwrap().0, response(&query(id).1));
        }
        assert_eq!(world.connections(), 3);
    });
}

#[test]
fn non_doh_response_is_a_protocol_failure() {
    run(async {
        for head in [
            "HTTP/1.1 404 Not Found\r\ncontent-type: application/dns-message\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-type: application/dns-message\r\ncontent-length: 99999\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-type: application/dns-message\r\ncontent-length: 3\r\n\r\nabc",
            "EHLO\r\n\r\n",
        ] {
            let mut world = TestServer::new(&[]);
            let server = world
                .serve(move |mut stream, _| async move {
                    let mut buffer = [0; 4096];
                    let _length = stream.read(&mut buffer).await.unwrap();
                    stream.write_all(head.as_bytes()).await.unwrap();
                    let _gone = stream.write_all(&[b'x'; 70_000]).await;
                })
                .await;
            world.serve_name().await;
            let server = url(server);
            assert!(world.ask(1, &server).await.is_err(), "{head}");
            assert_eq!(world.forwarder.failure(&server), Some(Failure::Protocol), "{head}");
        }
    });
}

#[test]
fn own_lookups_use_tls_if_the_host_requires_it() {
    run(async {
        let mut world = TestServer::new(&[]);
        let server = world.serve(dot).await;
        let (_, roots) = certificate(&[]);
        let resolver = Resolver { address: server, ..Resolver::over_tls(server.ip(), Some(NAME)) };
        let mut found = Vec::new();
        super::look_up(0, &roots, &[resolver], "www.example", &mut |ip| found.push(ip)).await.unwrap();
        assert!(found.contains(&IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))), "{found:?}");
        assert_eq!(world.connections(), 1);
    });
}

//! A minimal portal for tests.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use ::portal::{ApiUrl, Login, UserAgent, user_agent::SystemInfo};
use futures_util::{SinkExt as _, StreamExt as _};
use model::PublicKey;
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use tls::Roots;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{Request, Response},
        protocol::CloseFrame,
    },
};

use super::super::{Event, Link, dial::Dialer};

pub(super) const TOKEN: &str = ".SFMyNTY.invented.token";

/// A listening portal.
pub(super) struct Portal {
    pub(super) listener: TcpListener,
}

/// One accepted WebSocket.
pub(super) struct Peer<S = TcpStream> {
    socket: WebSocketStream<S>,
    /// Of the upgrade.
    pub(super) uri: String,
    pub(super) headers: Vec<(String, String)>,
}

impl Portal {
    pub(super) async fn new() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    pub(super) fn link(&self) -> Link {
        link(&format!("ws://{}", self.address()))
    }

    pub(super) async fn accept(&self) -> Peer {
        Peer::upgrade(self.listener.accept().await.unwrap().0).await
    }

    /// Accepts a connection, answers the join, and sends a minimal `init`.
    pub(super) async fn accept_and_join(&self) -> Peer {
        let mut peer = self.accept().await;
        peer.join().await;
        peer.push("init", json!({ "interface": { "ipv4": "100.64.0.2", "ipv6": "fd00:2021:1111::2" } })).await;
        peer
    }

    /// Answers one request with these bytes, in separate writes, and closes.
    pub(super) async fn refuse(&self, pieces: &[&str]) {
        let mut stream = self.listener.accept().await.unwrap().0;
        stream.set_nodelay(true).unwrap();
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await.unwrap();
        for piece in pieces {
            stream.write_all(piece.as_bytes()).await.unwrap();
            tokio::task::yield_now().await;
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    pub(super) async fn upgrade(stream: S) -> Self {
        let (mut uri, mut headers) = (String::new(), Vec::new());
        #[expect(clippy::result_large_err, reason = "the library's signature")]
        let look = |request: &Request, response: Response| {
            uri = request.uri().to_string();
            let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
            headers =
                request.headers().iter().map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect();
            Ok(response)
        };
        let socket = accept_hdr_async(stream, look).await.unwrap();
        Self { socket, uri, headers }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }

    /// The next text frame.
    pub(super) async fn receive(&mut self) -> Value {
        loop {
            if let Message::Text(text) = self.socket.next().await.unwrap().unwrap() {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }

    /// The code of the next Close frame.
    pub(super) async fn closed(&mut self) -> Option<u16> {
        while let Some(Ok(message)) = self.socket.next().await {
            if let Message::Close(frame) = message {
                return frame.map(|frame| frame.code.into());
            }
        }
        None
    }

    pub(super) async fn join(&mut self) {
        let join = self.receive().await;
        assert_eq!(join, json!({ "topic": "client", "event": "phx_join", "payload": null, "ref": 0 }));
        self.reply(&join).await;
    }

    pub(super) async fn reply(&mut self, to: &Value) {
        let payload = json!({ "status": "ok", "response": {} });
        self.send(json!({ "topic": to["topic"], "event": "phx_reply", "payload": payload, "ref": to["ref"] })).await;
    }

    pub(super) async fn push(&mut self, event: &str, payload: Value) {
        self.send(json!({ "topic": "client", "event": event, "payload": payload, "ref": null })).await;
    }

    async fn send(&mut self, frame: Value) {
        self.socket.send(Message::text(frame.to_string())).await.unwrap();
    }

    pub(super) async fn send_binary(&mut self, bytes: &'static [u8]) {
        self.socket.send(Message::binary(bytes)).await.unwrap();
    }

    pub(super) async fn close(&mut self, frame: Option<CloseFrame>) {
        self.socket.close(frame).await.unwrap();
    }
}

pub(super) fn login(url: &str) -> Login {
    Login {
        portal: url.parse().unwrap(),
        token: TOKEN.into(),
        external_id: "test-device".to_owned(),
        name: "Test device".to_owned(),
        user_agent: UserAgent::new(&SystemInfo::default(), "0.1.0"),
        device_serial: None,
        device_uuid: None,
    }
}

pub(super) fn key(byte: u8) -> PublicKey {
    PublicKey([byte; 32])
}

/// A link to a portal whose URL contains an address.
pub(super) fn link(url: &str) -> Link {
    Link::start(login(url), key(1), Vec::new(), 0, None)
}

/// A link to a portal with a name, resolved by a hosts file or by DNS servers.
pub(super) fn named_link(url: &str, hosts: &Hosts, resolvers: Vec<model::Resolver>, roots: Option<Roots>) -> Link {
    Link::with(dialer(url, hosts, resolvers, roots), login(url), key(1), None)
}

pub(super) fn dialer(url: &str, hosts: &Hosts, resolvers: Vec<model::Resolver>, roots: Option<Roots>) -> Dialer {
    let portal: ApiUrl = url.parse().unwrap();
    let mut dialer = Dialer::new(&portal, Vec::new(), 0);
    dialer.hosts = hosts.0.clone();
    dialer.resolvers = resolvers;
    dialer.roots = roots.unwrap_or(Roots::System);
    dialer
}

/// A hosts file; gone when dropped.
pub(super) struct Hosts(pub(super) PathBuf);

impl Hosts {
    pub(super) fn new(content: &str) -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("firezoned-hosts-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, content).unwrap();
        Self(path)
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// An address that neither accepts nor refuses connections, because its backlog is full.
pub(super) struct BlackHole {
    _listener: Socket,
    _fill: Vec<Socket>,
}

impl BlackHole {
    pub(super) fn new(address: SocketAddr) -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&address.into()).unwrap();
        listener.listen(0).unwrap();
        let fill = |_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(&address.into());
            socket
        };
        Self { _fill: (0..4).map(fill).collect(), _listener: listener }
    }
}

/// The next event, or `None` at the end.
pub(super) async fn next(link: &mut Link) -> Option<Event> {
    link.events.recv().await
}

/// The certificate of `portal.test`, and roots that trust it.
pub(super) fn certificate() -> (tokio_rustls::TlsAcceptor, Roots) {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
    let certificate = CertificateDer::from_pem_slice(include_bytes!("../../../tls/testdata/certificate.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../../../tls/testdata/key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    (Arc::new(config).into(), Roots::Fixed(Arc::new(roots)))
}

/// Advances the virtual clock.
pub(super) async fn skip(duration: Duration) {
    tokio::time::pause();
    tokio::time::advance(duration).await;
    tokio::time::resume();
}

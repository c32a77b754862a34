//! Which addresses are listened on.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::{
    net::{TcpListener, UdpSocket},
    sync::mpsc,
    task::JoinSet,
};

use super::{
    Transport,
    exchange::Exchange,
    forward::Forwarder,
    obstacle::{self, Process},
    tcp, udp,
};
use dataplane::Command;

/// An address that was just added to an interface may need a moment until it can be bound.
const ATTEMPTS: u32 = 20;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(50);
/// How many TCP connections may wait to be accepted.
const BACKLOG: i32 = 128;

/// Answers queries on the sentinels. Dropping it ends everything.
#[derive(Debug)]
pub struct Server {
    exchange: Arc<Exchange>,
    listeners: BTreeMap<SocketAddr, Listener>,
}

/// Why a sentinel cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Somebody else listens there. A wildcard listener on the port takes every address of the host.
    #[error("{}", in_the_way(*.transport, *.port, .process.as_ref()))]
    InTheWay {
        /// What cannot be bound.
        transport: Transport,
        /// The port of the sentinels.
        port: u16,
        /// Who it is, if that could be found out.
        process: Option<Process>,
    },
    /// We may not use the port.
    #[error("not permitted to listen on {transport} port {port}; CAP_NET_BIND_SERVICE is missing")]
    NotPermitted {
        /// What cannot be bound.
        transport: Transport,
        /// The port of the sentinels.
        port: u16,
    },
    /// Anything else.
    #[error("cannot listen on {transport} port {port} of a sentinel address")]
    Bind {
        /// What cannot be bound.
        transport: Transport,
        /// The port of the sentinels.
        port: u16,
        /// What the kernel says.
        source: io::Error,
    },
}

/// The tasks of one sentinel. They end when this is dropped.
#[derive(Debug)]
struct Listener {
    tasks: JoinSet<()>,
}

impl Server {
    /// A server that asks the packet thread over `ask`, and others over `forwarder`.
    #[must_use]
    pub fn new(ask: mpsc::Sender<Command>, forwarder: Forwarder) -> Self {
        Self { exchange: Arc::new(Exchange::new(ask, forwarder)), listeners: BTreeMap::new() }
    }

    /// Listens on `port` of exactly these addresses. Those that were listened on before go on undisturbed; with those
    /// that are gone end their connections and pending queries.
    ///
    /// # Errors
    /// An address cannot be served; all others are. The first reason is returned.
    pub async fn serve(&mut self, sentinels: &[IpAddr], port: u16) -> Result<(), ServeError> {
        let wanted: Vec<_> = sentinels.iter().map(|ip| SocketAddr::new(*ip, port)).collect();
        self.listeners.retain(|address, listener| wanted.contains(address) && listener.is_alive());

        let mut outcome = Ok(());
        for address in wanted {
            if self.listeners.contains_key(&address) {
                continue;
            }
            match Listener::start(address, &self.exchange).await {
                Ok(listener) => {
                    self.listeners.insert(address, listener);
                }
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        outcome
    }
}

impl Listener {
    async fn start(address: SocketAddr, exchange: &Arc<Exchange>) -> Result<Self, ServeError> {
        let udp = patiently(Transport::Udp, address, bind_udp).await?;
        let tcp = patiently(Transport::Tcp, address, bind_tcp).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(udp::serve(udp, address.ip(), Arc::clone(exchange)));
        tasks.spawn(tcp::serve(tcp, address.ip(), Arc::clone(exchange)));
        tracing::debug!(%address, "listening for DNS queries");
        Ok(Self { tasks })
    }

    /// Neither task ever returns unless its socket is broken.
    fn is_alive(&mut self) -> bool {
        self.tasks.try_join_next().is_none()
    }
}

async fn patiently<S>(
    transport: Transport,
    address: SocketAddr,
    bind: impl Fn(SocketAddr) -> io::Result<S>,
) -> Result<S, ServeError> {
    let port = address.port();
    let mut attempt = 1;
    let error = loop {
        match bind(address) {
            Ok(socket) => return Ok(socket),
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable && attempt < ATTEMPTS => {
                attempt += 1;
                tokio::time::sleep(BETWEEN_ATTEMPTS).await;
            }
            Err(error) => break error,
        }
    };
    Err(match error.kind() {
        io::ErrorKind::AddrInUse => {
            let search = tokio::task::spawn_blocking(move || obstacle::find(transport, address));
            ServeError::InTheWay { transport, port, process: search.await.ok().flatten() }
        }
        io::ErrorKind::PermissionDenied => ServeError::NotPermitted { transport, port },
        _ => ServeError::Bind { transport, port, source: error },
    })
}

fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    UdpSocket::from_std(socket.into())
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn in_the_way(transport: Transport, port: u16, process: Option<&Process>) -> String {
    let who = process.map_or_else(|| "another program".to_owned(), ToString::to_string);
    format!("{who} already listens on {transport} port {port} of every address; bind it to single addresses or stop it")
}

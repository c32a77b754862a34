//! The listeners on the sentinels.

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
    exchange::Exchange,
    forward::Forwarder,
    port_owner::{self, Process},
    tcp,
    transport::Transport,
    udp,
};
use dataplane::Command;

/// An address that was just added to an interface cannot always be bound at once.
const BIND_ATTEMPTS: u32 = 20;
const BIND_RETRY_DELAY: Duration = Duration::from_millis(50);
/// TCP connections that may wait to be accepted.
const TCP_BACKLOG: i32 = 128;

/// Answers queries on the sentinels. Dropping it closes all sockets.
#[derive(Debug)]
pub struct Server {
    exchange: Arc<Exchange>,
    listeners: BTreeMap<SocketAddr, Listener>,
}

/// Why a sentinel cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another program occupies the port. A wildcard listener occupies it on every address of the host.
    #[error("{}", port_in_use(*.transport, *.port, .process.as_ref()))]
    PortInUse {
        /// The transport that cannot be bound.
        transport: Transport,
        /// The port of the sentinels.
        port: u16,
        /// The program, if it could be determined.
        process: Option<Process>,
    },
    /// The process lacks the permission for the port.
    #[error("not permitted to listen on {transport} port {port}; CAP_NET_BIND_SERVICE is missing")]
    NotPermitted {
        /// The transport that cannot be bound.
        transport: Transport,
        /// The port of the sentinels.
        port: u16,
    },
    /// Anything else.
    #[error("cannot listen on {transport} port {port} of a sentinel address")]
    Bind {
        /// The transport that cannot be bound.
        transport: Transport,
        /// The port of the sentinels.
        port: u16,
        /// The error of the kernel.
        source: io::Error,
    },
}

/// The tasks of one sentinel. They end when this is dropped.
#[derive(Debug)]
struct Listener {
    tasks: JoinSet<()>,
}

impl Server {
    /// A server that requests decisions over `commands`, and forwards through `forwarder`.
    #[must_use]
    pub fn new(commands: mpsc::Sender<Command>, forwarder: Forwarder) -> Self {
        Self { exchange: Arc::new(Exchange::new(commands, forwarder)), listeners: BTreeMap::new() }
    }

    /// Listens on `port` of exactly these addresses. Existing listeners for them continue undisturbed; others are closed with
    /// their connections and pending queries.
    ///
    /// # Errors
    /// An address cannot be served; all others are. The first error is returned.
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
        let udp = bind_with_retries(Transport::Udp, address, bind_udp).await?;
        let tcp = bind_with_retries(Transport::Tcp, address, bind_tcp).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(udp::serve(udp, address.ip(), Arc::clone(exchange)));
        tasks.spawn(tcp::serve(tcp, address.ip(), Arc::clone(exchange)));
        tracing::debug!(%address, "listening for DNS queries");
        Ok(Self { tasks })
    }

    /// The tasks return only if a socket is broken.
    fn is_alive(&mut self) -> bool {
        self.tasks.try_join_next().is_none()
    }
}

async fn bind_with_retries<S>(
    transport: Transport,
    address: SocketAddr,
    bind: impl Fn(SocketAddr) -> io::Result<S>,
) -> Result<S, ServeError> {
    let port = address.port();
    let mut attempt = 1;
    let error = loop {
        match bind(address) {
            Ok(socket) => return Ok(socket),
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable && attempt < BIND_ATTEMPTS => {
                attempt += 1;
                tokio::time::sleep(BIND_RETRY_DELAY).await;
            }
            Err(error) => break error,
        }
    };
    Err(match error.kind() {
        io::ErrorKind::AddrInUse => {
            let owner = tokio::task::spawn_blocking(move || port_owner::find(transport, address));
            ServeError::PortInUse { transport, port, process: owner.await.ok().flatten() }
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
    socket.listen(TCP_BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn port_in_use(transport: Transport, port: u16, process: Option<&Process>) -> String {
    let owner = process.map_or_else(|| "another program".to_owned(), ToString::to_string);
    format!(
        "{owner} already listens on {transport} port {port} of every address; bind it to single addresses or stop it"
    )
}

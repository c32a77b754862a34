//! From the portal's name to a WebSocket. All addresses are dialled in parallel; the first connection is used.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use ::tls::Roots;
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use portal::{ApiUrl, ConnectionError, DialError, Request};
use socket2::SockRef;
use tokio::{
    net::{TcpSocket, TcpStream},
    sync::mpsc,
    time::timeout,
};

use super::{
    resolve::{Resolver, resolve},
    stream::Stream,
    tls,
    upgrade::upgrade,
    websocket::WebSocket,
};

/// For each address.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The parameters of an attempt.
#[derive(Clone, Debug)]
pub(super) struct Dialer {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) is_tls: bool,
    /// The DNS servers of the host.
    pub(super) resolvers: Vec<model::Resolver>,
    /// Usually `/etc/hosts`.
    pub(super) hosts: PathBuf,
    /// The mark that keeps packets out of the tunnel; 0 means none.
    pub(super) mark: u32,
    pub(super) roots: Roots,
    /// The portal's addresses of the last attempt, used if no DNS server answers.
    pub(super) last_addresses: Vec<IpAddr>,
}

/// The result of an attempt.
pub(super) struct DialResult {
    /// The portal's addresses, as far as they were resolved.
    pub(super) addresses: Vec<IpAddr>,
    /// The WebSocket, or the error.
    pub(super) outcome: Result<WebSocket, ConnectionError>,
}

impl Dialer {
    pub(super) fn new(portal: &ApiUrl, resolvers: Vec<model::Resolver>, mark: u32) -> Self {
        Self {
            host: portal.host().to_owned(),
            port: portal.port(),
            is_tls: portal.is_tls(),
            resolvers,
            hosts: PathBuf::from("/etc/hosts"),
            mark,
            roots: Roots::System,
            last_addresses: Vec::new(),
        }
    }

    /// Replaces the DNS servers; returns whether they have changed.
    pub(super) fn use_resolvers(&mut self, resolvers: Vec<model::Resolver>) -> bool {
        let changed = self.resolvers != resolvers;
        self.resolvers = resolvers;
        changed
    }

    /// Keeps the portal's addresses for later attempts.
    pub(super) fn remember(&mut self, addresses: Vec<IpAddr>) {
        if !addresses.is_empty() {
            self.last_addresses = addresses;
        }
    }

    /// Starts one attempt. Dropping it closes all its sockets.
    pub(super) fn dial(&self, request: Request) -> BoxFuture<'static, DialResult> {
        let dialer = self.clone();
        async move {
            let mut addresses = Vec::new();
            let outcome = dialer.connect(&request, &mut addresses).await;
            DialResult { addresses, outcome }
        }
        .boxed()
    }

    async fn connect(&self, request: &Request, addresses: &mut Vec<IpAddr>) -> Result<WebSocket, ConnectionError> {
        let stream = match self.reach(addresses).await {
            Err(DialError::NameNotResolved) if !self.last_addresses.is_empty() => {
                tracing::debug!("no DNS server knows the portal; trying its last addresses");
                let attempts = self.last_addresses.iter().map(|&ip| self.attempt(ip)).collect();
                first_connected(attempts).await?
            }
            stream => stream?,
        };
        let stream =
            if self.is_tls { tls::connect(stream, &self.host, &self.roots).await? } else { Stream::Plain(stream) };
        upgrade(stream, request).await
    }

    /// Dials each address as soon as it is resolved and returns the first connection.
    async fn reach(&self, addresses: &mut Vec<IpAddr>) -> Result<TcpStream, DialError> {
        let (sender, mut resolved_ips) = mpsc::unbounded_channel(); // Limited by `MAX_ADDRESSES` of the resolver.
        let mut report = move |ip| {
            let _receiver_dropped = sender.send(ip);
        };
        let resolver = self.resolver();
        let mut resolving = Box::pin(resolve(&resolver, &self.host, &mut report).fuse());
        let mut resolved = None;
        let mut attempts = FuturesUnordered::new();
        let mut unreachable = false;
        loop {
            tokio::select! {
                biased;
                Some(ip) = resolved_ips.recv() => {
                    addresses.push(ip);
                    attempts.push(self.attempt(ip));
                }
                outcome = &mut resolving, if resolved.is_none() => resolved = Some(outcome),
                Some(attempt) = attempts.next(), if !attempts.is_empty() => match attempt {
                    Ok(stream) => return Ok(stream),
                    Err(DialError::SocketMarkDenied) => return Err(DialError::SocketMarkDenied),
                    Err(_) => unreachable = true,
                },
                else => break,
            }
            match resolved {
                Some(Err(DialError::SocketMarkDenied)) => return Err(DialError::SocketMarkDenied),
                Some(_) if attempts.is_empty() && resolved_ips.is_empty() => break,
                Some(_) | None => {}
            }
        }
        match resolved {
            Some(Err(error)) if !unreachable => Err(error),
            Some(_) | None => Err(DialError::Unreachable),
        }
    }

    async fn attempt(&self, ip: IpAddr) -> Result<TcpStream, DialError> {
        let connecting = tcp(SocketAddr::new(ip, self.port), self.mark);
        timeout(CONNECT_TIMEOUT, connecting).await.unwrap_or(Err(DialError::Unreachable))
    }

    fn resolver(&self) -> Resolver<'_> {
        Resolver { servers: &self.resolvers, hosts: &self.hosts, mark: self.mark, roots: &self.roots }
    }
}

/// Marks a socket so that its packets stay out of the tunnel. Without the mark they would loop.
pub(super) fn mark(socket: &SockRef<'_>, mark: u32) -> Result<(), DialError> {
    if mark == 0 {
        return Ok(());
    }
    socket.set_mark(mark).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => DialError::SocketMarkDenied,
        _ => DialError::Unreachable,
    })
}

/// The first successful connection. An address without a route must not delay the others.
async fn first_connected(
    mut attempts: FuturesUnordered<impl Future<Output = Result<TcpStream, DialError>>>,
) -> Result<TcpStream, DialError> {
    while let Some(attempt) = attempts.next().await {
        match attempt {
            Ok(stream) => return Ok(stream),
            Err(DialError::SocketMarkDenied) => return Err(DialError::SocketMarkDenied),
            Err(_) => {}
        }
    }
    Err(DialError::Unreachable)
}

/// Connects a marked socket.
pub(super) async fn tcp(address: SocketAddr, mark_as: u32) -> Result<TcpStream, DialError> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(|_| DialError::Unreachable)?;
    mark(&SockRef::from(&socket), mark_as)?;
    let _ = socket.set_nodelay(true);
    socket.connect(address).await.map_err(|error| {
        tracing::debug!(%error, "cannot connect");
        DialError::Unreachable
    })
}

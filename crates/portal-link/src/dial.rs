//! From the portal's name to a WebSocket: all addresses at once, the first that answers wins.

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
const CONNECT: Duration = Duration::from_secs(5);

/// What it takes to dial.
#[derive(Clone, Debug)]
pub(super) struct Dialer {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) is_tls: bool,
    /// The host's own resolvers.
    pub(super) resolvers: Vec<model::Resolver>,
    /// Usually `/etc/hosts`.
    pub(super) hosts: PathBuf,
    /// Keeps our packets out of the tunnel; 0 is none.
    pub(super) mark: u32,
    pub(super) roots: Roots,
    /// Where the portal was last time, for when no resolver answers.
    pub(super) known: Vec<IpAddr>,
}

/// How an attempt ended.
pub(super) struct Dialed {
    /// Where the portal is, if that was found out.
    pub(super) addresses: Vec<IpAddr>,
    /// The socket, or why there is none.
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
            known: Vec::new(),
        }
    }

    /// Uses other resolvers from now on; says whether they are others.
    pub(super) fn use_resolvers(&mut self, resolvers: Vec<model::Resolver>) -> bool {
        let changed = self.resolvers != resolvers;
        self.resolvers = resolvers;
        changed
    }

    /// Remembers where the portal is.
    pub(super) fn remember(&mut self, addresses: Vec<IpAddr>) {
        if !addresses.is_empty() {
            self.known = addresses;
        }
    }

    /// One attempt. Whoever drops it closes everything that it opened.
    pub(super) fn dial(&self, request: Request) -> BoxFuture<'static, Dialed> {
        let dialer = self.clone();
        async move {
            let mut addresses = Vec::new();
            let outcome = dialer.connect(&request, &mut addresses).await;
            Dialed { addresses, outcome }
        }
        .boxed()
    }

    async fn connect(&self, request: &Request, addresses: &mut Vec<IpAddr>) -> Result<WebSocket, ConnectionError> {
        let stream = match self.reach(addresses).await {
            Err(DialError::NameNotResolved) if !self.known.is_empty() => {
                tracing::debug!("nobody knows where the portal is; trying where it was");
                let attempts = self.known.iter().map(|&ip| self.attempt(ip)).collect();
                first(attempts).await?
            }
            stream => stream?,
        };
        let stream =
            if self.is_tls { tls::connect(stream, &self.host, &self.roots).await? } else { Stream::Plain(stream) };
        upgrade(stream, request).await
    }

    /// Dials each address as soon as it is known; the first that answers wins, whatever the others and the resolvers do.
    async fn reach(&self, addresses: &mut Vec<IpAddr>) -> Result<TcpStream, DialError> {
        let (told, mut news) = mpsc::unbounded_channel(); // As many as the resolver tells, which are few.
        let mut tell = move |ip| {
            let _nobody_listens_any_more = told.send(ip);
        };
        let resolver = self.resolver();
        let mut resolving = Box::pin(resolve(&resolver, &self.host, &mut tell).fuse());
        let mut resolved = None;
        let mut attempts = FuturesUnordered::new();
        let mut unreachable = false;
        loop {
            tokio::select! {
                biased;
                Some(ip) = news.recv() => {
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
                Some(_) if attempts.is_empty() && news.is_empty() => break,
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
        timeout(CONNECT, connecting).await.unwrap_or(Err(DialError::Unreachable))
    }

    fn resolver(&self) -> Resolver<'_> {
        Resolver { servers: &self.resolvers, hosts: &self.hosts, mark: self.mark, roots: &self.roots }
    }
}

/// Marks a socket so that its packets stay out of the tunnel. Without that they would loop.
pub(super) fn mark(socket: &SockRef<'_>, mark: u32) -> Result<(), DialError> {
    if mark == 0 {
        return Ok(());
    }
    socket.set_mark(mark).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => DialError::SocketMarkDenied,
        _ => DialError::Unreachable,
    })
}

/// The first of all connections that succeeds. Hosts with an IPv6 address and no way out must not make anyone wait.
async fn first(
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

/// One connection on a marked socket.
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

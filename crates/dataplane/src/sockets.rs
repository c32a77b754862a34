//! The pair of UDP sockets that all relays and peers share.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use connection::Transmit;
use rustix::net::sockopt;
use socket2::{Domain, Protocol, Socket, Type};

use super::{
    counters::Counters,
    syscalls,
    tun::Flushed,
    udp::{Datagram, Udp},
};

/// The port that users can forward to this machine. If it is taken, any other port works.
const PREFERRED_PORT: u16 = 52625;

/// Size in bytes: 10 Gbit/s for 1 ms, rounded up to a power of two.
const SEND_BUFFER: usize = 2 << 20;
/// Size in bytes: 10 Gbit/s for 10 ms, rounded up to a power of two.
const RECEIVE_BUFFER: usize = 16 << 20;
/// Minimum size in bytes. A system that refuses even this keeps its default.
const MIN_BUFFER: usize = 64 << 10;

/// Why there are no sockets.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Datagrams of the tunnel would be routed into the tunnel.
    #[error("cannot mark UDP sockets, so the tunnel would loop into itself: CAP_NET_ADMIN is needed")]
    Mark(#[source] io::Error),
    /// Neither IPv4 nor IPv6.
    #[error("cannot open a UDP socket")]
    None(#[source] io::Error),
}

/// One socket for each available address family.
pub(super) struct Sockets {
    v4: Option<Udp>,
    v6: Option<Udp>,
}

/// The sockets before the loop runs.
pub(super) struct Bound {
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
}

impl Bound {
    /// Opens both sockets. One family alone is enough.
    pub(super) fn open(mark: u32) -> Result<Self, SocketError> {
        let v4 = bind(Domain::IPV4, mark);
        let v6 = bind(Domain::IPV6, mark);

        match (v4, v6) {
            (Err(error @ SocketError::Mark(_)), _) | (_, Err(error @ SocketError::Mark(_))) => Err(error),
            (Err(error), Err(_)) => Err(error),
            (v4, v6) => {
                for error in [v4.as_ref().err(), v6.as_ref().err()].into_iter().flatten() {
                    tracing::debug!(error = error as &dyn std::error::Error, "one address family has no socket");
                }
                Ok(Self { v4: v4.ok(), v6: v6.ok() })
            }
        }
    }
}

impl Sockets {
    /// Must be called within the runtime of the loop.
    pub(super) fn new(bound: Bound) -> io::Result<Self> {
        Ok(Self { v4: bound.v4.map(Udp::new).transpose()?, v6: bound.v6.map(Udp::new).transpose()? })
    }

    /// Closes both sockets and discards their queues.
    pub(super) fn close(&mut self) {
        self.v4 = None;
        self.v6 = None;
    }

    /// The local port of one family.
    #[cfg(test)]
    pub(super) fn port(&self, v6: bool) -> Option<u16> {
        let socket = if v6 { &self.v6 } else { &self.v4 };
        socket.as_ref().map(Udp::port)
    }

    /// Queues a datagram or a batch.
    pub(super) fn push(&mut self, transmit: Transmit, counters: &mut Counters) {
        let socket = if transmit.destination.is_ipv4() { &mut self.v4 } else { &mut self.v6 };
        match socket {
            Some(socket) => socket.push(transmit),
            None => counters.udp_no_socket += 1,
        }
    }

    /// Sends the queued datagrams.
    pub(super) fn flush(&mut self, counters: &mut Counters) -> Flushed {
        let mut flushed = Flushed::All;
        for socket in [&mut self.v4, &mut self.v6].into_iter().flatten() {
            if socket.flush(counters) == Flushed::Blocked {
                flushed = Flushed::Blocked;
            }
        }

        flushed
    }

    /// Receives available datagrams, one batch of each family at most.
    pub(super) fn receive(&mut self, counters: &mut Counters, mut each: impl FnMut(Datagram<'_>)) {
        for socket in [&mut self.v4, &mut self.v6].into_iter().flatten() {
            socket.receive(counters, &mut each);
        }
    }

    /// Waits until there are datagrams to receive. Cancel-safe.
    pub(super) async fn readable(&self) -> io::Result<()> {
        tokio::select! {
            result = readable(self.v4.as_ref()) => result,
            result = readable(self.v6.as_ref()) => result,
        }
    }

    /// Waits until a full socket is writable again. Cancel-safe.
    pub(super) async fn writable(&self) -> io::Result<()> {
        tokio::select! {
            result = writable(self.v4.as_ref()) => result,
            result = writable(self.v6.as_ref()) => result,
        }
    }
}

async fn readable(socket: Option<&Udp>) -> io::Result<()> {
    match socket {
        Some(socket) => socket.readable().await,
        None => std::future::pending().await,
    }
}

async fn writable(socket: Option<&Udp>) -> io::Result<()> {
    match socket {
        Some(socket) if socket.is_waiting() => socket.writable().await,
        Some(_) | None => std::future::pending().await,
    }
}

fn bind(domain: Domain, mark: u32) -> Result<UdpSocket, SocketError> {
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP)).map_err(SocketError::None)?;
    // First: no datagram may be sent without the mark.
    socket.set_mark(mark).map_err(SocketError::Mark)?;
    socket.set_nonblocking(true).map_err(SocketError::None)?;
    if domain == Domain::IPV6 {
        // Both sockets use the same port.
        socket.set_only_v6(true).map_err(SocketError::None)?;
        prefer_stable_address(&socket);
    }
    force_buffers(&socket);

    let any = |port| match domain {
        Domain::IPV6 => SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
        _ => SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
    };
    socket.bind(&any(PREFERRED_PORT).into()).or_else(|_| socket.bind(&any(0).into())).map_err(SocketError::None)?;

    Ok(socket.into())
}

/// Temporary IPv6 addresses rotate, and each rotation requires a new path to every peer.
fn prefer_stable_address(socket: &Socket) {
    const IPV6_ADDR_PREFERENCES: libc::c_int = 72;
    const IPV6_PREFER_SRC_PUBLIC: libc::c_int = 2;

    if let Err(error) = syscalls::set_option(socket, libc::IPPROTO_IPV6, IPV6_ADDR_PREFERENCES, IPV6_PREFER_SRC_PUBLIC)
    {
        tracing::warn!(%error, "cannot prefer stable IPv6 addresses; paths may change when temporary ones rotate");
    }
}

/// Exceeds the limit of the system if permitted.
fn force_buffers(socket: &Socket) {
    if sockopt::set_socket_send_buffer_size_force(socket, SEND_BUFFER).is_err() {
        set_largest(SEND_BUFFER, |size| socket.set_send_buffer_size(size).is_ok());
    }
    if sockopt::set_socket_recv_buffer_size_force(socket, RECEIVE_BUFFER).is_err() {
        set_largest(RECEIVE_BUFFER, |size| socket.set_recv_buffer_size(size).is_ok());
    }
}

fn set_largest(size: usize, mut accepts: impl FnMut(usize) -> bool) {
    let halved = std::iter::successors(Some(size), |size| Some(size / 2));
    let _ = halved.take_while(|size| *size >= MIN_BUFFER).any(&mut accepts);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffer_size_is_halved_until_accepted() {
        let mut attempts = Vec::new();

        set_largest(RECEIVE_BUFFER, |size| {
            attempts.push(size);
            size <= 4 << 20
        });

        assert_eq!(attempts, [16 << 20, 8 << 20, 4 << 20]);
    }

    #[test]
    fn default_buffer_size_is_kept_if_all_sizes_are_refused() {
        let mut attempts = 0;

        set_largest(SEND_BUFFER, |_| {
            attempts += 1;
            false
        });

        assert_eq!(attempts, 6);
    }
}

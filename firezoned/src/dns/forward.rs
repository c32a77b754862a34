//! Asking another resolver.
//!
//! The query goes out as it came, over the same transport, from a socket of its own; the kernel chooses a random port
//! and lets only the one peer answer. There are no repetitions: that is the asker's business.

use std::{io, net::SocketAddr, time::Duration};

use dns::{NoResponse, Response, Via};
use hickory_proto::op::Query;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, UdpSocket},
    time::timeout,
};

use super::Transport;

/// The largest datagram there is. Memory is used only for what really comes.
const MAX_DATAGRAM: usize = 65_535;

/// Opens sockets and asks.
#[derive(Clone, Debug)]
pub(super) struct Forwarder {
    mark: u32,
    limits: Limits,
}

/// How long a resolver may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) host: Duration,
    pub(super) tunnel: Duration,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error("it took too long")]
    TimedOut,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    NoResponse(#[from] NoResponse),
    #[error("it answered something else")]
    OtherQuestion,
    #[error("the query is too long")]
    TooLong,
}

impl Default for Limits {
    fn default() -> Self {
        Self { host: Duration::from_secs(5), tunnel: Duration::from_secs(10) }
    }
}

impl Forwarder {
    /// What goes past the tunnel carries `mark`; 0 is no mark.
    pub(super) fn new(mark: u32) -> Self {
        Self { mark, limits: Limits::default() }
    }

    #[cfg(test)]
    pub(super) fn impatient(limits: Limits) -> Self {
        Self { mark: 0, limits }
    }

    /// Sends `bytes`, which ask `query`, and returns the response as it came and as far as it was understood.
    pub(super) async fn ask(
        &self,
        bytes: &[u8],
        query: &Query,
        server: SocketAddr,
        via: Via,
        transport: Transport,
    ) -> Result<(Vec<u8>, Response), NoAnswer> {
        let limit = match via {
            Via::Host => self.limits.host,
            Via::Tunnel => self.limits.tunnel,
        };
        let answered = async {
            match transport {
                Transport::Udp => self.ask_udp(bytes, query, server, via).await,
                Transport::Tcp => self.ask_tcp(bytes, query, server, via).await,
            }
        };
        timeout(limit, answered).await.unwrap_or(Err(NoAnswer::TimedOut))
    }

    async fn ask_udp(
        &self,
        bytes: &[u8],
        query: &Query,
        server: SocketAddr,
        via: Via,
    ) -> Result<(Vec<u8>, Response), NoAnswer> {
        let socket = self.socket(server, via, Type::DGRAM, Protocol::UDP)?;
        // Without this, the kernel keeps most ICMP errors to itself, and the asker would wait for nothing.
        if server.is_ipv4() {
            setsockopt(&socket, sockopt::Ipv4RecvErr, &true).map_err(io::Error::from)?;
        } else {
            setsockopt(&socket, sockopt::Ipv6RecvErr, &true).map_err(io::Error::from)?;
        }
        socket.connect(&SockAddr::from(server))?;
        let socket = UdpSocket::from_std(socket.into())?;
        socket.send(bytes).await?;
        let mut datagram = Vec::with_capacity(MAX_DATAGRAM);
        loop {
            datagram.clear();
            socket.recv_buf(&mut datagram).await?;
            // Anybody can guess our port; a wrong answer does not keep us from waiting for the right one.
            if !has_id_of(&datagram, bytes) {
                continue;
            }
            let response = Response::parse(&datagram)?;
            if response.answers(id_of(bytes), query) {
                datagram.shrink_to_fit();
                return Ok((datagram, response));
            }
        }
    }

    async fn ask_tcp(
        &self,
        bytes: &[u8],
        query: &Query,
        server: SocketAddr,
        via: Via,
    ) -> Result<(Vec<u8>, Response), NoAnswer> {
        let length = u16::try_from(bytes.len()).map_err(|_| NoAnswer::TooLong)?;
        let socket = self.socket(server, via, Type::STREAM, Protocol::TCP)?;
        let mut stream = TcpSocket::from_std_stream(socket.into()).connect(server).await?;
        stream.write_all(&[&length.to_be_bytes(), bytes].concat()).await?;
        let length = stream.read_u16().await?;
        let mut answer = vec![0; length.into()];
        stream.read_exact(&mut answer).await?;
        let response = Response::parse(&answer)?;
        if !response.answers(id_of(bytes), query) {
            return Err(NoAnswer::OtherQuestion);
        }
        Ok((answer, response))
    }

    fn socket(&self, server: SocketAddr, via: Via, kind: Type, protocol: Protocol) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(server), kind, Some(protocol))?;
        socket.set_nonblocking(true)?;
        if via == Via::Host && self.mark != 0 {
            socket.set_mark(self.mark)?;
        }
        Ok(socket)
    }
}

/// The first two bytes of each message (RFC 1035 4.1.1).
fn id_of(message: &[u8]) -> u16 {
    message.first_chunk().copied().map_or(0, u16::from_be_bytes)
}

fn has_id_of(message: &[u8], other: &[u8]) -> bool {
    message.len() >= 2 && id_of(message) == id_of(other)
}

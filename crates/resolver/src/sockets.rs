//! Sockets to other resolvers, through the tunnel or outside.

use std::{io, net::SocketAddr};

use dns::Via;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

use super::error::ForwardError;

/// Opens sockets to other resolvers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sockets {
    /// Keeps packets out of the tunnel; 0 means no mark.
    pub(super) mark: u32,
}

impl Sockets {
    /// A socket for one query: the kernel chooses a random port and accepts datagrams of this peer only.
    pub(super) fn udp(self, server: SocketAddr, via: Via) -> Result<UdpSocket, ForwardError> {
        let socket = self.open(server, via, Type::DGRAM, Protocol::UDP)?;
        // Without this option the kernel does not report most ICMP errors, and the query would time out.
        if server.is_ipv4() {
            setsockopt(&socket, sockopt::Ipv4RecvErr, &true).map_err(io::Error::from)?;
        } else {
            setsockopt(&socket, sockopt::Ipv6RecvErr, &true).map_err(io::Error::from)?;
        }
        socket.connect(&SockAddr::from(server))?;
        Ok(UdpSocket::from_std(socket.into())?)
    }

    /// A connection.
    pub(super) async fn tcp(self, server: SocketAddr, via: Via) -> Result<TcpStream, ForwardError> {
        let socket = self.open(server, via, Type::STREAM, Protocol::TCP)?;
        let _ = socket.set_tcp_nodelay(true);
        Ok(TcpSocket::from_std_stream(socket.into()).connect(server).await?)
    }

    fn open(self, server: SocketAddr, via: Via, kind: Type, protocol: Protocol) -> Result<Socket, ForwardError> {
        let socket = Socket::new(Domain::for_address(server), kind, Some(protocol))?;
        socket.set_nonblocking(true)?;
        if via == Via::Host && self.mark != 0 {
            socket.set_mark(self.mark).map_err(|error| match error.kind() {
                io::ErrorKind::PermissionDenied => ForwardError::CannotMark,
                _ => ForwardError::Io(error),
            })?;
        }
        Ok(socket)
    }
}

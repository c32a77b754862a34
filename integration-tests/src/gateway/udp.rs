//! UDP sockets with source addresses and congestion marks.

use std::{
    io::{self, IoSliceMut},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use connection::Transmit;
use ip_packet::Ecn;
use quinn_udp::{EcnCodepoint, RecvMeta, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{io::Interest, net::UdpSocket};

/// Where peers expect us.
const PORT: u16 = 52625;
/// Room for what the kernel may hand over at once.
const RECEIVE_BUFFER_BYTES: usize = 1 << 16;

/// One socket of each address family.
#[derive(Debug)]
pub(super) struct Sockets {
    v4: Half,
    v6: Half,
}

#[derive(Debug)]
struct Half {
    socket: UdpSocket,
    state: UdpSocketState,
    port: u16,
    buffer: Vec<u8>,
}

/// One datagram.
#[derive(Debug)]
pub(super) struct Datagram {
    pub(super) local: SocketAddr,
    pub(super) from: SocketAddr,
    pub(super) ecn: Ecn,
    pub(super) payload: Vec<u8>,
}

impl Sockets {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self {
            v4: Half::open(SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)))?,
            v6: Half::open(SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT)))?,
        })
    }

    /// The next datagrams that have arrived.
    pub(super) async fn receive(&mut self) -> io::Result<Vec<Datagram>> {
        tokio::select! {
            datagrams = self.v4.receive() => datagrams,
            datagrams = self.v6.receive() => datagrams,
        }
    }

    /// Sends, or loses what the kernel does not take: UDP may do that.
    pub(super) fn send(&self, transmit: &Transmit) {
        let half = if transmit.destination.is_ipv4() { &self.v4 } else { &self.v6 };
        for segment in transmit.payload.chunks(transmit.segment.max(1)) {
            let datagram = quinn_udp::Transmit {
                destination: transmit.destination,
                ecn: EcnCodepoint::from_bits(transmit.ecn.bits()),
                contents: segment,
                segment_size: None,
                src_ip: transmit.source,
            };
            if let Err(error) = half.state.try_send((&half.socket).into(), &datagram) {
                tracing::debug!(%error, destination = %transmit.destination, "not sent");
            }
        }
    }
}

impl Half {
    fn open(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_recv_buffer_size(4 << 20)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        let socket = UdpSocket::from_std(socket.into())?;
        let state = UdpSocketState::new((&socket).into())?;
        Ok(Self { port: socket.local_addr()?.port(), socket, state, buffer: vec![0; RECEIVE_BUFFER_BYTES] })
    }

    async fn receive(&mut self) -> io::Result<Vec<Datagram>> {
        let Self { socket, state, port, buffer } = self;
        let mut meta = [RecvMeta::default()];
        socket
            .async_io(Interest::READABLE, || state.recv((&*socket).into(), &mut [IoSliceMut::new(buffer)], &mut meta))
            .await?;

        let [meta] = meta;
        let Some(ip) = meta.dst_ip else {
            return Err(io::Error::other("the kernel does not report destination addresses"));
        };
        let ecn = Ecn::from_bits(meta.ecn.map_or(0, |ecn| ecn as u8));
        let datagrams = buffer[..meta.len].chunks(meta.stride.max(1)).map(|payload| Datagram {
            local: SocketAddr::new(ip, *port),
            from: meta.addr,
            ecn,
            payload: payload.to_vec(),
        });
        Ok(datagrams.collect())
    }
}

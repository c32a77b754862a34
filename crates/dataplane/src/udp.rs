//! One UDP socket: batches in, batches out.
//!
//! `quinn-udp` receives and sets the options of the socket. It does not send: after the first `EINVAL`, which the kernel also
//! returns when a pinned source address is gone, `quinn-udp` disables batches and ECN permanently.

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{IpAddr, SocketAddr, UdpSocket},
    os::fd::AsRawFd,
};

use connection::Transmit;
use ip_packet::Ecn;
use nix::{
    errno::Errno,
    sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg},
};
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSocketState};
use tokio::io::Interest;

use super::{counters::Counters, send_queue::SendQueue, syscalls, tun::Flushed};

/// Maximum length of a datagram of a peer in bytes: a full packet, encrypted, through a relay.
const MAX_DATAGRAM: usize = 1316;
/// Size of a receive buffer in bytes. The kernel coalesces up to 64 datagrams and truncates them to smaller buffers.
const BUFFER_SIZE: usize = 64 * MAX_DATAGRAM;

/// One socket with its queue.
pub(super) struct Udp {
    socket: tokio::net::UdpSocket,
    receiver: UdpSocketState,
    port: u16,
    queue: SendQueue,
    /// Whether kernel and network card accept batches.
    sends_batches: bool,
    /// Whether the last flush ended because the socket was full.
    is_full: bool,
    memory: Vec<u8>,
}

/// A received datagram.
pub(super) struct Datagram<'a> {
    /// The address at which it arrived.
    pub(super) local: SocketAddr,
    /// The sender.
    pub(super) from: SocketAddr,
    /// The congestion mark of its IP header.
    pub(super) ecn: Ecn,
    /// The content.
    pub(super) payload: &'a mut [u8],
}

impl Udp {
    /// Must be called within the runtime of the loop.
    pub(super) fn new(socket: UdpSocket) -> io::Result<Self> {
        let receiver = UdpSocketState::new((&socket).into())?;
        // The time stamps are unused, and the option makes the kernel stamp every packet of this machine.
        let _ = syscalls::set_option(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 0);

        Ok(Self {
            port: socket.local_addr()?.port(),
            socket: tokio::net::UdpSocket::from_std(socket)?,
            receiver,
            queue: SendQueue::default(),
            sends_batches: true,
            is_full: false,
            memory: vec![0; BATCH_SIZE * BUFFER_SIZE],
        })
    }

    /// Waits until there are datagrams to receive. Cancel-safe.
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// Waits until datagrams can be sent again. Cancel-safe.
    pub(super) async fn writable(&self) -> io::Result<()> {
        self.socket.writable().await
    }

    /// The local port.
    #[cfg(test)]
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Whether output waits until the socket is writable.
    pub(super) fn is_waiting(&self) -> bool {
        self.is_full
    }

    /// Queues a datagram or a batch.
    pub(super) fn push(&mut self, transmit: Transmit) {
        self.queue.push(transmit);
    }

    /// Receives one batch, if available. Failed calls are only counted: errors of a UDP socket concern one peer.
    pub(super) fn receive(&mut self, counters: &mut Counters, each: &mut impl FnMut(Datagram<'_>)) {
        let mut meta = [RecvMeta::default(); BATCH_SIZE];
        let mut memory = self.memory.chunks_exact_mut(BUFFER_SIZE);
        let mut buffers: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(memory.next().unwrap_or_default()));
        let received = self
            .socket
            .try_io(Interest::READABLE, || self.receiver.recv((&self.socket).into(), &mut buffers, &mut meta));
        let count = match received {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => {
                counters.udp_receive_failed += 1;
                tracing::debug!(%error, "cannot receive");
                return;
            }
        };
        for (buffer, meta) in buffers.iter_mut().zip(&meta).take(count) {
            let Some(datagrams) = datagrams(buffer, meta, self.port) else {
                counters.udp_unusable += 1;
                continue;
            };
            datagrams.for_each(&mut *each);
        }
    }

    /// Sends the queued datagrams.
    pub(super) fn flush(&mut self, counters: &mut Counters) -> Flushed {
        self.is_full = false;
        while let Some((transmit, rest)) = self.queue.front() {
            let segment = transmit.segment;
            let payload = if self.sends_batches { rest } else { rest.get(..segment).unwrap_or(rest) };
            let (length, datagrams) = (payload.len(), rest.len().div_ceil(segment));

            match self.socket.try_io(Interest::WRITABLE, || send(&self.socket, transmit, payload)) {
                Ok(()) => self.queue.advance(length),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.is_full = true;
                    return Flushed::Blocked;
                }
                Err(error) if is_refusal(&error) && length > segment => self.send_singly(counters),
                Err(error) => self.drop_batch(datagrams, &error, counters),
            }
        }

        Flushed::All
    }

    /// After a refused batch: sends its first datagram alone, to find out whether the kernel accepts no batches or refuses
    /// these datagrams.
    fn send_singly(&mut self, counters: &mut Counters) {
        let Some((transmit, rest)) = self.queue.front() else {
            return;
        };
        let payload = rest.get(..transmit.segment).unwrap_or(rest);
        let (length, datagrams) = (payload.len(), rest.len().div_ceil(transmit.segment));

        match self.socket.try_io(Interest::WRITABLE, || send(&self.socket, transmit, payload)) {
            Ok(()) => {
                tracing::debug!("the kernel refuses batches of datagrams; sending them one by one from now on");
                self.sends_batches = false;
                self.queue.advance(length);
            }
            // The next round tries again.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => self.drop_batch(datagrams, &error, counters),
        }
    }

    /// Drops the oldest batch. Expected while paths are probed, and while an address is being removed.
    fn drop_batch(&mut self, datagrams: usize, error: &io::Error, counters: &mut Counters) {
        counters.udp_send_failed += datagrams as u64;
        tracing::trace!(%error, datagrams, "cannot send");
        self.queue.pop_front();
    }
}

/// `EIO`: the network card cannot compute checksums. `EINVAL`: the kernel is too old, or the source address does not exist.
fn is_refusal(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EIO | libc::EINVAL))
}

/// Sends `payload`, which is all of `transmit` or some of its datagrams.
fn send(socket: &tokio::net::UdpSocket, transmit: &Transmit, payload: &[u8]) -> io::Result<()> {
    let segment = transmit.segment as u16;
    let batch = (payload.len() > transmit.segment).then_some(ControlMessage::UdpGsoSegments(&segment));

    let (tos, class) = (transmit.ecn.bits(), i32::from(transmit.ecn.bits()));
    let mark = (transmit.ecn != Ecn::NotEct).then_some(match transmit.destination {
        SocketAddr::V4(_) => ControlMessage::Ipv4Tos(&tos),
        SocketAddr::V6(_) => ControlMessage::Ipv6TClass(&class),
    });

    let (v4, v6) = (source_v4(transmit.source), source_v6(transmit.source));
    let source = v4.as_ref().map(ControlMessage::Ipv4PacketInfo).or(v6.as_ref().map(ControlMessage::Ipv6PacketInfo));

    let mut messages = [ControlMessage::UdpGsoSegments(&segment); 3];
    let mut count = 0;
    for message in [batch, mark, source].into_iter().flatten() {
        messages[count] = message;
        count += 1;
    }
    loop {
        let result = sendmsg(
            socket.as_raw_fd(),
            &[IoSlice::new(payload)],
            &messages[..count],
            MsgFlags::empty(),
            Some(&SockaddrStorage::from(transmit.destination)),
        );
        match result {
            Err(Errno::EINTR) => {}
            result => return Ok(result.map(drop)?),
        }
    }
}

fn source_v4(source: Option<IpAddr>) -> Option<libc::in_pktinfo> {
    let Some(IpAddr::V4(ip)) = source else {
        return None;
    };

    Some(libc::in_pktinfo {
        ipi_ifindex: 0,
        ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) },
        ipi_addr: libc::in_addr { s_addr: 0 },
    })
}

fn source_v6(source: Option<IpAddr>) -> Option<libc::in6_pktinfo> {
    let Some(IpAddr::V6(ip)) = source else {
        return None;
    };

    Some(libc::in6_pktinfo { ipi6_ifindex: 0, ipi6_addr: libc::in6_addr { s6_addr: ip.octets() } })
}

/// The datagrams of a coalesced buffer. `None` if they cannot be separated, or if their local address is unknown.
fn datagrams<'a>(
    buffer: &'a mut [u8],
    meta: &RecvMeta,
    port: u16,
) -> Option<impl Iterator<Item = Datagram<'a>> + use<'a>> {
    let is_usable = (1..=meta.len).contains(&meta.stride) && meta.stride <= MAX_DATAGRAM;
    if !is_usable {
        return None;
    }
    let local = SocketAddr::new(meta.dst_ip?, port);
    let from = meta.addr;
    let ecn = Ecn::from_bits(meta.ecn.map_or(0, |ecn| ecn as u8));

    Some(buffer.get_mut(..meta.len)?.chunks_mut(meta.stride).map(move |payload| Datagram { local, from, ecn, payload }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coalesced_receive_buffer_is_split() {
        let mut buffer = [7; 100];

        let lengths = lengths(datagrams(&mut buffer, &meta(70, 30), 1));

        assert_eq!(lengths, Some(vec![30, 30, 10]));
    }

    #[test]
    fn invalid_lengths_and_missing_local_addresses_are_rejected() {
        let mut buffer = [7; 4000];
        let mut without_address = meta(70, 30);
        without_address.dst_ip = None;

        for meta in [meta(70, 0), meta(70, 71), meta(2000, 1317), meta(0, 0), without_address] {
            assert!(datagrams(&mut buffer, &meta, 1).is_none(), "{meta:?}");
        }
        assert!(datagrams(&mut buffer, &meta(2000, 1316), 1).is_some());
    }

    fn meta(len: usize, stride: usize) -> RecvMeta {
        let mut meta = RecvMeta::default();
        meta.len = len;
        meta.stride = stride;
        meta.dst_ip = Some(IpAddr::from([127, 0, 0, 1]));
        meta
    }

    fn lengths<'a>(datagrams: Option<impl Iterator<Item = Datagram<'a>>>) -> Option<Vec<usize>> {
        Some(datagrams?.map(|datagram| datagram.payload.len()).collect())
    }
}

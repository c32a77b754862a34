//! The TUN device: packets of this host, in and out.

use std::{
    fs, io,
    os::{
        fd::OwnedFd,
        unix::fs::{DirBuilderExt, OpenOptionsExt},
    },
    path::Path,
};

use event_loop::WatchedFd;
use ip_packet::{
    IpPacket, MAX_IP_SIZE,
    gso::{self, Coalescer, Header, SuperPacket},
};
use rustix::{
    fs::{FileType, Mode},
    net::{AddressFamily, SocketType},
};
use tokio::io::Interest;

use super::{counters::Counters, syscalls};

const NODE: &str = "/dev/net/tun";
/// Major and minor number of the device in Linux.
const NODE_NUMBER: (u32, u32) = (10, 200);

/// Length of the transmit queue in packets. Bursts of segmented packets overflow the default of 500.
const TX_QUEUE_LEN: i32 = 10_000;

/// Checksums, and super packets of TCP and UDP over IPv4 and IPv6. The last two need Linux 6.2.
const OFFLOADS: u32 = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | TUN_F_USO4 | TUN_F_USO6;
const TUN_F_USO4: u32 = 0x20;
const TUN_F_USO6: u32 = 0x40;

/// Packets after which a reading round ends, so that other sources get their turn.
const MAX_PACKETS_PER_ROUND: usize = 256;

/// A TUN device that only this process uses. The interface exists as long as this value.
#[derive(Debug)]
pub struct Tun {
    fd: OwnedFd,
    name: String,
    index: u32,
    /// Whether the kernel reads and writes super packets.
    offloads: bool,
}

/// Why there is no TUN device.
#[derive(Debug, thiserror::Error)]
pub enum TunError {
    /// Another process owns an interface of this name; two readers would steal each other's packets.
    #[error("the interface {0} is in use by another process")]
    Busy(String),
    /// The process lacks the permission.
    #[error("not permitted to create the interface {0}: CAP_NET_ADMIN and access to {NODE} are needed")]
    NotPermitted(String),
    /// The device node does not exist and could not be created.
    #[error("{NODE} does not exist and cannot be created")]
    NoNode(#[source] io::Error),
    /// The device node exists and cannot be opened.
    #[error("{NODE} cannot be opened")]
    Unusable(#[source] io::Error),
    /// Anything else.
    #[error("cannot create the interface {name}")]
    Other {
        /// The name of the interface.
        name: String,
        /// The error of the kernel.
        source: io::Error,
    },
}

impl Tun {
    /// Creates the interface `name`, with its MTU and without addresses and routes.
    ///
    /// # Errors
    /// Another process owns it, or the device is not available.
    pub fn open(name: &str) -> Result<Self, TunError> {
        create_node(Path::new(NODE)).map_err(TunError::NoNode)?;
        let tun = Self::attach(name).map_err(|error| match error.kind() {
            io::ErrorKind::ResourceBusy => TunError::Busy(name.to_owned()),
            io::ErrorKind::PermissionDenied => TunError::NotPermitted(name.to_owned()),
            _ => TunError::Other { name: name.to_owned(), source: error },
        })?;
        tracing::debug!(offloads = tun.offloads, "TUN device is open");

        Ok(tun)
    }

    /// Checks that the device for creating interfaces is available.
    ///
    /// # Errors
    /// It does not exist, or cannot be opened.
    pub fn look_for_device() -> Result<(), TunError> {
        create_node(Path::new(NODE)).map_err(TunError::NoNode)?;
        open_node().map(drop).map_err(TunError::Unusable)
    }

    /// The index of the interface.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// The name of the interface.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn attach(name: &str) -> io::Result<Self> {
        // Not IFF_MULTI_QUEUE: it reorders flows, and it lets a second process attach instead of failing.
        const FLAGS: i32 = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR;

        let fd = open_node()?;
        let name = syscalls::tun_attach(&fd, name, FLAGS)?;
        let offloads = syscalls::tun_set_offload(&fd, OFFLOADS).is_ok();

        let socket = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None)?;
        let index = rustix::net::netdevice::name_to_index(&socket, &name)?;
        syscalls::set_mtu(&socket, &name, MAX_IP_SIZE as i32)?;
        if let Err(error) = syscalls::set_queue_length(&socket, &name, TX_QUEUE_LEN) {
            tracing::debug!(%error, "cannot set the queue length of the TUN device");
        }

        Ok(Self { fd, name, index, offloads })
    }
}

/// A [`Tun`] within the loop of the data plane.
pub(super) struct TunDevice {
    fd: WatchedFd,
    buffer: Vec<u8>,
    outgoing: Coalescer,
    /// Whether the last flush ended because the device was full.
    is_full: bool,
}

/// Result of a flush.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Flushed {
    /// Everything was sent.
    All,
    /// The kernel accepts no more at the moment.
    Blocked,
}

impl TunDevice {
    /// Must be called within the runtime of the loop.
    pub(super) fn new(tun: Tun) -> io::Result<Self> {
        Ok(Self {
            outgoing: Coalescer::new(tun.offloads),
            buffer: vec![0; Header::LENGTH + usize::from(u16::MAX)],
            is_full: false,
            fd: WatchedFd::new(tun.fd, Interest::READABLE | Interest::WRITABLE)?,
        })
    }

    /// Waits until there are packets to read. Cancel-safe.
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.fd.readable().await
    }

    /// Waits until packets can be written again. Cancel-safe.
    pub(super) async fn writable(&self) -> io::Result<()> {
        self.fd.writable().await
    }

    /// Reads available packets, one round at most. An error means that the device was deleted.
    pub(super) fn read(&mut self, counters: &mut Counters, mut each: impl FnMut(IpPacket)) -> io::Result<()> {
        let mut packets = 0;
        while packets < MAX_PACKETS_PER_ROUND {
            let read = self.fd.read(&mut self.buffer);
            let length = match read {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            packets += 1;
            let Ok((header, packet)) = Header::decode(&mut self.buffer[..length]) else {
                counters.tun_unreadable += 1;
                continue;
            };
            for packet in gso::split(header, packet) {
                packets += 1;
                match packet {
                    Ok(packet) => each(packet),
                    Err(invalid) => {
                        counters.tun_invalid += 1;
                        tracing::trace!(%invalid, "dropped a packet from the TUN device");
                    }
                }
            }
        }

        Ok(())
    }

    /// Whether output waits until the device is writable.
    pub(super) fn is_waiting(&self) -> bool {
        self.is_full
    }

    /// Queues a packet for this host.
    pub(super) fn push(&mut self, packet: IpPacket) {
        self.outgoing.push(packet);
    }

    /// Writes the queued packets. An error means that the device was deleted.
    pub(super) fn flush(&mut self, counters: &mut Counters) -> io::Result<Flushed> {
        self.is_full = false;
        while let Some(packet) = self.outgoing.front() {
            let header = packet.header();
            let mut pieces = [io::IoSlice::new(&[]); 1 + SuperPacket::MAX_PIECES];
            let used = pieces.iter_mut().zip(std::iter::once(io::IoSlice::new(&header)).chain(packet.pieces()));
            let count = used.map(|(place, piece)| *place = piece).count();
            let is_joined = packet.is_joined();

            match self.fd.write(&pieces[..count]) {
                Ok(_) => {
                    self.outgoing.pop_front();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.is_full = true;
                    return Ok(Flushed::Blocked);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(libc::EBADFD) => return Err(error),
                Err(error) => {
                    counters.tun_write_failed += self.outgoing.pop_front() as u64;
                    if is_joined && error.kind() == io::ErrorKind::InvalidInput {
                        tracing::debug!("the kernel refuses super packets; writing single packets from now on");
                        self.outgoing.stop_joining();
                    }
                }
            }
        }

        Ok(Flushed::All)
    }
}

fn open_node() -> io::Result<OwnedFd> {
    Ok(fs::OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(NODE)?.into())
}

/// Containers often lack the device node.
fn create_node(node: &Path) -> io::Result<()> {
    if node.exists() {
        return Ok(());
    }
    if let Some(directory) = node.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o751).create(directory)?;
    }
    let number = rustix::fs::makedev(NODE_NUMBER.0, NODE_NUMBER.1);
    match rustix::fs::mknodat(rustix::fs::CWD, node, FileType::CharacterDevice, Mode::from_raw_mode(0o600), number) {
        // Another process has created it meanwhile.
        Err(rustix::io::Errno::EXIST) => Ok(()),
        result => Ok(result?),
    }
}

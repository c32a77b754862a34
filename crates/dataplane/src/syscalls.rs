//! System calls for which no library has a safe interface.

#![allow(unsafe_code, reason = "each block is one system call with arguments that live as long as the call")]

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
};

/// Attaches an open `/dev/net/tun` to the interface `name`, which is created if it does not exist. Returns the name that
/// the interface has.
pub(super) fn tun_attach(tun: impl AsFd, name: &str, flags: libc::c_int) -> io::Result<String> {
    let mut request = interface_request(name)?;
    request.ifr_ifru.ifru_flags = flags as libc::c_short;

    // SAFETY: `TUNSETIFF` reads and writes a `struct ifreq`, which `request` is.
    check(unsafe { libc::ioctl(tun.as_fd().as_raw_fd(), libc::TUNSETIFF, &mut request) })?;

    let name = request.ifr_name.iter().take_while(|char| **char != 0).map(|char| *char as u8).collect();
    String::from_utf8(name).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Sets the kinds of super packets that the kernel may deliver through the TUN device.
pub(super) fn tun_set_offload(tun: impl AsFd, offloads: libc::c_uint) -> io::Result<()> {
    // SAFETY: the argument of `TUNSETOFFLOAD` is a number, not a pointer.
    check(unsafe { libc::ioctl(tun.as_fd().as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(offloads)) })
}

/// Sets the MTU of an interface.
pub(super) fn set_mtu(socket: impl AsFd, interface: &str, mtu: libc::c_int) -> io::Result<()> {
    let mut request = interface_request(interface)?;
    request.ifr_ifru.ifru_mtu = mtu;

    // SAFETY: `SIOCSIFMTU` reads a `struct ifreq`, which `request` is.
    check(unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::SIOCSIFMTU, &mut request) })
}

/// Sets the transmit queue length of an interface in packets.
pub(super) fn set_queue_length(socket: impl AsFd, interface: &str, packets: libc::c_int) -> io::Result<()> {
    let mut request = interface_request(interface)?;
    // The kernel's `ifr_qlen` shares its place with the metric; `libc` names only the latter.
    request.ifr_ifru.ifru_metric = packets;

    // SAFETY: `SIOCSIFTXQLEN` reads a `struct ifreq`, which `request` is.
    check(unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::SIOCSIFTXQLEN, &mut request) })
}

/// Sets a socket option whose value is a number.
pub(super) fn set_option(
    socket: impl AsFd,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `value`, which outlives the call.
    check(unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    })
}

fn interface_request(name: &str) -> io::Result<libc::ifreq> {
    // SAFETY: all zeros is a valid `struct ifreq`: it consists of numbers and, as an alternative to them, pointers.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // One place stays zero: the end of the string.
    if name.is_empty() || name.len() >= request.ifr_name.len() || name.contains('\0') {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (place, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *place = byte as libc::c_char;
    }

    Ok(request)
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

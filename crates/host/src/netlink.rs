//! rtnetlink: requests on one socket, one at a time, each with a time limit; and the kernel's notifications on another.

use std::io;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::SocketAddr;
use rtnetlink::{Handle, MulticastGroup};
use tokio::task::JoinHandle;

use super::routes::KernelRoute;
use super::rules::Rule;

/// Time limit for a request. The kernel answers within microseconds, unless it has to load a module.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// A change interrupted the dump; it may contain entries twice or not at all (linux/netlink.h).
const NLM_F_DUMP_INTR: u16 = 0x10;

/// After so many interrupted attempts the last result is used: the watch will trigger another read.
const MAX_DUMP_ATTEMPTS: usize = 5;

/// How a request creates an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Create {
    /// The object must not exist yet.
    New,
    /// An object with the same key is replaced.
    Replace,
}

/// The process's socket to rtnetlink. Requests take `&mut self`: the kernel refuses a second dump on the same socket
/// while one is running (EBUSY).
#[derive(Debug)]
pub(super) struct Netlink {
    handle: Handle,
    connection: JoinHandle<()>,
}

impl Netlink {
    /// Must be called within a runtime. The socket belongs to the calling thread's network namespace.
    pub(super) fn open() -> io::Result<Self> {
        let (connection, handle, _unsolicited) = rtnetlink::new_connection()?;
        Ok(Self { handle, connection: tokio::spawn(connection) })
    }

    /// Requests all objects of a kind and keeps those for which `pick` returns a value.
    pub(super) async fn dump<T>(
        &mut self,
        what: RouteNetlinkMessage,
        mut pick: impl FnMut(RouteNetlinkMessage) -> Option<T>,
    ) -> Result<Vec<T>, KernelError> {
        let mut found = Vec::new();
        for _ in 0..MAX_DUMP_ATTEMPTS {
            found.clear();
            let mut take = |message| found.extend(pick(message));
            let attempt = self.dump_once(what.clone(), &mut take);
            if tokio::time::timeout(REPLY_TIMEOUT, attempt).await.map_err(|_| KernelError::NoReply)?? == Dump::Complete
            {
                break;
            }
        }
        Ok(found)
    }

    /// Creates an object and waits for the kernel's acknowledgement.
    pub(super) async fn create(&mut self, what: RouteNetlinkMessage, how: Create) -> Result<(), KernelError> {
        let how = match how {
            Create::New => NLM_F_EXCL,
            Create::Replace => NLM_F_REPLACE,
        };
        self.request_with_ack(what, NLM_F_CREATE | how).await
    }

    /// Changes a link or removes an object.
    pub(super) async fn change(&mut self, what: RouteNetlinkMessage) -> Result<(), KernelError> {
        self.request_with_ack(what, 0).await
    }

    async fn dump_once(
        &mut self,
        what: RouteNetlinkMessage,
        take: &mut impl FnMut(RouteNetlinkMessage),
    ) -> Result<Dump, KernelError> {
        let mut request = NetlinkMessage::from(what);
        request.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        let mut answers = self.handle.request(request).map_err(|_| KernelError::NoReply)?;

        let mut dump = Dump::Complete;
        while let Some(answer) = answers.next().await {
            if answer.header.flags & NLM_F_DUMP_INTR != 0 {
                dump = Dump::Interrupted;
            }
            match answer.payload {
                NetlinkPayload::InnerMessage(message) => take(message),
                NetlinkPayload::Error(error) => KernelError::check(error.raw_code())?,
                _ => {}
            }
        }
        Ok(dump)
    }

    async fn request_with_ack(&mut self, what: RouteNetlinkMessage, flags: u16) -> Result<(), KernelError> {
        let mut request = NetlinkMessage::from(what);
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        let mut answers = self.handle.request(request).map_err(|_| KernelError::NoReply)?;

        let acknowledged = async {
            while let Some(answer) = answers.next().await {
                if let NetlinkPayload::Error(error) = answer.payload {
                    KernelError::check(error.raw_code())?;
                }
            }
            Ok(())
        };
        tokio::time::timeout(REPLY_TIMEOUT, acknowledged).await.map_err(|_| KernelError::NoReply)?
    }
}

impl Drop for Netlink {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Notifications of the kernel.
pub(super) struct KernelEvents {
    messages: BoxStream<'static, (NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>,
    connection: JoinHandle<()>,
    /// The connection ends when its last handle is dropped.
    _handle: Handle,
}

impl KernelEvents {
    const GROUPS: [MulticastGroup; 7] = [
        MulticastGroup::Link,
        MulticastGroup::Ipv4Ifaddr,
        MulticastGroup::Ipv6Ifaddr,
        MulticastGroup::Ipv4Route,
        MulticastGroup::Ipv6Route,
        MulticastGroup::Ipv4Rule,
        MulticastGroup::Ipv6Rule,
    ];

    /// Must be called within a runtime.
    pub(super) fn open() -> io::Result<Self> {
        let (connection, handle, messages) = rtnetlink::new_multicast_connection(&Self::GROUPS)?;
        Ok(Self { messages: messages.boxed(), connection: tokio::spawn(connection), _handle: handle })
    }

    /// Waits for a relevant notification. Cancel-safe. `None` when the socket has closed.
    ///
    /// On a BGP router thousands of routes come and go; those with a gateway are irrelevant.
    pub(super) async fn next(&mut self) -> Option<()> {
        while let Some((message, _)) = self.messages.next().await {
            let is_relevant = match message.payload {
                NetlinkPayload::InnerMessage(
                    RouteNetlinkMessage::NewRoute(message) | RouteNetlinkMessage::DelRoute(message),
                ) => KernelRoute::parse(&message).is_some_and(|found| found.is_relevant()),
                NetlinkPayload::InnerMessage(
                    RouteNetlinkMessage::NewRule(message) | RouteNetlinkMessage::DelRule(message),
                ) => Rule::parse(&message).is_some(),
                // Links, addresses, and lost messages.
                _ => true,
            };
            if is_relevant {
                return Some(());
            }
        }
        None
    }
}

impl Drop for KernelEvents {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dump {
    Complete,
    Interrupted,
}

/// Why the kernel refused a request, by what callers need to distinguish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum KernelError {
    #[error("it already exists")]
    Exists,
    #[error("it does not exist")]
    NotFound,
    #[error("this kernel does not support it")]
    Unsupported,
    #[error("it is disabled on this host")]
    Disabled,
    #[error("this process lacks the permission")]
    NotPermitted,
    #[error("it is busy")]
    Busy,
    #[error("the kernel did not answer")]
    NoReply,
    #[error("the kernel refused with error {0}")]
    Errno(i32),
}

impl KernelError {
    /// Checks the code of an acknowledgement: a negative errno value, or zero for success.
    fn check(code: i32) -> Result<(), Self> {
        Err(match code.saturating_neg() {
            0 => return Ok(()),
            libc::EEXIST => Self::Exists,
            // Routes and rules report the first two, addresses the third, links the fourth.
            libc::ESRCH | libc::ENOENT | libc::EADDRNOTAVAIL | libc::ENODEV => Self::NotFound,
            libc::EOPNOTSUPP | libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT => Self::Unsupported,
            // The error for IPv6 on a link with `disable_ipv6`.
            libc::EACCES => Self::Disabled,
            libc::EPERM => Self::NotPermitted,
            libc::EBUSY => Self::Busy,
            errno => Self::Errno(errno),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn netlink_error_codes_are_classified() {
        assert_eq!(KernelError::check(0), Ok(()));
        assert_eq!(KernelError::check(-17), Err(KernelError::Exists));
        assert_eq!(KernelError::check(-3), Err(KernelError::NotFound));
        assert_eq!(KernelError::check(-2), Err(KernelError::NotFound));
        assert_eq!(KernelError::check(-99), Err(KernelError::NotFound));
        assert_eq!(KernelError::check(-95), Err(KernelError::Unsupported));
        assert_eq!(KernelError::check(-97), Err(KernelError::Unsupported));
        assert_eq!(KernelError::check(-13), Err(KernelError::Disabled));
        assert_eq!(KernelError::check(-1), Err(KernelError::NotPermitted));
        assert_eq!(KernelError::check(-16), Err(KernelError::Busy));
        assert_eq!(KernelError::check(-22), Err(KernelError::Errno(22)));
        assert!(KernelError::check(i32::MIN).is_err());
    }
}

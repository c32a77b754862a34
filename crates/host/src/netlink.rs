//! rtnetlink: questions and orders on one socket, one at a time, each with a time limit; and the kernel's news on another.

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

use super::routes::Found;
use super::rules::Rule;

/// The kernel answers within microseconds; a module that is being loaded may take a little.
const PATIENCE: Duration = Duration::from_secs(5);

/// The dump was disturbed by a change and may show some things twice or not at all (linux/netlink.h).
const NLM_F_DUMP_INTR: u16 = 0x10;

/// A dump that is disturbed this often is taken as it is: the watch will make us look again.
const DUMP_ATTEMPTS: usize = 5;

/// How an order creates something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Create {
    /// It must not exist yet.
    New,
    /// Whatever has its place makes room.
    Replacing,
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

    /// Asks for all of something and keeps what `pick` takes.
    pub(super) async fn dump<T>(
        &mut self,
        what: RouteNetlinkMessage,
        mut pick: impl FnMut(RouteNetlinkMessage) -> Option<T>,
    ) -> Result<Vec<T>, Refusal> {
        let mut found = Vec::new();
        for _ in 0..DUMP_ATTEMPTS {
            found.clear();
            let mut take = |message| found.extend(pick(message));
            let asked = self.dump_once(what.clone(), &mut take);
            if tokio::time::timeout(PATIENCE, asked).await.map_err(|_| Refusal::Silent)?? == Dump::Whole {
                break;
            }
        }
        Ok(found)
    }

    /// Carries out one order and waits for the kernel's verdict.
    pub(super) async fn create(&mut self, what: RouteNetlinkMessage, how: Create) -> Result<(), Refusal> {
        let how = match how {
            Create::New => NLM_F_EXCL,
            Create::Replacing => NLM_F_REPLACE,
        };
        self.order(what, NLM_F_CREATE | how).await
    }

    /// An order that creates nothing: changes a link or removes something.
    pub(super) async fn change(&mut self, what: RouteNetlinkMessage) -> Result<(), Refusal> {
        self.order(what, 0).await
    }

    async fn dump_once(
        &mut self,
        what: RouteNetlinkMessage,
        take: &mut impl FnMut(RouteNetlinkMessage),
    ) -> Result<Dump, Refusal> {
        let mut request = NetlinkMessage::from(what);
        request.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        let mut answers = self.handle.request(request).map_err(|_| Refusal::Silent)?;

        let mut dump = Dump::Whole;
        while let Some(answer) = answers.next().await {
            if answer.header.flags & NLM_F_DUMP_INTR != 0 {
                dump = Dump::Disturbed;
            }
            match answer.payload {
                NetlinkPayload::InnerMessage(message) => take(message),
                NetlinkPayload::Error(verdict) => Refusal::of(verdict.raw_code())?,
                _ => {}
            }
        }
        Ok(dump)
    }

    async fn order(&mut self, what: RouteNetlinkMessage, flags: u16) -> Result<(), Refusal> {
        let mut request = NetlinkMessage::from(what);
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        let mut answers = self.handle.request(request).map_err(|_| Refusal::Silent)?;

        let verdict = async {
            while let Some(answer) = answers.next().await {
                if let NetlinkPayload::Error(verdict) = answer.payload {
                    Refusal::of(verdict.raw_code())?;
                }
            }
            Ok(())
        };
        tokio::time::timeout(PATIENCE, verdict).await.map_err(|_| Refusal::Silent)?
    }
}

impl Drop for Netlink {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// What the kernel tells without being asked.
pub(super) struct News {
    messages: BoxStream<'static, (NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>,
    connection: JoinHandle<()>,
    /// The connection ends when nobody can ask any more.
    _handle: Handle,
}

impl News {
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

    /// Waits for a message that may concern us. Cancel-safe. `None` when the socket has closed.
    ///
    /// A router that speaks BGP sees thousands of routes come and go; those with a gateway are none of ours.
    pub(super) async fn next(&mut self) -> Option<()> {
        while let Some((message, _)) = self.messages.next().await {
            let may_concern_us = match message.payload {
                NetlinkPayload::InnerMessage(
                    RouteNetlinkMessage::NewRoute(message) | RouteNetlinkMessage::DelRoute(message),
                ) => Found::read(&message).is_some_and(|found| found.may_concern_us()),
                NetlinkPayload::InnerMessage(
                    RouteNetlinkMessage::NewRule(message) | RouteNetlinkMessage::DelRule(message),
                ) => Rule::read(&message).is_some(),
                // Links and addresses; also that messages were lost.
                _ => true,
            };
            if may_concern_us {
                return Some(());
            }
        }
        None
    }
}

impl Drop for News {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dump {
    Whole,
    Disturbed,
}

/// Why the kernel did not do it, by what the caller can make of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("it exists already")]
    Exists,
    #[error("it does not exist")]
    Gone,
    #[error("this kernel cannot do that")]
    Unsupported,
    #[error("it is switched off on this host")]
    SwitchedOff,
    #[error("this process may not do that")]
    NotPermitted,
    #[error("it is busy")]
    Busy,
    #[error("the kernel did not answer")]
    Silent,
    #[error("the kernel refused with error {0}")]
    Errno(i32),
}

impl Refusal {
    /// Reads a verdict. Netlink's codes are negative errno values; zero is consent.
    fn of(code: i32) -> Result<(), Self> {
        Err(match code.saturating_neg() {
            0 => return Ok(()),
            libc::EEXIST => Self::Exists,
            // Routes and rules report the first two, addresses the third, links the fourth.
            libc::ESRCH | libc::ENOENT | libc::EADDRNOTAVAIL | libc::ENODEV => Self::Gone,
            libc::EOPNOTSUPP | libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT => Self::Unsupported,
            // What the kernel says about IPv6 on a link whose `disable_ipv6` is set.
            libc::EACCES => Self::SwitchedOff,
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
    fn verdicts_are_negative_and_zero_is_consent() {
        assert_eq!(Refusal::of(0), Ok(()));
        assert_eq!(Refusal::of(-17), Err(Refusal::Exists));
        assert_eq!(Refusal::of(-3), Err(Refusal::Gone));
        assert_eq!(Refusal::of(-2), Err(Refusal::Gone));
        assert_eq!(Refusal::of(-99), Err(Refusal::Gone));
        assert_eq!(Refusal::of(-95), Err(Refusal::Unsupported));
        assert_eq!(Refusal::of(-97), Err(Refusal::Unsupported));
        assert_eq!(Refusal::of(-13), Err(Refusal::SwitchedOff));
        assert_eq!(Refusal::of(-1), Err(Refusal::NotPermitted));
        assert_eq!(Refusal::of(-16), Err(Refusal::Busy));
        assert_eq!(Refusal::of(-22), Err(Refusal::Errno(22)));
        assert!(Refusal::of(i32::MIN).is_err());
    }
}

//! Interfaces: ours, which we configure, and the others, of which we only want to know whether they work.

use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, LinkAttribute, LinkFlags, LinkMessage, State,
};

/// What every gateway can carry; larger packets would be dropped.
const MTU: u32 = 1280;

/// Bursts of split super packets overflow the default queue of 500.
const QUEUE: u32 = 10_000;

/// A network interface as the kernel describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) up: bool,
    pub(super) loopback: bool,
    working: bool,
    mtu: u32,
    queue: u32,
    invents_addresses: bool,
}

impl Link {
    pub(super) fn read(message: &LinkMessage) -> Self {
        let flags = message.header.flags;
        let up = flags.contains(LinkFlags::Up);
        let mut link = Self {
            index: message.header.index,
            name: String::new(),
            up,
            loopback: flags.contains(LinkFlags::Loopback),
            working: up,
            mtu: 0,
            queue: 0,
            invents_addresses: false,
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                LinkAttribute::TxQueueLen(length) => link.queue = *length,
                // Many virtual and point-to-point interfaces never tell: they count as working.
                LinkAttribute::OperState(state) => link.working &= matches!(state, State::Up | State::Unknown),
                LinkAttribute::AfSpecUnspec(families) => link.invents_addresses = invents_addresses(families),
                _ => {}
            }
        }
        link
    }

    /// Whether packets can be expected to leave through it.
    pub(super) fn is_working(&self) -> bool {
        self.working
    }

    /// Whether it has the properties that [`Self::configuration`] gives it.
    pub(super) fn is_configured(&self) -> bool {
        self.mtu == MTU && self.queue == QUEUE
    }

    pub(super) fn invents_addresses(&self) -> bool {
        self.invents_addresses
    }

    #[cfg(test)]
    pub(super) fn fresh(index: u32) -> Self {
        Self {
            index,
            name: "firezone0".to_owned(),
            up: false,
            loopback: false,
            working: false,
            mtu: 1500,
            queue: 500,
            invents_addresses: true,
        }
    }

    #[cfg(test)]
    pub(super) fn configured(index: u32) -> Self {
        Self { up: true, mtu: MTU, queue: QUEUE, invents_addresses: false, ..Self::fresh(index) }
    }
}

pub(super) fn configuration(index: u32) -> RouteNetlinkMessage {
    let mut message = addressed(index);
    message.attributes = vec![LinkAttribute::Mtu(MTU), LinkAttribute::TxQueueLen(QUEUE)];
    RouteNetlinkMessage::SetLink(message)
}

/// Keeps the kernel from inventing a link-local address: nobody needs it, and while it is tentative it is in the way.
pub(super) fn no_invented_addresses(index: u32) -> RouteNetlinkMessage {
    let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    let mut message = addressed(index);
    message.attributes = vec![LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![mode])])];
    RouteNetlinkMessage::SetLink(message)
}

pub(super) fn up(index: u32) -> RouteNetlinkMessage {
    let mut message = addressed(index);
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    RouteNetlinkMessage::SetLink(message)
}

pub(super) fn down(index: u32) -> RouteNetlinkMessage {
    let mut message = addressed(index);
    message.header.change_mask = LinkFlags::Up;
    RouteNetlinkMessage::SetLink(message)
}

fn addressed(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}

fn invents_addresses(families: &[AfSpecUnspec]) -> bool {
    families
        .iter()
        .filter_map(|family| match family {
            AfSpecUnspec::Inet6(attributes) => Some(attributes),
            _ => None,
        })
        .flatten()
        .any(|attribute| matches!(attribute, AfSpecInet6::AddrGenMode(mode) if *mode != In6AddrGenMode::None))
}

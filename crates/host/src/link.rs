//! Interfaces: ours, which we configure, and the state of the others.

use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, LinkAttribute, LinkFlags, LinkMessage, State,
};

/// MTU of the tunnel interface in bytes: what every gateway supports. Larger packets would be dropped.
const MTU: u32 = 1280;

/// Length of the transmit queue in packets. Bursts of segmented packets overflow the default of 500.
const TX_QUEUE_LEN: u32 = 10_000;

/// A network interface as the kernel describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) up: bool,
    pub(super) loopback: bool,
    working: bool,
    mtu: u32,
    tx_queue_len: u32,
    generates_addresses: bool,
}

impl Link {
    pub(super) fn parse(message: &LinkMessage) -> Self {
        let flags = message.header.flags;
        let up = flags.contains(LinkFlags::Up);
        let mut link = Self {
            index: message.header.index,
            name: String::new(),
            up,
            loopback: flags.contains(LinkFlags::Loopback),
            working: up,
            mtu: 0,
            tx_queue_len: 0,
            generates_addresses: false,
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                LinkAttribute::TxQueueLen(length) => link.tx_queue_len = *length,
                // Many virtual and point-to-point interfaces do not report a state: they are assumed to work.
                LinkAttribute::OperState(state) => link.working &= matches!(state, State::Up | State::Unknown),
                LinkAttribute::AfSpecUnspec(families) => link.generates_addresses = generates_addresses(families),
                _ => {}
            }
        }
        link
    }

    /// Whether packets can leave through it.
    pub(super) fn is_working(&self) -> bool {
        self.working
    }

    /// Whether it has the properties that [`configure_request`] sets.
    pub(super) fn is_configured(&self) -> bool {
        self.mtu == MTU && self.tx_queue_len == TX_QUEUE_LEN
    }

    pub(super) fn generates_addresses(&self) -> bool {
        self.generates_addresses
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
            tx_queue_len: 500,
            generates_addresses: true,
        }
    }

    #[cfg(test)]
    pub(super) fn configured(index: u32) -> Self {
        Self { up: true, mtu: MTU, tx_queue_len: TX_QUEUE_LEN, generates_addresses: false, ..Self::fresh(index) }
    }
}

pub(super) fn configure_request(index: u32) -> RouteNetlinkMessage {
    let mut message = message_for(index);
    message.attributes = vec![LinkAttribute::Mtu(MTU), LinkAttribute::TxQueueLen(TX_QUEUE_LEN)];
    RouteNetlinkMessage::SetLink(message)
}

/// Disables the generated link-local address: it has no use, and while it is tentative it delays the others.
pub(super) fn disable_address_generation_request(index: u32) -> RouteNetlinkMessage {
    let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    let mut message = message_for(index);
    message.attributes = vec![LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![mode])])];
    RouteNetlinkMessage::SetLink(message)
}

pub(super) fn up_request(index: u32) -> RouteNetlinkMessage {
    let mut message = message_for(index);
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    RouteNetlinkMessage::SetLink(message)
}

pub(super) fn down_request(index: u32) -> RouteNetlinkMessage {
    let mut message = message_for(index);
    message.header.change_mask = LinkFlags::Up;
    RouteNetlinkMessage::SetLink(message)
}

fn message_for(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}

fn generates_addresses(families: &[AfSpecUnspec]) -> bool {
    families
        .iter()
        .filter_map(|family| match family {
            AfSpecUnspec::Inet6(attributes) => Some(attributes),
            _ => None,
        })
        .flatten()
        .any(|attribute| matches!(attribute, AfSpecInet6::AddrGenMode(mode) if *mode != In6AddrGenMode::None))
}

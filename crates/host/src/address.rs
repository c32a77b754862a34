//! Local addresses of an interface, as the kernel describes and takes them.

use std::net::IpAddr;

use ipnet::IpNet;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};

use super::family::Family;

/// An address on an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) interface: u32,
    pub(super) network: IpNet,
    /// It may go at any time or is not in use yet: not what a way to the outside is known by.
    pub(super) fleeting: bool,
}

impl Found {
    pub(super) fn read(message: &AddressMessage) -> Option<Self> {
        let mut address = None;
        let mut local = None;
        let mut flags = u32::from(message.header.flags.bits());
        for attribute in &message.attributes {
            match attribute {
                AddressAttribute::Address(ip) => address = Some(*ip),
                AddressAttribute::Local(ip) => local = Some(*ip),
                AddressAttribute::Flags(all) => flags = all.bits(),
                _ => {}
            }
        }
        // On point-to-point links `Address` is the other end.
        let address = local.or(address)?;
        let flags = AddressFlags::from_bits_retain(flags);
        let temporary = address.is_ipv6() && flags.contains(AddressFlags::Secondary);
        let unusable = AddressFlags::Tentative | AddressFlags::Dadfailed | AddressFlags::Deprecated;
        Some(Self {
            interface: message.header.index,
            network: IpNet::new(address, message.header.prefix_len).ok()?,
            fleeting: temporary || flags.intersects(unusable),
        })
    }

    pub(super) fn is_link_local(&self) -> bool {
        match self.network.addr() {
            IpAddr::V4(ip) => ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        }
    }
}

pub(super) fn creation(network: IpNet, interface: u32) -> RouteNetlinkMessage {
    RouteNetlinkMessage::NewAddress(message(network, interface))
}

pub(super) fn removal(network: IpNet, interface: u32) -> RouteNetlinkMessage {
    RouteNetlinkMessage::DelAddress(message(network, interface))
}

fn message(network: IpNet, interface: u32) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = Family::of(network.addr()).into();
    message.header.prefix_len = network.prefix_len();
    message.header.index = interface;
    message.attributes = vec![AddressAttribute::Local(network.addr()), AddressAttribute::Address(network.addr())];
    if network.addr().is_ipv6() {
        // Nobody else is on this link, so there is nothing to detect, and the stub wants to listen at once. Routes are
        // ours to make, also those of single addresses.
        let flags = AddressFlags::Nodad | AddressFlags::Noprefixroute;
        message.attributes.push(AddressAttribute::Flags(flags));
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_write_is_what_we_read_back() {
        for network in ["100.64.0.5/32", "fd00:2021:1111::5/128"] {
            let network: IpNet = network.parse().unwrap();
            let RouteNetlinkMessage::NewAddress(message) = creation(network, 7) else { panic!("not a creation") };
            assert_eq!(Found::read(&message), Some(Found { interface: 7, network, fleeting: false }));
        }
    }

    #[test]
    fn temporary_ipv6_addresses_are_fleeting_and_secondary_ipv4_addresses_are_not() {
        let read = |network: &str| {
            let mut message = message(network.parse().unwrap(), 7);
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Secondary));
            Found::read(&message).unwrap()
        };
        assert!(read("2001:db8::7/64").fleeting);
        assert!(!read("192.0.2.7/24").fleeting);
    }
}

//! Addresses of interfaces, as netlink messages.

use std::net::IpAddr;

use ipnet::IpNet;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};

use super::family::Family;

/// An address on an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InterfaceAddress {
    pub(super) interface: u32,
    pub(super) network: IpNet,
    /// Temporary (RFC 8981), deprecated or not usable yet: does not identify an uplink.
    pub(super) unstable: bool,
}

impl InterfaceAddress {
    pub(super) fn parse(message: &AddressMessage) -> Option<Self> {
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
        // On point-to-point links `Address` is the peer.
        let address = local.or(address)?;
        let flags = AddressFlags::from_bits_retain(flags);
        let temporary = address.is_ipv6() && flags.contains(AddressFlags::Secondary);
        let unusable = AddressFlags::Tentative | AddressFlags::Dadfailed | AddressFlags::Deprecated;
        Some(Self {
            interface: message.header.index,
            network: IpNet::new(address, message.header.prefix_len).ok()?,
            unstable: temporary || flags.intersects(unusable),
        })
    }

    pub(super) fn is_link_local(&self) -> bool {
        match self.network.addr() {
            IpAddr::V4(ip) => ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        }
    }
}

pub(super) fn add_request(network: IpNet, interface: u32) -> RouteNetlinkMessage {
    RouteNetlinkMessage::NewAddress(message(network, interface))
}

pub(super) fn delete_request(network: IpNet, interface: u32) -> RouteNetlinkMessage {
    RouteNetlinkMessage::DelAddress(message(network, interface))
}

fn message(network: IpNet, interface: u32) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = Family::of(network.addr()).into();
    message.header.prefix_len = network.prefix_len();
    message.header.index = interface;
    message.attributes = vec![AddressAttribute::Local(network.addr()), AddressAttribute::Address(network.addr())];
    if network.addr().is_ipv6() {
        // The link has no other hosts, so duplicate address detection would only delay the stub resolver. We add all
        // routes ourselves, prefix routes included.
        let flags = AddressFlags::Nodad | AddressFlags::Noprefixroute;
        message.attributes.push(AddressAttribute::Flags(flags));
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_message_is_parsed_back() {
        for network in ["100.64.0.5/32", "fd00:2021:1111::5/128"] {
            let network: IpNet = network.parse().unwrap();
            let RouteNetlinkMessage::NewAddress(message) = add_request(network, 7) else { panic!("not an addition") };
            assert_eq!(
                InterfaceAddress::parse(&message),
                Some(InterfaceAddress { interface: 7, network, unstable: false })
            );
        }
    }

    #[test]
    fn temporary_ipv6_address_is_unstable_and_secondary_ipv4_address_is_not() {
        let read = |network: &str| {
            let mut message = message(network.parse().unwrap(), 7);
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Secondary));
            InterfaceAddress::parse(&message).unwrap()
        };
        assert!(read("2001:db8::7/64").unstable);
        assert!(!read("192.0.2.7/24").unstable);
    }
}

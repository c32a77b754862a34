//! Who is at the other end: gateways, their addresses, and what they may send us.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ip_packet::IpPacket;
use ipnet::IpNet;
use model::{GatewayId, IceCredentials, PresharedKey, PublicKey, ResourceId, message::AuthorizationCreated};

use crate::{access::HeldPackets, prefixes::PrefixMap};

/// How many packets wait for a connection; the oldest make room.
const PACKETS: usize = 128;
/// How many of our own messages wait for a connection; the oldest make room.
const MESSAGES: usize = 128;

/// All gateways that we have a connection with, or are making one.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    gateways: BTreeMap<GatewayId, Gateway>,
    by_address: BTreeMap<IpAddr, GatewayId>,
}

/// One gateway.
#[derive(Debug)]
pub(crate) struct Gateway {
    identity: Identity,
    /// Whether packets can travel.
    is_connected: bool,
    /// Which addresses it may speak for, and because of which resources.
    sources: PrefixMap<BTreeSet<ResourceId>>,
    /// Packets that wait for the connection. While there is such a queue, all packets go behind it.
    packets: Option<HeldPackets>,
    /// Messages of ours that wait for the connection.
    messages: HeldPackets,
}

/// What makes a gateway the same as before. All of it is a function of both key pairs, so if any of it changes then
/// the gateway, or we, started anew and it remembers nothing of us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    addresses: [IpAddr; 2],
    public_key: PublicKey,
    preshared_key: PresharedKey,
    ice: [IceCredentials; 2],
}

impl Identity {
    /// The identity of the gateway that `authorization` is about.
    pub(crate) fn of(authorization: &AuthorizationCreated) -> Self {
        Self {
            addresses: [authorization.gateway_ipv4.into(), authorization.gateway_ipv6.into()],
            public_key: authorization.gateway_public_key,
            preshared_key: authorization.preshared_key.clone(),
            ice: [authorization.client_ice_credentials.clone(), authorization.gateway_ice_credentials.clone()],
        }
    }
}

impl Peers {
    /// Whether this gateway is known under another identity.
    pub(crate) fn is_someone_else(&self, gateway: GatewayId, identity: &Identity) -> bool {
        self.gateways.get(&gateway).is_some_and(|known| known.identity != *identity)
    }

    /// The gateway, made if there is none.
    pub(crate) fn upsert(&mut self, gateway: GatewayId, identity: Identity) -> &mut Gateway {
        for address in identity.addresses {
            self.by_address.insert(address, gateway);
        }
        self.gateways.entry(gateway).or_insert_with(|| Gateway {
            identity,
            is_connected: false,
            sources: PrefixMap::default(),
            packets: None,
            messages: HeldPackets::new(MESSAGES),
        })
    }

    /// Forgets a gateway.
    pub(crate) fn remove(&mut self, gateway: GatewayId) -> Option<Gateway> {
        self.by_address.retain(|_, owner| *owner != gateway);
        self.gateways.remove(&gateway)
    }

    /// A gateway that we know.
    pub(crate) fn gateway(&self, gateway: GatewayId) -> Option<&Gateway> {
        self.gateways.get(&gateway)
    }

    /// A gateway that we know.
    pub(crate) fn gateway_mut(&mut self, gateway: GatewayId) -> Option<&mut Gateway> {
        self.gateways.get_mut(&gateway)
    }

    /// The gateway that has this address in the tunnel.
    pub(crate) fn with_address(&self, address: IpAddr) -> Option<GatewayId> {
        self.by_address.get(&address).copied()
    }

    /// The gateways that packets can travel to.
    pub(crate) fn connected(&self) -> impl Iterator<Item = GatewayId> {
        self.gateways.iter().filter(|(_, gateway)| gateway.is_connected).map(|(id, _)| *id)
    }

    /// All gateways that we know.
    pub(crate) fn ids(&self) -> BTreeSet<GatewayId> {
        self.gateways.keys().copied().collect()
    }
}

impl Gateway {
    /// Packets can travel from now on.
    pub(crate) fn connected(&mut self) {
        self.is_connected = true;
    }

    /// Its address in the tunnel, of the same family as `like`.
    pub(crate) fn address(&self, like: IpAddr) -> IpAddr {
        let [v4, v6] = self.identity.addresses;
        if like.is_ipv4() { v4 } else { v6 }
    }

    /// Lets the gateway speak for `network` because of `resource`.
    pub(crate) fn allow(&mut self, network: IpNet, resource: ResourceId) {
        self.sources.entry(network).insert(resource);
    }

    /// The gateway no longer speaks for anything because of `resource`.
    pub(crate) fn disallow(&mut self, resource: ResourceId) {
        self.sources.retain(|_, because| {
            because.remove(&resource);
            !because.is_empty()
        });
    }

    /// Whether the gateway may send packets with this source.
    pub(crate) fn may_send_from(&self, source: IpAddr) -> bool {
        self.identity.addresses.contains(&source) || self.sources.containing(source).next().is_some()
    }

    /// Whether packets wait for the connection.
    pub(crate) fn is_holding(&self) -> bool {
        self.packets.is_some()
    }

    /// Keeps a packet until there is a connection.
    pub(crate) fn hold(&mut self, packet: IpPacket) {
        self.packets.get_or_insert_with(|| HeldPackets::new(PACKETS)).push(packet);
    }

    /// Keeps one of our own messages until there is a connection.
    pub(crate) fn hold_message(&mut self, message: IpPacket) {
        self.messages.push(message);
    }

    /// Everything that waited: packets first, then messages.
    pub(crate) fn take_held(&mut self) -> (Vec<IpPacket>, Vec<IpPacket>) {
        let packets = self.packets.take().into_iter().flatten().collect();
        let messages = std::mem::replace(&mut self.messages, HeldPackets::new(MESSAGES)).into_iter().collect();
        (packets, messages)
    }
}

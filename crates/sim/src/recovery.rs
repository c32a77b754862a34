//! What has to hold in every world after the random events.

use model::RelayId;

use crate::{
    link::Link,
    packets::packet,
    units::{ms, secs},
    world::{CLIENT, GATEWAY, World, gateway},
};

impl World {
    /// Ends all faults: the network is good, and the portal lists one new relay instead of the former ones.
    pub fn end_faults(&mut self, step: u32) {
        let good = Link::good(ms(5));
        for site in &mut self.net.sites {
            site.link = good;
        }
        (self.net.direct, self.portal.up) = (true, true);
        let former: Vec<RelayId> = (0..4_000).chain(1_000..u128::from(step) + 1_001).map(RelayId::from_u128).collect();
        self.net.relays.clear();
        self.add_relay(u128::from(step) + 10_000_000, &["203.0.113.50:3478"]);
        self.introduce_relays(&former);
        self.run_for(secs(2));
        for side in [CLIENT, GATEWAY] {
            self.hosts[side].events.clear();
            self.hosts[side].received.clear();
        }
    }

    /// The connection is established after at most three authorizations, and carries packets.
    ///
    /// # Panics
    ///
    /// If no packet arrives.
    pub fn assert_recovers(&mut self) {
        for _ in 0..3 {
            self.try_to_authorize();
            self.run_for(secs(40));
            self.hosts[GATEWAY].received.clear();
            let _outcome = self.send(CLIENT, packet(9_999));
            self.run_for(secs(5));
            if self.hosts[GATEWAY].received.contains(&packet(9_999)) {
                return;
            }
        }
        panic!("no packet arrives: {:?}", self.hosts[CLIENT].events);
    }

    /// A new connection reports that it is established or failed.
    ///
    /// # Panics
    ///
    /// If it does neither within a minute.
    pub fn assert_decides(&mut self) {
        let now = self.net.now;
        self.hosts[CLIENT].node.remove(gateway(), now);
        self.hosts[CLIENT].events.clear();
        let params = self.params(CLIENT);
        if self.hosts[CLIENT].node.upsert(gateway(), params, now).is_err() {
            return;
        }
        self.run_for(secs(60));
        let is_decision = |event: &connection::Event| {
            use connection::Event::{Established, Failed};
            matches!(event, Established(_) | Failed(..))
        };
        assert!(self.hosts[CLIENT].events.iter().any(is_decision), "neither: {:?}", self.hosts[CLIENT].events);
    }
}

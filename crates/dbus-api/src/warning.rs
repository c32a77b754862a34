//! What does not work as it should, although the session continues.

use crate::{dictionary::dictionary, vocabulary::vocabulary};

vocabulary! {
    /// A stable code for each kind of warning.
    pub enum WarningCode {
        /// No gateway of a resource is online.
        GatewaysOffline = "gateways-offline",
        /// The gateways of a resource do not work with this version of the client.
        GatewayVersionMismatch = "gateway-version-mismatch",
        /// The portal answers with a refusal.
        PortalRefuses = "portal-refuses",
        /// Another program occupies port 53, or the file that names the resolvers cannot name another port.
        DnsPortTaken = "dns-port-taken",
        /// The daemon may not listen on port 53.
        DnsPortNotPermitted = "dns-port-not-permitted",
        /// The daemon cannot listen for DNS queries.
        DnsNotServed = "dns-not-served",
        /// No resolver is known to which queries could be forwarded.
        DnsNoServers = "dns-no-servers",
        /// The original of the file that names the resolvers is lost.
        DnsBackupMissing = "dns-backup-missing",
        /// The file that names the resolvers cannot be replaced.
        DnsFailed = "dns-failed",
        /// systemd-resolved controls the file that names the resolvers.
        DnsResolvedInCharge = "dns-resolved-in-charge",
        /// The file that names the resolvers is a link to another program's file.
        DnsSymlink = "dns-symlink",
        /// The file that names the resolvers cannot be written.
        DnsReadOnly = "dns-read-only",
        /// The file that names the resolvers does not exist.
        DnsMissing = "dns-missing",
        /// The path of the file that names the resolvers is not a file.
        DnsNotAFile = "dns-not-a-file",
        /// No system bus over which systemd-resolved could be configured.
        DnsBusMissing = "dns-bus-missing",
        /// systemd-resolved does not run.
        DnsResolvedMissing = "dns-resolved-missing",
        /// systemd-resolved does not respond.
        DnsResolvedSilent = "dns-resolved-silent",
        /// systemd-resolved denies access.
        DnsResolvedDenied = "dns-resolved-denied",
        /// systemd-networkd manages the tunnel interface.
        DnsLinkManaged = "dns-link-managed",
        /// systemd-resolved refuses the configuration.
        DnsResolvedRefused = "dns-resolved-refused",
        /// Routing rules of another VPN come before those of the daemon.
        AnotherVpnFirst = "another-vpn-first",
        /// Another interface uses addresses of the tunnel's range.
        TunnelRangeInUse = "tunnel-range-in-use",
        /// The kernel refused a route.
        RouteRefused = "route-refused",
        /// The kernel refused a routing rule.
        RuleRefused = "rule-refused",
        /// The kernel refused the configuration of the tunnel interface.
        InterfaceRefused = "interface-refused",
        /// A setting of the daemon could not be removed from the kernel.
        CleanUpIncomplete = "clean-up-incomplete",
        /// The host refuses an IPv4 address on the tunnel interface.
        Ipv4Unavailable = "ipv4-unavailable",
        /// IPv6 is disabled on the host.
        Ipv6Disabled = "ipv6-disabled",
        /// The tunnel interface accepts no address.
        NoAddresses = "no-addresses",
        /// The tunnel interface has disappeared.
        InterfaceMissing = "interface-missing",
        /// The kernel does not respond over netlink.
        KernelUnreachable = "kernel-unreachable",
        /// A strict reverse path filter drops packets of the Internet resource.
        StrictReversePath = "strict-reverse-path",
        /// The kernel has no policy routing.
        PolicyRoutingMissing = "policy-routing-missing",
        /// The daemon lacks the capability to configure the network.
        NotPermitted = "not-permitted",
        /// The daemon only simulates a session.
        Simulation = "simulation",
    }
}

impl Default for WarningCode {
    fn default() -> Self {
        Self::Other(String::new())
    }
}

dictionary! {
    /// Something that does not work as it should.
    #[derive(PartialOrd, Ord)]
    pub struct Warning {
        /// For programs.
        code: WarningCode,
        /// A sentence for people. It may contain private names.
        text: String,
    }
}

//! Warnings about changes that the kernel refused.

use super::applied::Warning;
use super::family::Family;
use super::netlink::KernelError;
use super::plan::Change;

/// The warning for a refused change.
pub(super) fn refused(change: &Change, error: KernelError) -> Warning {
    match (change, error) {
        (_, KernelError::NotPermitted) => not_permitted(),
        (_, KernelError::NoReply) => kernel_unreachable(),
        (Change::AddAddress(network, _), _) => no_address(Family::of(network.addr())),
        (Change::AddRule(_), KernelError::Unsupported) => policy_routing_missing(),
        (Change::AddRoute(_) | Change::ReplaceRoute(_), _) => Warning {
            code: "route-refused",
            text: format!("The kernel refused a route into the tunnel: {error}. Some resources are not reachable."),
            remedy: "Look for another program that manages routes; details are in the log at level debug.".to_owned(),
        },
        (Change::AddRule(_), _) => Warning {
            code: "rule-refused",
            text: format!("The kernel refused a routing rule: {error}. Resources are not reachable."),
            remedy: "Look for another program that manages routing rules.".to_owned(),
        },
        (Change::DisableAddressGeneration(_) | Change::ConfigureLink(_) | Change::LinkUp(_), _) => Warning {
            code: "interface-refused",
            text: format!("The tunnel interface could not be set up: {error}."),
            remedy: "Exclude the interface from the program that manages it.".to_owned(),
        },
        (Change::RemoveRule(_) | Change::RemoveRoute(_) | Change::RemoveAddress(..) | Change::LinkDown(_), _) => {
            Warning {
                code: "clean-up-incomplete",
                text: format!("A network setting of Firezone could not be removed: {error}."),
                remedy: "Restart firezoned; it removes leftovers at start.".to_owned(),
            }
        }
    }
}

fn no_address(family: Family) -> Warning {
    match family {
        Family::V4 => Warning {
            code: "ipv4-unavailable",
            text: "The tunnel interface accepts no IPv4 address; resources are reachable over IPv6 only.".to_owned(),
            remedy: "Look for another program that manages the interface.".to_owned(),
        },
        Family::V6 => Warning {
            code: "ipv6-disabled",
            text: "IPv6 is disabled on this host; resources are reachable over IPv4 only.".to_owned(),
            remedy: "None if this is intended; otherwise set the sysctl net.ipv6.conf.all.disable_ipv6 to 0."
                .to_owned(),
        },
    }
}

/// Neither address family is available: there is no tunnel.
pub(super) fn no_addresses() -> Warning {
    Warning {
        code: "no-addresses",
        text: "The tunnel interface accepts no addresses; no resource is reachable.".to_owned(),
        remedy: "Look for another program that manages this interface.".to_owned(),
    }
}

pub(super) fn interface_missing(interface: &str) -> Warning {
    Warning {
        code: "interface-missing",
        text: format!("The tunnel interface {interface} is missing."),
        remedy: "Sign in again to create it.".to_owned(),
    }
}

pub(super) fn kernel_unreachable() -> Warning {
    Warning {
        code: "kernel-unreachable",
        text: "The kernel does not respond to requests for routes and addresses.".to_owned(),
        remedy: "Allow firezoned to use netlink sockets (a sandbox may forbid them), then restart it.".to_owned(),
    }
}

/// The warning for a failure to read the kernel's state.
pub(super) fn unreadable(error: KernelError) -> Warning {
    match error {
        KernelError::NotPermitted => not_permitted(),
        _ => kernel_unreachable(),
    }
}

pub(super) fn strict_reverse_path() -> Warning {
    Warning {
        code: "strict-reverse-path",
        text:
            "The kernel drops replies to Firezone's own packets while the Internet resource is on (strict rp_filter)."
                .to_owned(),
        remedy: "Set the sysctl net.ipv4.conf.all.rp_filter to 2.".to_owned(),
    }
}

fn policy_routing_missing() -> Warning {
    Warning {
        code: "policy-routing-missing",
        text: "This kernel does not support policy routing, so the tunnel's routes have no effect.".to_owned(),
        remedy: "Use a kernel with CONFIG_IP_MULTIPLE_TABLES and CONFIG_IPV6_MULTIPLE_TABLES.".to_owned(),
    }
}

fn not_permitted() -> Warning {
    Warning {
        code: "not-permitted",
        text: "firezoned lacks the permission to change the network of this host.".to_owned(),
        remedy: "Give it the capability CAP_NET_ADMIN (in containers: --cap-add NET_ADMIN).".to_owned(),
    }
}

//! Resources: the destinations that the portal permits this client to reach.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde_json::Value;

use crate::{
    ClientId, Filters, ResourceId, SiteId,
    json::{FromJson, Malformed, Object},
};

/// One resource.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Resource {
    /// DNS names that match a pattern.
    Dns(DnsResource),
    /// A network.
    Cidr(CidrResource),
    /// All destinations that no other resource covers.
    Internet(InternetResource),
    /// Listed other clients.
    StaticDevicePool(Pool<Vec<Device>>),
    /// Other clients whose names match a pattern.
    DynamicDevicePool(Pool<String>),
}

/// DNS names that match a pattern: `?` is one character, `*` one label or part of it, `**` any number of labels.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DnsResource {
    /// The id.
    pub id: ResourceId,
    /// The pattern, as the portal sent it.
    pub address: String,
    /// The display name.
    pub name: String,
    /// A URL or free text for display.
    pub address_description: Option<String>,
    /// The sites whose gateways serve it. Currently exactly one.
    pub sites: Vec<Site>,
    /// The address families of its names.
    pub ip_stack: IpStack,
    /// The permitted traffic.
    pub filters: Filters,
}

/// A network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CidrResource {
    /// The id.
    pub id: ResourceId,
    /// The network, host bits cleared.
    pub address: IpNet,
    /// The display name.
    pub name: String,
    /// A URL or free text for display.
    pub address_description: Option<String>,
    /// The sites whose gateways serve it. Currently exactly one.
    pub sites: Vec<Site>,
    /// The permitted traffic.
    pub filters: Filters,
}

/// All destinations that no other resource covers. Used only if the user has enabled it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InternetResource {
    /// The id.
    pub id: ResourceId,
    /// The display name.
    pub name: String,
    /// The sites whose gateways serve it. Currently exactly one.
    pub sites: Vec<Site>,
}

/// Other clients that may be reached; `M` defines the members.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pool<M> {
    /// The id.
    pub id: ResourceId,
    /// The display name.
    pub name: String,
    /// The members: a list, or a pattern of names.
    pub members: M,
    /// The permitted traffic.
    pub filters: Filters,
}

/// A member of a static device pool.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Device {
    /// The client id of the device.
    pub client_id: ClientId,
    /// The IPv4 address in the tunnel.
    pub ipv4: Ipv4Addr,
    /// The IPv6 address in the tunnel.
    pub ipv6: Ipv6Addr,
}

/// A group of gateways, identified by its id.
#[derive(Clone, PartialEq, Eq, Debug, serde::Deserialize)]
pub struct Site {
    /// The id.
    pub id: SiteId,
    /// The display name.
    pub name: String,
}

/// The address families of the names of a DNS resource.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum IpStack {
    /// Both.
    #[default]
    Dual,
    /// IPv4 only.
    Ipv4Only,
    /// IPv6 only.
    Ipv6Only,
}

impl IpStack {
    /// Whether names have IPv4 addresses.
    #[must_use]
    pub fn has_ipv4(self) -> bool {
        self != Self::Ipv6Only
    }

    /// Whether names have IPv6 addresses.
    #[must_use]
    pub fn has_ipv6(self) -> bool {
        self != Self::Ipv4Only
    }
}

impl Resource {
    /// The id.
    #[must_use]
    pub fn id(&self) -> ResourceId {
        match self {
            Self::Dns(it) => it.id,
            Self::Cidr(it) => it.id,
            Self::Internet(it) => it.id,
            Self::StaticDevicePool(it) => it.id,
            Self::DynamicDevicePool(it) => it.id,
        }
    }

    /// The display name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Dns(it) => &it.name,
            Self::Cidr(it) => &it.name,
            Self::Internet(it) => &it.name,
            Self::StaticDevicePool(it) => &it.name,
            Self::DynamicDevicePool(it) => &it.name,
        }
    }

    /// The sites; device pools have none.
    #[must_use]
    pub fn sites(&self) -> &[Site] {
        match self {
            Self::Dns(it) => &it.sites,
            Self::Cidr(it) => &it.sites,
            Self::Internet(it) => &it.sites,
            Self::StaticDevicePool(_) | Self::DynamicDevicePool(_) => &[],
        }
    }
}

impl FromJson for Resource {
    fn from_json(value: &Value) -> Result<Self, Malformed> {
        let object = &Object::of(value)?;
        let id = object.required("id")?;
        let filters = Filters::of(object);
        let name = |object: &Object<'_>| object.required("name");
        Ok(match object.required::<String>("type")?.as_str() {
            "dns" => Self::Dns(DnsResource {
                id,
                address: object.required("address").and_then(pattern)?,
                name: name(object)?,
                address_description: object.lenient("address_description"),
                sites: sites(object)?,
                ip_stack: object.optional("ip_stack")?.unwrap_or_default(),
                filters,
            }),
            "cidr" => Self::Cidr(CidrResource {
                id,
                address: object.required("address")?,
                name: name(object)?,
                address_description: object.lenient("address_description"),
                sites: sites(object)?,
                filters,
            }),
            "internet" => Self::Internet(InternetResource {
                id,
                // The portal sends no name for it.
                name: object.lenient("name").unwrap_or_else(|| "Internet Resource".to_owned()),
                sites: sites(object)?,
            }),
            "static_device_pool" => Self::StaticDevicePool(Pool {
                id,
                name: name(object)?,
                members: object.valid_entries("devices"),
                filters,
            }),
            "dynamic_device_pool" => Self::DynamicDevicePool(Pool {
                id,
                name: name(object)?,
                members: object.required("address").and_then(pattern)?,
                filters,
            }),
            _ => return Err(Malformed::expected("a type of resource that this version knows").at("type")),
        })
    }
}

impl FromJson for Site {
    fn from_json(value: &Value) -> Result<Self, Malformed> {
        let object = Object::of(value)?;
        Ok(Self { id: object.required("id")?, name: object.lenient("name").unwrap_or_default() })
    }
}

impl FromJson for Device {
    fn from_json(value: &Value) -> Result<Self, Malformed> {
        let object = Object::of(value)?;
        Ok(Self {
            client_id: object.required_or_older("client_id", "id")?,
            ipv4: object.required("ipv4")?,
            ipv6: object.required("ipv6")?,
        })
    }
}

impl FromJson for IpStack {
    fn from_json(value: &Value) -> Result<Self, Malformed> {
        match value.as_str() {
            Some("dual") => Ok(Self::Dual),
            Some("ipv4_only") => Ok(Self::Ipv4Only),
            Some("ipv6_only") => Ok(Self::Ipv6Only),
            Some(_) | None => Err(Malformed::expected("`dual`, `ipv4_only` or `ipv6_only`")),
        }
    }
}

/// The sites, which older portals call gateway groups. The list is required; malformed entries are skipped.
fn sites(object: &Object<'_>) -> Result<Vec<Site>, Malformed> {
    let key = if object.member("sites").is_some() { "sites" } else { "gateway_groups" };
    if object.member(key).is_none_or(|list| !list.is_array()) {
        return Err(Malformed::expected("a list").at("sites"));
    }
    Ok(object.valid_entries(key))
}

fn pattern(text: String) -> Result<String, Malformed> {
    if text.is_empty() { Err(Malformed::expected("a name or a pattern").at("address")) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: &str = "d2500000-0000-4000-8000-000000000001";

    fn site() -> Site {
        Site { id: SiteId::from_u128(9), name: "Frankfurt".to_owned() }
    }

    fn sites() -> Value {
        json!([{ "id": SiteId::from_u128(9), "name": "Frankfurt" }])
    }

    fn dns(more: Value) -> Result<DnsResource, Malformed> {
        let mut value =
            json!({ "id": ID, "type": "dns", "name": "Wiki", "address": "*.wiki.example.net", "sites": sites() });
        for (key, member) in more.as_object().unwrap() {
            value[key] = member.clone();
        }
        Resource::from_json(&value).map(|resource| match resource {
            Resource::Dns(it) => it,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn each_resource_type_is_parsed() {
        for (value, expected) in [
            (
                json!({ "id": ID, "type": "cidr", "name": "Lab", "address": "10.40.7.0/16", "address_description": null,
                    "filters": [], "sites": sites() }),
                Resource::Cidr(CidrResource {
                    id: ID.parse().unwrap(),
                    address: "10.40.0.0/16".parse().unwrap(),
                    name: "Lab".to_owned(),
                    address_description: None,
                    sites: vec![site()],
                    filters: Filters::default(),
                }),
            ),
            (
                json!({ "id": ID, "type": "internet", "can_be_disabled": true, "sites": sites() }),
                Resource::Internet(InternetResource {
                    id: ID.parse().unwrap(),
                    name: "Internet Resource".to_owned(),
                    sites: vec![site()],
                }),
            ),
            (
                json!({ "id": ID, "type": "dynamic_device_pool", "name": "Laptops", "address": "*.laptops.example.net" }),
                Resource::DynamicDevicePool(Pool {
                    id: ID.parse().unwrap(),
                    name: "Laptops".to_owned(),
                    members: "*.laptops.example.net".to_owned(),
                    filters: Filters::default(),
                }),
            ),
        ] {
            assert_eq!(Resource::from_json(&value), Ok(expected));
        }
    }

    #[test]
    fn single_address_becomes_a_host_network() {
        for (address, length) in [("10.40.7.9/32", 32), ("2001:db8::9/128", 128)] {
            let value = json!({ "id": ID, "type": "cidr", "name": "Box", "address": address, "sites": sites() });
            let Ok(Resource::Cidr(it)) = Resource::from_json(&value) else { panic!("{value}") };
            assert_eq!(it.address.prefix_len(), length);
        }
    }

    #[test]
    fn sites_may_be_called_gateway_groups() {
        assert_eq!(dns(json!({ "sites": null, "gateway_groups": sites() })).unwrap().sites, [site()]);
        assert_eq!(dns(json!({ "gateway_groups": sites() })).unwrap().sites, [site()]);
        assert!(dns(json!({ "sites": null })).is_err());
    }

    #[test]
    fn ip_stack_defaults_to_dual() {
        for (ip_stack, expected) in [
            (json!(null), Some(IpStack::Dual)),
            (json!("dual"), Some(IpStack::Dual)),
            (json!("ipv4_only"), Some(IpStack::Ipv4Only)),
            (json!("ipv6_only"), Some(IpStack::Ipv6Only)),
            (json!("ipv9_only"), None),
        ] {
            assert_eq!(dns(json!({ "ip_stack": ip_stack })).ok().map(|it| it.ip_stack), expected);
        }
    }

    #[test]
    fn malformed_address_description_is_ignored() {
        assert_eq!(dns(json!({})).unwrap().address_description, None);
        assert_eq!(dns(json!({ "address_description": 7 })).unwrap().address_description, None);
        let described = dns(json!({ "address_description": "https://wiki.example.net" })).unwrap();
        assert_eq!(described.address_description.as_deref(), Some("https://wiki.example.net"));
    }

    #[test]
    fn pool_members_accept_both_id_names_and_prefix_lengths() {
        let member = |key: &str| json!({ key: ClientId::from_u128(5), "ipv4": "100.64.3.8/32", "ipv6": "fd00:2021:1111::2a/128" });
        let value = json!({ "id": ID, "type": "static_device_pool", "name": "Build farm", "filters": [],
            "devices": [member("client_id"), { "client_id": "malformed" }, member("id")] });
        let Ok(Resource::StaticDevicePool(pool)) = Resource::from_json(&value) else { panic!("not a pool") };
        let device = Device {
            client_id: ClientId::from_u128(5),
            ipv4: "100.64.3.8".parse().unwrap(),
            ipv6: "fd00:2021:1111::2a".parse().unwrap(),
        };
        assert_eq!(pool.members, [device.clone(), device]);
    }

    #[test]
    fn unknown_or_incomplete_resources_are_rejected_with_the_field() {
        for (value, error) in [
            (
                json!({ "id": ID, "type": "teleport", "name": "x" }),
                "`type`: expected a type of resource that this version knows",
            ),
            (json!({ "type": "dns" }), "`id`: expected a value"),
            (json!({ "id": "x", "type": "dns" }), "`id`: expected a UUID"),
            (json!({ "id": ID, "type": "dns", "address": "" }), "`address`: expected a name or a pattern"),
            (json!({ "id": ID, "type": "cidr", "address": "wide open" }), "`address`: expected a network"),
            (json!(["dns"]), "expected an object"),
        ] {
            assert_eq!(Resource::from_json(&value).unwrap_err().to_string(), error);
        }
    }
}

//! The payloads of what the portal tells the tunnel.

use model::{
    ClientId, Filters, FromPortal, GatewayId, Interface, PeerId, PublicKey, Relay, Resource, ResourceId,
    json::{FromJson, Malformed, Object},
    message::{
        AuthorizationCreated, AuthorizationCreationFailed, DeviceAccess, DeviceGrant, FailReason, IceRole,
        InboundGrant, Init,
    },
};
use serde_json::Value;

/// Reads the payload of `event`; `None` if there is no such event.
pub(crate) fn read(event: &str, payload: &Value) -> Option<Result<FromPortal, Malformed>> {
    Some(match event {
        "init" => init(payload),
        "config_changed" => Object::of(payload).and_then(|it| it.required("interface")).map(FromPortal::ConfigChanged),
        "resource_created_or_updated" => Resource::from_json(payload).map(FromPortal::ResourceCreatedOrUpdated),
        // The bare id, not an object.
        "resource_deleted" => ResourceId::from_json(payload).map(FromPortal::ResourceDeleted),
        "authorization_created" | "flow_created" => authorization_created(payload),
        "authorization_creation_failed" | "flow_creation_failed" => authorization_creation_failed(payload),
        "relays_presence" => relays_presence(payload),
        "ice_candidates" | "gateway_ice_candidates" => {
            gateway_candidates(payload).map(|(peer, candidates)| FromPortal::IceCandidates { peer, candidates })
        }
        "invalidate_ice_candidates" | "invalidate_gateway_ice_candidates" => gateway_candidates(payload)
            .map(|(peer, candidates)| FromPortal::InvalidateIceCandidates { peer, candidates }),
        "client_ice_candidates" => {
            client_candidates(payload).map(|(peer, candidates)| FromPortal::IceCandidates { peer, candidates })
        }
        "invalidate_client_ice_candidates" => client_candidates(payload)
            .map(|(peer, candidates)| FromPortal::InvalidateIceCandidates { peer, candidates }),
        "client_device_access_authorized" => client_device_access_authorized(payload),
        "client_device_access_denied" => client_device_access_denied(payload),
        "client_ice_candidate_error" => client_ice_candidate_error(payload),
        "device_pool_domain_resolved" => device_pool_domain_resolved(payload),
        "device_pool_domain_resolution_failed" => device_pool_domain_resolution_failed(payload),
        "resource_filters_updated" => resource_filters_updated(payload),
        "reject_access" => reject_access(payload),
        _ => return None,
    })
}

/// Only our own end is indispensable: without it there is no tunnel, and everything else can come later.
fn init(payload: &Value) -> Result<FromPortal, Malformed> {
    let object = Object::of(payload)?;
    Ok(FromPortal::Init(Box::new(Init {
        interface: object.required::<Interface>("interface")?,
        resources: object.each("resources"),
        relays: Relay::list(&object, "relays"),
        authorizations: object.each::<Grant>("authorizations").into_iter().map(|Grant(grant)| grant).collect(),
    })))
}

struct Grant(InboundGrant);

impl FromJson for Grant {
    fn from_json(value: &Value) -> Result<Self, Malformed> {
        let object = Object::of(value)?;
        Ok(Self(InboundGrant {
            client: object.required("client_id")?,
            resource: object.required("resource_id")?,
            expires_at: object.required("expires_at")?,
        }))
    }
}

fn authorization_created(payload: &Value) -> Result<FromPortal, Malformed> {
    let object = Object::of(payload)?;
    Ok(FromPortal::AuthorizationCreated(Box::new(AuthorizationCreated {
        resource_id: object.required("resource_id")?,
        gateway_id: object.required("gateway_id")?,
        gateway_public_key: object.required::<PublicKey>("gateway_public_key")?,
        gateway_ipv4: object.required("gateway_ipv4")?,
        gateway_ipv6: object.required("gateway_ipv6")?,
        site_id: object.renamed("site_id", "gateway_group_id")?,
        preshared_key: object.required("preshared_key")?,
        client_ice_credentials: object.required("client_ice_credentials")?,
        gateway_ice_credentials: object.required("gateway_ice_credentials")?,
        use_iceless: object.optional("use_iceless")?.unwrap_or(false),
    })))
}

fn authorization_creation_failed(payload: &Value) -> Result<FromPortal, Malformed> {
    let object = Object::of(payload)?;
    Ok(FromPortal::AuthorizationCreationFailed(AuthorizationCreationFailed {
        resource_id: object.required("resource_id")?,
        reason: reason(&object),
        violated_properties: object.each("violated_properties"),
    }))
}

fn relays_presence(payload: &Value) -> Result<FromPortal, Malformed> {
    let object = Object::of(payload)?;
    Ok(FromPortal::RelaysPresence {
        disconnected: object.each("disconnected_ids"),
        connected: Relay::list(&object, "connected"),
    })
}

fn gateway_candidates(payload: &Value) -> Result<(PeerId, Vec<String>), Malformed> {
    let object = Object::of(payload)?;
    Ok((PeerId::Gateway(object.required::<GatewayId>("gateway_id")?), candidates(&object)))
}

fn client_candidates(payload: &Value) -> Result<(PeerId, Vec<String>), Malformed> {
    let object = Object::of(payload)?;
    Ok((PeerId::Client(object.required::<ClientId>("client_id")?), candidates(&object)))
}

fn candidates(object: &Object<'_>) -> Vec<String> {
    object.each::<Candidate>("candidates").into_iter().map(|Candidate(line)| line).collect()
}

/// A line that looks like a candidate of SDP, without `a=`: its fourth field is the priority. The rest is checked where
/// connections are made.
struct Candidate(String);

impl FromJson for Candidate {
    fn from_json(value: &Value) -> Result<Self, Malformed> {
        let line = value.as_str().unwrap_or_default();
        let priority = line.split_whitespace().nth(3).and_then(|field| field.parse::<u32>().ok());
        if !line.starts_with("candidate:") || priority.is_none() {
            return Err(Malformed::expected("a candidate"));
        }
        Ok(Self(line.to_owned()))
    }
}

fn client_device_access_authorized(payload: &Value) -> Result<FromPortal, Malformed> {
    let object = Object::of(payload)?;
    Ok(FromPortal::ClientDeviceAccessAuthorized(Box::new(DeviceAccess {
        client_id: object.required("client_id")?,
        client_name: object.tolerated("client_name"),
        client_public_key: object.required("client_public_key")?,
        client_ipv4: object.required("client_ipv4")?,
        client_ipv6: object.required("client_ipv6")?,
        preshared_key: object.required("preshared_key")?,
        local_ice_credentials: object.required("local_ice_credentials")?,
        remote_ice_credentials: object.required("remote_ice_credentials")?,
        ice_role: object.required::<Role>("ice_role")?.0,
        use_iceless: object.optional("use_iceless")?.unwrap_or(false),
        grant: object.member("resource").map(|resource| device_grant(resource, &object)).transpose()?,
    })))
}

/// Only the id and the filters of the resource matter. A deadline that cannot be read must not become none.
fn device_grant(resource: &Value, access: &Object<'_>) -> Result<DeviceGrant, Malformed> {
    let resource = Object::of(resource).map_err(|error| error.at("resource"))?;
    Ok(DeviceGrant {
        resource: resource.required("id")?,
        filters: Filters::of(&resource),
        expires_at: access.optional("expires_at")?,
    })
}

struct Role(IceRole);

impl FromJson for Role {
    fn from_json(value: &Value) -> Result<Self, Malformed> {
        match value.as_str() {
            Some("controlling") => Ok(Self(IceRole::Controlling)),
            Some("controlled") => Ok(Self(IceRole::Controlled)),
            Some(_) | None => Err(Malformed::expected("`controlling` or `controlled`")),
        }
    }
}

fn client_device_access_denied(payload: &Value) -> Result<FromPortal, Malformed> {
    let object = Object::of(payload)?;
    Ok(FromPortal::ClientDeviceAccessDenied {
        ipv4: object.tolerated("ipv4"),
        ipv6: object.tolerated("ipv6"),
        reason: reason(&object),
    })
}

fn client_ice_candidate_error(payload: &Value) -> Result<FromPortal, Malformed> {
    let object = Object::of(payload)?;
    Ok(FromPortal::ClientIceCandidateError { client: object.required("client_id")?, reason: reason(&object) })
}

fn device_pool_domain_resolved(payload: &Value) -> Result<FromPortal, Malformed> {
    let object = Object::of(payload)?;
    Ok(FromPortal::DevicePoolDomainResolved {
        resource: object.required("resource_id")?,
        domain: object.required("domain")?,
        ipv4: object.tolerated("ipv4"),
        ipv6: object.tolerated("ipv6"),
    })
}

fn device_pool_domain_resolution_failed(payload: &Value) -> Result<FromPortal, Malformed> {
    let object = Object::of(payload)?;
    Ok(FromPortal::DevicePoolDomainResolutionFailed {
        resource: object.required("resource_id")?,
        domain: object.required("domain")?,
        reason: reason(&object),
    })
}

fn resource_filters_updated(payload: &Value) -> Result<FromPortal, Malformed> {
    let object = Object::of(payload)?;
    // Absent filters let everything through in a resource, but an update without its content says nothing.
    if object.raw("filters").is_none() {
        return Err(Malformed::expected("a list").at("filters"));
    }
    Ok(FromPortal::ResourceFiltersUpdated { resource: object.required("id")?, filters: Filters::of(&object) })
}

fn reject_access(payload: &Value) -> Result<FromPortal, Malformed> {
    let object = Object::of(payload)?;
    Ok(FromPortal::RejectAccess { client: object.required("client_id")?, resource: object.required("resource_id")? })
}

fn reason(object: &Object<'_>) -> FailReason {
    match object.member("reason").and_then(Value::as_str) {
        Some("offline") => FailReason::Offline,
        Some("version_mismatch") => FailReason::VersionMismatch,
        Some("not_found") => FailReason::NotFound,
        Some("forbidden") => FailReason::Forbidden,
        Some(_) | None => FailReason::Other,
    }
}

//! Payloads of messages from the portal to the tunnel.

use model::{
    ClientId, Filters, FromPortal, GatewayId, Interface, PeerId, PublicKey, Relay, Resource, ResourceId,
    json::{FromJson, Malformed, Object},
    message::{
        AuthorizationCreated, AuthorizationCreationFailed, DeviceAccess, DeviceGrant, FailureReason, IceRole,
        InboundGrant, Init,
    },
};
use serde_json::Value;

/// Parses the payload of `event`; `None` if the event is unknown.
pub(crate) fn parse(event: &str, payload: &Value) -> Option<Result<FromPortal, Malformed>> {
    Some(match event {
        "init" => init(payload),
        "config_changed" => Object::of(payload).and_then(|it| it.required("interface")).map(FromPortal::ConfigChanged),
        "resource_created_or_updated" => Resource::from_json(payload).map(FromPortal::ResourceCreatedOrUpdated),
        // The id itself, not an object.
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

/// Only the interface is required: without it there is no tunnel, and later messages can update everything else.
fn init(payload: &Value) -> Result<FromPortal, Malformed> {
    let object = Object::of(payload)?;
    Ok(FromPortal::Init(Box::new(Init {
        interface: object.required::<Interface>("interface")?,
        resources: object.valid_entries("resources"),
        relays: Relay::list(&object, "relays"),
        authorizations: object.valid_entries::<Grant>("authorizations").into_iter().map(|Grant(grant)| grant).collect(),
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
        site_id: object.required_or_older("site_id", "gateway_group_id")?,
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
        violated_properties: object.valid_entries("violated_properties"),
    }))
}

fn relays_presence(payload: &Value) -> Result<FromPortal, Malformed> {
    let object = Object::of(payload)?;
    Ok(FromPortal::RelaysPresence {
        disconnected: object.valid_entries("disconnected_ids"),
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
    object.valid_entries::<Candidate>("candidates").into_iter().map(|Candidate(line)| line).collect()
}

/// An SDP candidate line without `a=`, whose fourth field is a priority. The ICE agent validates the rest.
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
        client_name: object.lenient("client_name"),
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

/// Uses only the id and the filters of the resource. A malformed expiry is an error: it must not become an unlimited grant.
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
        ipv4: object.lenient("ipv4"),
        ipv6: object.lenient("ipv6"),
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
        ipv4: object.lenient("ipv4"),
        ipv6: object.lenient("ipv6"),
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
    // Absent filters of a resource permit everything, but an update without filters is malformed.
    if object.raw("filters").is_none() {
        return Err(Malformed::expected("a list").at("filters"));
    }
    Ok(FromPortal::ResourceFiltersUpdated { resource: object.required("id")?, filters: Filters::of(&object) })
}

fn reject_access(payload: &Value) -> Result<FromPortal, Malformed> {
    let object = Object::of(payload)?;
    Ok(FromPortal::RejectAccess { client: object.required("client_id")?, resource: object.required("resource_id")? })
}

fn reason(object: &Object<'_>) -> FailureReason {
    match object.member("reason").and_then(Value::as_str) {
        Some("offline") => FailureReason::Offline,
        Some("version_mismatch") => FailureReason::VersionMismatch,
        Some("not_found") => FailureReason::NotFound,
        Some("forbidden") => FailureReason::Forbidden,
        Some(_) | None => FailureReason::Other,
    }
}

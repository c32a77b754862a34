//! Who may open a socket.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use model::PublicKey;
use tokio_tungstenite::tungstenite::{handshake::server::Request, http::header};

use super::problem::Problem;

/// Which end of tunnels connects.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Role {
    /// A client.
    Client,
    /// A gateway.
    Gateway,
    /// A relay.
    Relay,
}

/// What a well-formed request for an upgrade says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// Which end.
    pub role: Role,
    /// Its token.
    pub token: String,
    /// What the device calls itself for ever.
    pub external_id: String,
    /// What people call it.
    pub name: String,
    /// Its WireGuard key as Base64 text.
    pub public_key: String,
    /// Which program it is.
    pub agent: Agent,
    /// Where a relay listens, for each address family.
    pub relay: [Option<SocketAddr>; 2],
}

/// The part of a user agent that matters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Agent {
    /// `headless-client`, `gui-client`, `gateway`, …
    pub component: String,
    /// Its version.
    pub version: Version,
}

/// `MAJOR.MINOR.PATCH`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Version(pub u32, pub u32, pub u32);

impl Role {
    /// The topic of its channel.
    #[must_use]
    pub fn topic(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Gateway => "gateway",
            Self::Relay => "relay",
        }
    }
}

/// Reads a request for an upgrade.
pub fn read(request: &Request) -> Result<Hello, Problem> {
    let role = match request.uri().path() {
        "/client/v2/websocket" => Role::Client,
        "/gateway/v2/websocket" => Role::Gateway,
        "/relay/websocket" => Role::Relay,
        _ => return Err(Problem::bare(404)),
    };
    if request.headers().contains_key(header::ORIGIN) {
        return Err(Problem::bare(403));
    }

    let mut query: BTreeMap<Cow<'_, str>, Cow<'_, str>> =
        url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()).collect();
    if query.get("vsn").is_some_and(|version| version != "1.0.0") {
        return Err(Problem::bare(403));
    }

    let token = match request.headers().get("x-authorization").and_then(|value| value.to_str().ok()) {
        Some(value) => value.strip_prefix("Bearer ").map(str::to_owned),
        None => query.remove("token").map(Cow::into_owned),
    };
    let token = token
        .filter(|token| !token.is_empty())
        .ok_or_else(|| Problem::new(401, "missing_token", "Missing authentication token"))?;

    let agent = request
        .headers()
        .get(header::USER_AGENT)
        .and_then(|value| value.to_str().ok())
        .filter(|value| value.len() <= 255)
        .and_then(Agent::parse)
        .ok_or_else(|| invalid("user_agent is invalid"))?;
    if role == Role::Relay {
        return relay(token, agent, &query);
    }

    let public_key = query.remove("public_key").ok_or_else(|| invalid("public_key can't be blank"))?;
    if public_key.len() != 44 || public_key.parse::<PublicKey>().is_err() {
        return Err(invalid("public_key is invalid"));
    }
    let external_id = query.remove("external_id").or_else(|| query.remove("firezone_id")).unwrap_or_default();
    let external_id = external_id.trim();
    if external_id.is_empty() || external_id.chars().count() > 255 {
        return Err(invalid("external_id is invalid"));
    }
    let name = query.remove("name").unwrap_or(Cow::Borrowed("unnamed"));
    if name.chars().count() > 255 {
        return Err(invalid("name is too long"));
    }
    Ok(Hello {
        role,
        token,
        external_id: external_id.to_owned(),
        name: name.into_owned(),
        public_key: public_key.into_owned(),
        agent,
        relay: [None; 2],
    })
}

fn relay(token: String, agent: Agent, query: &BTreeMap<Cow<'_, str>, Cow<'_, str>>) -> Result<Hello, Problem> {
    const PORT: u16 = 3478;
    let port = query.get("port").map_or(Ok(PORT), |port| port.parse()).map_err(|_| invalid("port is invalid"))?;
    let address = |name| match query.get(name).map(|text| text.parse::<IpAddr>()) {
        Some(Ok(ip)) => Ok(Some(SocketAddr::new(ip, port))),
        Some(Err(_)) => Err(invalid("an address is invalid")),
        None => Ok(None),
    };
    let relay = [address("ipv4")?, address("ipv6")?];
    if relay == [None; 2] {
        return Err(Problem::new(500, "unhandled_connect_error", "A relay needs an address"));
    }
    let (external_id, name, public_key) = Default::default();
    Ok(Hello { role: Role::Relay, token, external_id, name, public_key, agent, relay })
}

fn invalid(detail: &str) -> Problem {
    Problem::new(400, "invalid_connect_params", detail)
}

impl Agent {
    /// Finds the first word that names a known component.
    #[must_use]
    pub fn parse(user_agent: &str) -> Option<Self> {
        const COMPONENTS: [&str; 7] =
            ["relay", "connlib", "headless-client", "gui-client", "apple-client", "android-client", "gateway"];

        user_agent.split(' ').find_map(|word| {
            let (component, version) = word.split_once('/')?;
            COMPONENTS.contains(&component).then_some(())?;
            Some(Self { component: component.to_owned(), version: version.parse().ok()? })
        })
    }

    /// Whether this client understands `sites` instead of `gateway_groups`.
    #[must_use]
    pub fn knows_sites(&self) -> bool {
        self.is_at_least(Version(1, 5, 6), Version(1, 5, 10))
    }

    /// Whether this client has a gate of its own for each kind of program: `headless` here, `gui` there.
    fn is_at_least(&self, headless: Version, gui: Version) -> bool {
        self.version >= if self.component == "headless-client" { headless } else { gui }
    }

    /// Whether a resource may move to another site in one update.
    #[must_use]
    pub fn moves_resources(&self) -> bool {
        self.is_at_least(Version(1, 5, 5), Version(1, 5, 9))
    }

    /// Whether other clients may connect to this one.
    #[must_use]
    pub fn can_be_a_target(&self) -> bool {
        self.is_at_least(Version(1, 5, 7), Version(1, 5, 11))
    }

    /// Whether this client understands pools of devices.
    #[must_use]
    pub fn knows_pools(&self) -> bool {
        self.is_at_least(Version(1, 5, 9), Version(1, 5, 13))
    }

    /// Whether another client of this version may talk to this one.
    #[must_use]
    pub fn works_with_client(&self, other: &Self) -> bool {
        (self.version.0, self.version.1) == (other.version.0, other.version.1)
    }

    /// Whether a gateway of this version may serve this client.
    #[must_use]
    pub fn works_with(&self, gateway: Version) -> bool {
        let Version(major, minor, _) = self.version;
        gateway >= Version(major, minor.saturating_sub(1), 0) && gateway < Version(major, minor + 2, 0)
    }
}

impl std::str::FromStr for Version {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let core = text.split(['-', '+']).next().unwrap_or_default();
        let numbers: Vec<u32> = core.split('.').map(str::parse).collect::<Result<_, _>>().map_err(|_| ())?;
        match numbers[..] {
            [major, minor, patch] => Ok(Self(major, minor, patch)),
            _ => Err(()),
        }
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8%3D";

    fn request(target: &str, headers: &[(&str, &str)]) -> Request {
        let mut request = tokio_tungstenite::tungstenite::http::Request::get(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    fn refusal(target: &str, headers: &[(&str, &str)]) -> (u16, Option<String>) {
        let problem = read(&request(target, headers)).unwrap_err();
        (problem.status, problem.code)
    }

    const AGENT: (&str, &str) = ("user-agent", "Debian/12.0.0 headless-client/1.5.12 firezoned/0.1.0 (x86_64; 6.1.0)");
    const TOKEN: (&str, &str) = ("x-authorization", "Bearer .secret");

    #[test]
    fn valid_upgrade_request_is_parsed() {
        let target = format!("/client/v2/websocket?external_id=my-box&name=a+b&public_key={KEY}");

        let hello = read(&request(&target, &[AGENT, TOKEN])).unwrap();

        assert_eq!(hello.role, Role::Client);
        assert_eq!(hello.name, "a b");
        assert_eq!(hello.token, ".secret");
        assert_eq!(hello.agent, Agent { component: "headless-client".into(), version: Version(1, 5, 12) });
        assert!(hello.agent.knows_sites());
    }

    #[test]
    fn invalid_upgrade_requests_get_their_own_error_code() {
        let target = format!("/client/v2/websocket?external_id=my-box&public_key={KEY}");

        assert_eq!(refusal("/client/v3/websocket", &[AGENT, TOKEN]), (404, None));
        assert_eq!(refusal(&target, &[AGENT]), (401, Some("missing_token".into())));
        assert_eq!(refusal(&target, &[TOKEN]), (400, Some("invalid_connect_params".into())));
        assert_eq!(refusal(&target, &[TOKEN, ("user-agent", "curl/8")]), (400, Some("invalid_connect_params".into())));
        assert_eq!(refusal(&target, &[AGENT, TOKEN, ("origin", "http://x")]), (403, None));
        assert_eq!(refusal(&format!("{target}&vsn=2.0.0"), &[AGENT, TOKEN]), (403, None));
        assert_eq!(
            refusal("/client/v2/websocket?external_id=x&public_key=short", &[AGENT, TOKEN]),
            (400, Some("invalid_connect_params".into()))
        );
        assert_eq!(
            refusal(&format!("/client/v2/websocket?public_key={KEY}"), &[AGENT, TOKEN]),
            (400, Some("invalid_connect_params".into()))
        );
    }

    #[test]
    fn client_is_compatible_with_adjacent_minor_versions() {
        let agent = Agent::parse("Debian/12 headless-client/1.5.12").unwrap();

        assert!(!agent.works_with(Version(1, 3, 9)));
        assert!(agent.works_with(Version(1, 4, 0)));
        assert!(agent.works_with(Version(1, 6, 1)));
        assert!(!agent.works_with(Version(1, 7, 0)));
    }
}

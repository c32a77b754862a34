//! `dev.firezone.Client1.Dns`: names.

use dbus_api::{Error, dns};
use model::Encryption;
use tunnel::{DnsView, MatchView, NameAnswer, NameExplanation};
use zbus::{interface, message::Header};

use super::{Daemon, guard::Guard};
use resolver::Forwarder;
use session::{NamesRequest, Request};

/// Names, for whoever is permitted.
#[derive(Debug)]
pub(super) struct DnsObject {
    daemon: Daemon,
    guard: Guard,
}

impl DnsObject {
    pub(super) fn new(daemon: Daemon, guard: Guard) -> Self {
        Self { daemon, guard }
    }
}

#[interface(name = "dev.firezone.Client1.Dns")]
impl DnsObject {
    #[zbus(out_args("status"))]
    async fn get_status(&self, #[zbus(header)] header: Header<'_>) -> Result<dns::DnsStatus, Error> {
        let _caller = self.guard.permit(&header).await?;
        Ok(status(&self.daemon).await)
    }

    #[zbus(out_args("explanation"))]
    async fn explain(&self, #[zbus(header)] header: Header<'_>, name: String) -> Result<dns::Explanation, Error> {
        let _caller = self.guard.permit(&header).await?;
        let name =
            ::dns::Domain::from_user_input(&name).ok_or_else(|| Error::InvalidArgs("that is not a name".to_owned()))?;
        let asked = name.clone();
        let view = self.daemon.question(|reply| Request::Names(NamesRequest::Explain(asked, reply))).await;
        Ok(explanation(&name, view, &self.daemon.forwarder))
    }

    async fn flush(&self, #[zbus(header)] header: Header<'_>) -> Result<(), Error> {
        let _caller = self.guard.permit(&header).await?;
        self.daemon.ask(|reply| Request::Names(NamesRequest::Flush(reply))).await
    }

    async fn reapply(&self, #[zbus(header)] header: Header<'_>) -> Result<(), Error> {
        let _caller = self.guard.permit(&header).await?;
        self.daemon.ask(|reply| Request::Names(NamesRequest::Reapply(reply))).await
    }
}

/// Whom we ask for names, as of now.
pub(super) async fn status(daemon: &Daemon) -> dns::DnsStatus {
    let view = daemon.question(|reply| Request::Names(NamesRequest::Status(reply))).await;
    describe_all(view, &daemon.forwarder)
}

/// Without a tunnel there is nobody to ask.
fn describe_all(view: Option<DnsView>, forwarder: &Forwarder) -> dns::DnsStatus {
    let Some(view) = view else { return dns::DnsStatus::default() };
    dns::DnsStatus {
        origin: match view.origin {
            ::dns::Origin::Portal => dns::Origin::Portal,
            ::dns::Origin::Host => dns::Origin::Host,
        },
        servers: servers(&view.servers, forwarder),
        search_domain: view.search_domain,
        names: view.assigned as u64,
    }
}

fn explanation(name: &::dns::Domain, view: Option<NameExplanation>, forwarder: &Forwarder) -> dns::Explanation {
    let Some(view) = view else {
        return dns::Explanation { name: name.to_string(), ..dns::Explanation::default() };
    };
    let (answer, reverse_of) = match view.answer {
        NameAnswer::DevicePool => (dns::Answer::DevicePool, None),
        NameAnswer::Stub(::dns::AnswerSource::Resource) => (dns::Answer::Resource, None),
        NameAnswer::Stub(::dns::AnswerSource::Reverse(owner)) => (dns::Answer::Reverse, Some(owner.to_string())),
        NameAnswer::Stub(::dns::AnswerSource::Blocked) => (dns::Answer::Blocked, None),
        NameAnswer::Stub(::dns::AnswerSource::Forwarded) => (dns::Answer::Forwarded, None),
    };
    dns::Explanation {
        name: view.name.to_string(),
        answer,
        resources: view.resources.into_iter().map(resource).collect(),
        addresses: view.addresses.iter().map(ToString::to_string).collect(),
        reverse_of,
        cached: view.is_cached,
        servers: servers(&view.servers, forwarder),
    }
}

fn resource(view: MatchView) -> dns::Match {
    dns::Match { id: view.resource.to_string(), name: view.name, pattern: view.pattern, sites: view.sites }
}

fn servers(servers: &[::dns::Server], forwarder: &Forwarder) -> Vec<dns::Server> {
    servers.iter().map(|server| describe(server, forwarder)).collect()
}

fn describe(server: &::dns::Server, forwarder: &Forwarder) -> dns::Server {
    let (protocol, upstream, server_name) = match &server.upstream {
        ::dns::Upstream::Do53(address) => (dns::Protocol::Plain, address.to_string(), None),
        ::dns::Upstream::Dot(resolver) => {
            let name = resolver.server_name.as_ref().map(ToString::to_string);
            match resolver.encryption {
                Encryption::Required => (dns::Protocol::Tls, resolver.tls_address().to_string(), name),
                Encryption::Opportunistic | Encryption::None => {
                    (dns::Protocol::TlsIfOffered, resolver.address.to_string(), name)
                }
            }
        }
        ::dns::Upstream::Doh(url) => (dns::Protocol::Https, url.as_url().to_string(), None),
    };
    dns::Server {
        sentinel: server.sentinel.to_string(),
        upstream,
        protocol,
        server_name,
        via: match server.via {
            ::dns::Via::Host => dns::Via::Host,
            ::dns::Via::Tunnel => dns::Via::Tunnel,
        },
        failure: forwarder.failure(&server.upstream).map(failure),
    }
}

fn failure(it: resolver::Failure) -> dns::Failure {
    match it {
        resolver::Failure::TimedOut => dns::Failure::TimedOut,
        resolver::Failure::Unreachable => dns::Failure::Unreachable,
        resolver::Failure::Certificate => dns::Failure::Certificate,
        resolver::Failure::NoAddress => dns::Failure::NoAddress,
        resolver::Failure::Protocol => dns::Failure::Protocol,
        resolver::Failure::Loop => dns::Failure::Loop,
        resolver::Failure::CannotMark => dns::Failure::CannotMark,
    }
}

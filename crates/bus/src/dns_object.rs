//! `dev.firezone.Client1.Dns`: DNS servers and names.

use dbus_api::{Error, dns};
use model::Encryption;
use tunnel::{DnsView, MatchView, NameAnswer, NameExplanation};
use zbus::{interface, message::Header};

use crate::{
    authorizer::Authorizer,
    daemon_handle::{DaemonHandle, DnsRequest},
};
use resolver::Forwarder;

/// The interface, for authorized callers.
#[derive(Debug)]
pub(super) struct DnsObject {
    daemon: DaemonHandle,
    authorizer: Authorizer,
}

impl DnsObject {
    pub(super) fn new(daemon: DaemonHandle, authorizer: Authorizer) -> Self {
        Self { daemon, authorizer }
    }
}

#[interface(name = "dev.firezone.Client1.Dns")]
impl DnsObject {
    #[zbus(out_args("status"))]
    async fn get_status(&self, #[zbus(header)] header: Header<'_>) -> Result<dns::DnsStatus, Error> {
        let _caller = self.authorizer.authorize(&header).await?;
        Ok(status(&self.daemon).await)
    }

    #[zbus(out_args("explanation"))]
    async fn explain(&self, #[zbus(header)] header: Header<'_>, name: String) -> Result<dns::Explanation, Error> {
        let _caller = self.authorizer.authorize(&header).await?;
        let name =
            ::dns::Domain::from_user_input(&name).ok_or_else(|| Error::InvalidArgs("that is not a name".to_owned()))?;
        let query = name.clone();
        let view = self.daemon.dns_question(|reply| DnsRequest::Explain(query, reply)).await;
        Ok(explanation(&name, view, &self.daemon.forwarder))
    }

    async fn flush(&self, #[zbus(header)] header: Header<'_>) -> Result<(), Error> {
        let _caller = self.authorizer.authorize(&header).await?;
        self.daemon.dns_command(DnsRequest::Flush).await
    }

    async fn reapply(&self, #[zbus(header)] header: Header<'_>) -> Result<(), Error> {
        let _caller = self.authorizer.authorize(&header).await?;
        self.daemon.dns_command(DnsRequest::Reapply).await
    }
}

/// The DNS servers in use.
pub(super) async fn status(daemon: &DaemonHandle) -> dns::DnsStatus {
    let view = daemon.dns_question(DnsRequest::GetStatus).await;
    describe_all(view, &daemon.forwarder)
}

/// Without a tunnel, the list of servers is empty.
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

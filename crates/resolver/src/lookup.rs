//! Resolves names of our own connections, outside the tunnel.
//!
//! All resolvers of the host are queried at once for both address families, over UDP and, without a conclusive result, over
//! TCP; encrypted resolvers are queried over TLS. The C library is not used, because it would query the tunnel's own resolver.

use std::{net::IpAddr, time::Duration};

use dns::Via;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use hickory_proto::{
    op::{Message, Query, ResponseCode},
    rr::{Name, RData, RecordType},
};
use model::{Encryption, Resolver};
use tls::Roots;
use tokio::time::timeout;

use super::{
    dot::DotClient,
    error::{CannotMark, ForwardError},
    plain, query,
    sockets::Sockets,
    transport::Transport,
};

/// Time limit for a query.
const QUERY_TIMEOUT: Duration = Duration::from_secs(2);
/// Number of resolvers that are queried.
const MAX_RESOLVERS: usize = 8;

/// The result of one query.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Answer {
    Addresses(Vec<IpAddr>),
    /// The name does not exist.
    NoSuchName,
    /// No usable response.
    None,
}

/// The result of all queries together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    /// Addresses, or agreement that the name does not exist.
    Conclusive,
    /// Neither.
    Inconclusive,
}

/// The lookup of one name.
struct Lookup<'a> {
    sockets: Sockets,
    dot: DotClient,
    resolvers: &'a [Resolver],
}

/// Calls `on_address` for each address of `host` as soon as it is known, possibly more than once.
pub(super) async fn look_up(
    sockets: Sockets,
    roots: &Roots,
    resolvers: &[Resolver],
    host: &str,
    on_address: &mut (dyn FnMut(IpAddr) + Send),
) -> Result<(), CannotMark> {
    let Ok(name) = Name::from_ascii(format!("{}.", host.trim_end_matches('.'))) else { return Ok(()) };
    let resolvers = resolvers.get(..MAX_RESOLVERS).unwrap_or(resolvers);
    // Its connections end with this lookup.
    let lookup = Lookup { sockets, dot: DotClient::new(sockets, roots.clone()), resolvers };
    // Some routers forward UDP unreliably.
    if lookup.ask_all(&name, Transport::Udp, on_address).await? == Outcome::Inconclusive {
        lookup.ask_all(&name, Transport::Tcp, on_address).await?;
    }
    Ok(())
}

impl Lookup<'_> {
    async fn ask_all(
        &self,
        name: &Name,
        transport: Transport,
        on_address: &mut (dyn FnMut(IpAddr) + Send),
    ) -> Result<Outcome, CannotMark> {
        let both = |resolver| [(resolver, RecordType::A), (resolver, RecordType::AAAA)];
        let questions = self.resolvers.iter().flat_map(both);
        let mut answers: FuturesUnordered<_> =
            questions.map(|(resolver, kind)| self.ask(resolver, name, kind, transport)).collect();
        let (mut found_any, mut all_deny) = (false, true);
        while let Some(answer) = answers.next().await {
            let answer = answer?;
            all_deny &= answer == Answer::NoSuchName;
            if let Answer::Addresses(addresses) = answer {
                found_any |= !addresses.is_empty();
                addresses.into_iter().for_each(&mut *on_address);
            }
        }
        Ok(if found_any || all_deny { Outcome::Conclusive } else { Outcome::Inconclusive })
    }

    async fn ask(
        &self,
        resolver: &Resolver,
        name: &Name,
        kind: RecordType,
        transport: Transport,
    ) -> Result<Answer, CannotMark> {
        let mut message = Message::query();
        message.metadata.recursion_desired = true;
        let question = Query::query(name.clone(), kind);
        message.add_query(question.clone());
        let Ok(bytes) = message.to_vec() else { return Ok(Answer::None) };
        let query = query::Query { bytes: &bytes, question: &question };
        let asked = async {
            match resolver.encryption {
                Encryption::Required => return self.dot.ask(query, resolver).await,
                Encryption::Opportunistic => {
                    if let Some(answered) = self.dot.ask_if_offered(query, resolver).await {
                        return answered;
                    }
                }
                Encryption::None => {}
            }
            plain::ask(self.sockets, query, resolver.address, Via::Host, transport).await
        };
        Ok(match timeout(QUERY_TIMEOUT, asked).await {
            Ok(Ok((_, response))) => match response.metadata.response_code {
                ResponseCode::NoError => {
                    Answer::Addresses(response.answers.iter().filter_map(|record| address(&record.data)).collect())
                }
                ResponseCode::NXDomain => Answer::NoSuchName,
                _ => Answer::None,
            },
            Ok(Err(ForwardError::CannotMark)) => return Err(CannotMark),
            Ok(Err(_)) | Err(_) => Answer::None,
        })
    }
}

fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(a) => Some(IpAddr::V4(a.0)),
        RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
        _ => None,
    }
}

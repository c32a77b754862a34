//! From a name to its addresses, past the tunnel: for our own connections.
//!
//! All of the host's own resolvers are asked at once for both families, over UDP and, if that brought nothing, over TCP;
//! those that speak TLS are asked over TLS. Nothing is asked of the system's library, which would end up at the tunnel's
//! own resolver.

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
    CannotMark, Transport,
    dot::Streams,
    forward::{self, NoAnswer},
    plain,
    sockets::Sockets,
};

/// For each question.
const ANSWER: Duration = Duration::from_secs(2);
/// Nobody has more resolvers than this for a reason.
const MOST_SERVERS: usize = 8;

/// What one question brought.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Answer {
    Addresses(Vec<IpAddr>),
    /// There is no such name.
    NoSuchName,
    /// Nothing usable.
    Nothing,
}

/// What all questions brought together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    /// Addresses, or everybody's word that there is no such name.
    Clear,
    /// Neither.
    Unclear,
}

/// Who asks whom.
struct Lookup<'a> {
    sockets: Sockets,
    streams: Streams,
    resolvers: &'a [Resolver],
}

/// Tells all addresses of `host` as soon as they are known, possibly more than once; none if nobody knows any.
pub(super) async fn look_up(
    sockets: Sockets,
    roots: &Roots,
    resolvers: &[Resolver],
    host: &str,
    tell: &mut (dyn FnMut(IpAddr) + Send),
) -> Result<(), CannotMark> {
    let Ok(name) = Name::from_ascii(format!("{}.", host.trim_end_matches('.'))) else { return Ok(()) };
    let resolvers = resolvers.get(..MOST_SERVERS).unwrap_or(resolvers);
    // Its connections end with it: there is nothing more to ask.
    let lookup = Lookup { sockets, streams: Streams::new(sockets, roots.clone()), resolvers };
    // Some routers forward UDP badly; but if all agree that there is no such name, there is none.
    if lookup.ask_all(&name, Transport::Udp, tell).await? == Outcome::Unclear {
        lookup.ask_all(&name, Transport::Tcp, tell).await?;
    }
    Ok(())
}

impl Lookup<'_> {
    async fn ask_all(
        &self,
        name: &Name,
        transport: Transport,
        tell: &mut (dyn FnMut(IpAddr) + Send),
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
                addresses.into_iter().for_each(&mut *tell);
            }
        }
        Ok(if found_any || all_deny { Outcome::Clear } else { Outcome::Unclear })
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
        let Ok(bytes) = message.to_vec() else { return Ok(Answer::Nothing) };
        let query = forward::Query { bytes: &bytes, question: &question };
        let asked = async {
            match resolver.encryption {
                Encryption::Required => return self.streams.ask(query, resolver).await,
                Encryption::Opportunistic => {
                    if let Some(answered) = self.streams.ask_if_offered(query, resolver).await {
                        return answered;
                    }
                }
                Encryption::None => {}
            }
            plain::ask(self.sockets, query, resolver.address, Via::Host, transport).await
        };
        Ok(match timeout(ANSWER, asked).await {
            Ok(Ok((_, response))) => match response.metadata.response_code {
                ResponseCode::NoError => {
                    Answer::Addresses(response.answers.iter().filter_map(|record| address(&record.data)).collect())
                }
                ResponseCode::NXDomain => Answer::NoSuchName,
                _ => Answer::Nothing,
            },
            Ok(Err(NoAnswer::CannotMark)) => return Err(CannotMark),
            Ok(Err(_)) | Err(_) => Answer::Nothing,
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

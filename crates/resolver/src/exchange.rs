//! One query from its bytes to the bytes of its reply.

use std::{net::IpAddr, time::Duration};

use dns::{CacheGeneration, Cacheable, Decision, Question, Response, Upstream, Via};
use hickory_proto::op::{MessageType, ResponseCode};
use hickory_server::{net::xfer::Protocol, server::Request};
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    time::timeout,
};

use super::{
    forward::Forwarder,
    reply::{self, Reply},
    transport::Transport,
};
use dataplane::Command;

/// Concurrent queries. Further ones are dropped.
const MAX_CONCURRENT_QUERIES: usize = 1000;
/// Time limit for a decision: the packet thread may have to wait until the portal has named a gateway, and the portal gives up
/// after this time.
const DECISION_TIMEOUT: Duration = Duration::from_secs(15);

/// Turns queries into replies.
#[derive(Debug)]
pub(super) struct Exchange {
    commands: mpsc::Sender<Command>,
    forwarder: Forwarder,
    slots: Semaphore,
}

impl Exchange {
    pub(super) fn new(commands: mpsc::Sender<Command>, forwarder: Forwarder) -> Self {
        Self { commands, forwarder, slots: Semaphore::new(MAX_CONCURRENT_QUERIES) }
    }

    /// The reply to a parsed query; `None` if there is none.
    pub(super) async fn reply(&self, request: &Request, sentinel: IpAddr) -> Option<Vec<u8>> {
        let Ok(_slot) = self.slots.try_acquire() else {
            tracing::debug!("too many concurrent DNS queries");
            return None;
        };
        let question = question(request)?;
        if self.forwarder.is_probe(question.name.as_str()) {
            return reply::encode(request, Reply::failure(ResponseCode::NXDomain));
        }
        let reply = match self.decide(question.clone(), sentinel).await {
            Some(Decision::Answer(answer)) => Reply::Answer(answer),
            Some(Decision::Forward { to, via, generation }) => {
                self.forward(request, &question, to, via, generation).await
            }
            Some(Decision::ServFail) | None => Reply::failure(ResponseCode::ServFail),
        };
        reply::encode(request, reply)
    }

    async fn decide(&self, question: Question, sentinel: IpAddr) -> Option<Decision> {
        let (reply, decision) = oneshot::channel();
        let decided = async {
            self.commands.send(Command::Query { question, sentinel, reply }).await.ok()?;
            decision.await.ok()
        };
        timeout(DECISION_TIMEOUT, decided).await.ok().flatten()
    }

    async fn forward(
        &self,
        request: &Request,
        question: &Question,
        to: Upstream,
        via: Via,
        generation: CacheGeneration,
    ) -> Reply {
        match self.exchange(request, &to, via).await {
            Some((bytes, response)) => {
                if let Some(answer) = Cacheable::new(question, &response) {
                    // Caching is optional. It is skipped while the packet thread is busy.
                    let _ = self.commands.try_send(Command::Answer { generation, answer });
                }
                Reply::Forwarded { bytes, metadata: response.metadata }
            }
            None => Reply::failure(ResponseCode::ServFail),
        }
    }

    async fn exchange(&self, request: &Request, to: &Upstream, via: Via) -> Option<(Vec<u8>, Response)> {
        let transport = match request.protocol() {
            Protocol::Udp => Transport::Udp,
            _ => Transport::Tcp,
        };
        let query = request.queries.queries().first()?.original();
        match self.forwarder.ask(request.as_slice(), query, to, via, transport).await {
            Ok(answered) => Some(answered),
            Err(error) => {
                tracing::debug!(?to, ?via, %transport, %error, "forwarding failed");
                None
            }
        }
    }
}

/// The question of a query; `None` if the message is not one query with one question.
fn question(request: &Request) -> Option<Question> {
    if request.metadata.message_type != MessageType::Query {
        return None;
    }
    let [query] = request.queries.queries() else { return None };
    Some(Question::new(query.original(), &request.metadata, request.edns.as_ref()))
}

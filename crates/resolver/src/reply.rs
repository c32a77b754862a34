//! Encodes replies.

use dns::Answer;
use hickory_proto::{
    op::{Edns, Metadata, ResponseCode},
    rr::Record,
    serialize::binary::BinEncoder,
};
use hickory_server::{net::xfer::Protocol, server::Request, zone_handler::MessageResponseBuilder};

/// Maximum length of a reply over UDP in bytes: fits into a packet of 1280 bytes with the longest IP header. Longer replies
/// require TCP, whatever payload size the client advertises.
const MAX_UDP_REPLY: u16 = 1280 - 60 - 8;
/// The limit if the client advertises none (RFC 1035 4.2.1); smaller sizes are not allowed (RFC 6891 6.2.3).
const DEFAULT_UDP_REPLY: u16 = 512;

/// A reply to be encoded.
#[derive(Debug)]
pub(super) enum Reply {
    /// Our own answer.
    Answer(Answer),
    /// The response of another resolver.
    Forwarded {
        /// Its bytes.
        bytes: Vec<u8>,
        /// Its header.
        metadata: Metadata,
    },
}

impl Reply {
    pub(super) fn failure(code: ResponseCode) -> Self {
        Self::Answer(Answer { code, records: Vec::new() })
    }
}

/// The message to send. A reply that does not fit into a datagram is truncated to its header and question, so that the client
/// retries over TCP.
pub(super) fn encode(request: &Request, reply: Reply) -> Option<Vec<u8>> {
    let limit = limit(request);
    match reply {
        Reply::Forwarded { bytes, .. } if bytes.len() <= usize::from(limit) => Some(bytes),
        Reply::Forwarded { metadata, .. } => write(request, truncated(metadata), &[], limit),
        Reply::Answer(Answer { code, records }) => {
            let mut metadata = Metadata::response_from_request(&request.metadata);
            metadata.recursion_available = true;
            metadata.response_code = code;
            // The encoder would keep the records that fit; a partial answer is worse than none.
            let bytes = write(request, metadata, &records, u16::MAX)?;
            if bytes.len() <= usize::from(limit) {
                return Some(bytes);
            }
            write(request, truncated(metadata), &[], limit)
        }
    }
}

/// Encodes our own message: the question unchanged, and an OPT record if the query has one (RFC 6891 6.1.1).
fn write(request: &Request, metadata: Metadata, records: &[Record], limit: u16) -> Option<Vec<u8>> {
    let edns = request.edns.as_ref().map(|query_edns| {
        let mut edns = Edns::new();
        edns.set_max_payload(MAX_UDP_REPLY).set_dnssec_ok(query_edns.flags().dnssec_ok);
        edns
    });
    let none: &[Record] = &[];
    let builder = MessageResponseBuilder::new(&request.queries, edns.as_ref());
    let response = builder.build(metadata, records, none, none, none);
    let mut bytes = Vec::new();
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_max_size(limit);
    response.destructive_emit(&mut encoder).ok()?;
    Some(bytes)
}

fn truncated(mut metadata: Metadata) -> Metadata {
    metadata.truncation = true;
    metadata
}

fn limit(request: &Request) -> u16 {
    match request.protocol() {
        Protocol::Udp => request.max_payload().clamp(DEFAULT_UDP_REPLY, MAX_UDP_REPLY),
        _ => u16::MAX,
    }
}

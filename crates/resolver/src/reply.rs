//! The bytes of replies.

use dns::Answer;
use hickory_proto::{
    op::{Edns, Metadata, ResponseCode},
    rr::Record,
    serialize::binary::BinEncoder,
};
use hickory_server::{net::xfer::Protocol, server::Request, zone_handler::MessageResponseBuilder};

/// What fits into a packet of 1280 bytes, which every network carries, behind the longest IP header and that of UDP.
/// Longer replies go over TCP, whatever the asker says it could take.
const UDP_LIMIT: u16 = 1280 - 60 - 8;
/// What fits if the asker does not say anything (RFC 1035 4.2.1); less cannot be asked for (RFC 6891 6.2.3).
const UDP_DEFAULT: u16 = 512;

/// What is to be said.
#[derive(Debug)]
pub(super) enum Reply {
    /// This, by ourselves.
    Answer(Answer),
    /// What another resolver said.
    Forwarded {
        /// Its words.
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

/// The message to send. What does not fit into a datagram is cut down to its header and question, so that the asker
/// comes back over TCP.
pub(super) fn encode(request: &Request, reply: Reply) -> Option<Vec<u8>> {
    let limit = limit(request);
    match reply {
        Reply::Forwarded { bytes, .. } if bytes.len() <= usize::from(limit) => Some(bytes),
        Reply::Forwarded { metadata, .. } => write(request, truncated(metadata), &[], limit),
        Reply::Answer(Answer { code, records }) => {
            let mut metadata = Metadata::response_from_request(&request.metadata);
            metadata.recursion_available = true;
            metadata.response_code = code;
            // The encoder would keep what fits; half an answer is worse than none.
            let bytes = write(request, metadata, &records, u16::MAX)?;
            if bytes.len() <= usize::from(limit) {
                return Some(bytes);
            }
            write(request, truncated(metadata), &[], limit)
        }
    }
}

/// Our own message: the question as it was asked, and an OPT record if there was one (RFC 6891 6.1.1).
fn write(request: &Request, metadata: Metadata, records: &[Record], limit: u16) -> Option<Vec<u8>> {
    let edns = request.edns.as_ref().map(|asked| {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_LIMIT).set_dnssec_ok(asked.flags().dnssec_ok);
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
        Protocol::Udp => request.max_payload().clamp(UDP_DEFAULT, UDP_LIMIT),
        _ => u16::MAX,
    }
}

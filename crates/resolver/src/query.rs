//! A query to another resolver and its response, as bytes.

use dns::Response;
use hickory_proto::op;

use super::error::ForwardError;

/// A query.
#[derive(Clone, Copy)]
pub(super) struct Query<'a> {
    /// The message.
    pub(super) bytes: &'a [u8],
    /// The one question in it.
    pub(super) question: &'a op::Query,
}

/// A response: its bytes as received, and its parsed form.
pub(super) type Answered = (Vec<u8>, Response);

impl Query<'_> {
    /// Parses a response from a connection that only the server can write to.
    pub(super) fn parse_response(&self, bytes: Vec<u8>) -> Result<Answered, ForwardError> {
        let response = Response::parse(&bytes)?;
        if !response.answers(id_of(self.bytes), self.question) {
            return Err(ForwardError::QuestionMismatch);
        }
        Ok((bytes, response))
    }
}

/// A message with its length, as it is sent on a stream (RFC 1035 4.2.2).
pub(super) fn framed(message: &[u8]) -> Result<Vec<u8>, ForwardError> {
    let length = u16::try_from(message.len()).map_err(|_| ForwardError::TooLong)?;
    Ok([&length.to_be_bytes(), message].concat())
}

/// The id: the first two bytes of each message (RFC 1035 4.1.1).
pub(super) fn id_of(message: &[u8]) -> u16 {
    message.first_chunk().copied().map_or(0, u16::from_be_bytes)
}

/// The same message with another id.
pub(super) fn with_id(mut message: Vec<u8>, id: u16) -> Vec<u8> {
    if let Some(place) = message.first_chunk_mut() {
        *place = id.to_be_bytes();
    }
    message
}

//! Responses of upstream resolvers, parsed as far as this program inspects them.

use hickory_proto::{
    op::{Header, Message, MessageType, Metadata, Query},
    rr::Record,
    serialize::binary::{BinDecodable, BinDecoder, DecodeError},
};

/// A response. Its bytes are forwarded unchanged; only this part is parsed, so that unusual content in the other
/// sections cannot prevent the client from getting its answer.
#[derive(Clone, PartialEq, Debug)]
pub struct Response {
    /// The header.
    pub metadata: Metadata,
    /// The only question.
    pub question: Query,
    /// The answer section.
    pub answers: Vec<Record>,
}

/// Why bytes are not a usable response.
#[derive(Debug, thiserror::Error)]
pub enum ResponseError {
    /// Header, question or answer section violate RFC 1035.
    #[error("the message is malformed: {0}")]
    Malformed(#[from] DecodeError),
    /// The message is a query.
    #[error("the message is a query")]
    IsQuery,
    /// The message does not contain exactly one question.
    #[error("the message has {0} questions")]
    QuestionCount(u16),
}

impl Response {
    /// Parses header, question and answers of a message.
    ///
    /// # Errors
    /// The message is not a response to exactly one question.
    pub fn parse(bytes: &[u8]) -> Result<Self, ResponseError> {
        let mut decoder = BinDecoder::new(bytes);
        let Header { metadata, counts } = Header::read(&mut decoder)?;
        if metadata.message_type != MessageType::Response {
            return Err(ResponseError::IsQuery);
        }
        if counts.queries != 1 {
            return Err(ResponseError::QuestionCount(counts.queries));
        }
        let question = Query::read(&mut decoder)?;
        let (answers, _, _) = Message::read_records(&mut decoder, counts.answers.into(), false, metadata.op_code)?;
        Ok(Self { metadata, question, answers })
    }

    /// Whether this answers `question`, sent with `id` (RFC 5452 9.1).
    #[must_use]
    pub fn answers(&self, id: u16, question: &Query) -> bool {
        self.metadata.id == id && self.question == *question
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use hickory_proto::{
        op::{Edns, OpCode},
        rr::{Name, RData, RecordType, rdata::A},
    };

    use super::*;

    fn query(name: &str) -> Query {
        Query::query(Name::from_ascii(name).expect("a name"), RecordType::A)
    }

    fn message() -> Message {
        let mut message = Message::response(77, OpCode::Query);
        message.add_query(query("a.example."));
        let owner = Name::from_ascii("a.example.").expect("a name");
        message.answers = vec![Record::from_rdata(owner, 60, RData::A(A(Ipv4Addr::LOCALHOST)))];
        message.set_edns(Edns::new());
        message
    }

    #[test]
    fn response_matches_only_its_question_ignoring_case() {
        let response = Response::parse(&message().to_vec().expect("bytes")).expect("a response");
        assert_eq!(response.answers.len(), 1);
        assert!(response.answers(77, &query("A.eXample.")));
        assert!(!response.answers(78, &query("a.example.")));
        assert!(!response.answers(77, &query("b.example.")));
        let other_type = Query::query(query("a.example.").name().clone(), RecordType::AAAA);
        assert!(!response.answers(77, &other_type));
    }

    #[test]
    fn garbage_after_the_answer_section_is_ignored() {
        let mut bytes = message().to_vec().expect("bytes");
        bytes.truncate(bytes.len() - 3);
        assert!(Response::parse(&bytes).is_ok());
    }

    #[test]
    fn message_without_exactly_one_question_is_rejected() {
        let mut query = message();
        query.metadata.message_type = MessageType::Query;
        assert!(matches!(Response::parse(&query.to_vec().expect("bytes")), Err(ResponseError::IsQuery)));
        let none = Message::response(77, OpCode::Query);
        assert!(matches!(Response::parse(&none.to_vec().expect("bytes")), Err(ResponseError::QuestionCount(0))));
        let mut two = message();
        two.add_query(two.queries[0].clone());
        assert!(matches!(Response::parse(&two.to_vec().expect("bytes")), Err(ResponseError::QuestionCount(2))));
    }

    #[test]
    fn mangled_responses_never_panic() {
        let bytes = message().to_vec().expect("bytes");
        let opt = 11;
        for length in 0..bytes.len() - opt {
            assert!(matches!(Response::parse(&bytes[..length]), Err(ResponseError::Malformed(_))), "{length}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(response) = Response::parse(&flipped) {
                let _ = response.answers(77, &query("a.example."));
            }
        }
    }
}

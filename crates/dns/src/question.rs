//! A DNS question.

use hickory_proto::{
    op::{Edns, Metadata, OpCode, Query},
    rr::{DNSClass, Name, RecordType},
};

use crate::Domain;

/// One question, with the relevant properties of the message that carried it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    /// The normalized name, for comparisons.
    pub name: Domain,
    /// The name exactly as queried, for the answer.
    pub original_name: Name,
    /// The queried record type.
    pub qtype: RecordType,
    /// Whether this is a standard query of the Internet class. All others are only forwarded.
    pub is_standard: bool,
    /// Whether the client validates DNSSEC (DO or CD set). Cached answers lack the records for that.
    pub wants_dnssec: bool,
}

impl Question {
    /// The question of a parsed message.
    #[must_use]
    pub fn new(query: &Query, metadata: &Metadata, edns: Option<&Edns>) -> Self {
        Self {
            name: query.name().into(),
            original_name: query.name().clone(),
            qtype: query.query_type(),
            is_standard: metadata.op_code == OpCode::Query && query.query_class() == DNSClass::IN,
            wants_dnssec: metadata.checking_disabled || edns.is_some_and(|edns| edns.flags().dnssec_ok),
        }
    }

    /// A standard question for `name` without DNSSEC, as most programs ask it. `None` if `name` is not a valid host name.
    #[must_use]
    pub fn plain(name: &str, qtype: RecordType) -> Option<Self> {
        let name = Domain::from(name);
        let original_name = name.to_name()?;
        Some(Self { name, original_name, qtype, is_standard: true, wants_dnssec: false })
    }
}

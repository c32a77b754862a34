//! What somebody wants to know.

use hickory_proto::{
    op::{Edns, Metadata, OpCode, Query},
    rr::{DNSClass, Name, RecordType},
};

use crate::Domain;

/// One question, with what matters of the message that carried it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    /// The name, for comparing.
    pub name: Domain,
    /// The name exactly as it was asked, for answering.
    pub asked: Name,
    /// Which records are wanted.
    pub qtype: RecordType,
    /// Whether this is a standard query about the Internet class. All others are only passed on.
    pub standard: bool,
    /// Whether the asker validates (DO or CD set). What we remember of answers is not enough for that.
    pub validates: bool,
}

impl Question {
    /// The question of a parsed message.
    #[must_use]
    pub fn new(query: &Query, metadata: &Metadata, edns: Option<&Edns>) -> Self {
        Self {
            name: query.name().into(),
            asked: query.name().clone(),
            qtype: query.query_type(),
            standard: metadata.op_code == OpCode::Query && query.query_class() == DNSClass::IN,
            validates: metadata.checking_disabled || edns.is_some_and(|edns| edns.flags().dnssec_ok),
        }
    }

    /// A plain question for `name`, as most programs ask it. `None` if `name` cannot be a host's.
    #[must_use]
    pub fn plain(name: &str, qtype: RecordType) -> Option<Self> {
        let name = Domain::from(name);
        let asked = name.to_name()?;
        Some(Self { name, asked, qtype, standard: true, validates: false })
    }
}

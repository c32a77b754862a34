//! A domain name as text.

use std::{borrow::Borrow, fmt, sync::Arc};

use hickory_proto::rr::Name;

/// A domain name in presentation form: lower case, no trailing dot, unusual bytes escaped as in zone files.
///
/// Cheap to clone. Names are private data: log them at DEBUG at most.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Domain(Arc<str>);

impl Domain {
    /// Parses a name as users type it: non-ASCII letters are encoded as in DNS (RFC 5890). `None` if the text is not a
    /// valid name.
    #[must_use]
    pub fn from_user_input(text: &str) -> Option<Self> {
        let domain = Self::from(idna::domain_to_ascii(text.trim()).ok()?.as_str());
        domain.to_name().map(|_| domain)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a pattern can match the name: it contains no escapes and no `/`, which patterns use internally in place
    /// of the dot.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        !self.0.is_empty() && !self.0.contains(['\\', '/'])
    }

    /// The name as a `hickory` type; `None` for names that are not [plain](Self::is_plain) or too long.
    #[must_use]
    pub fn to_name(&self) -> Option<Name> {
        if !self.is_plain() {
            return None;
        }
        Name::from_labels(self.0.split('.').map(str::as_bytes)).ok()
    }

    /// The name with its labels decoded to Unicode.
    pub(crate) fn to_unicode(&self) -> String {
        idna::domain_to_unicode(&self.0).0
    }

    /// The name itself, then each of its parents, ending with the empty root.
    pub(crate) fn suffixes(&self) -> impl Iterator<Item = &str> {
        std::iter::successors(Some(self.as_str()), |rest| {
            if rest.is_empty() { None } else { Some(rest.split_once('.').map_or("", |(_, parent)| parent)) }
        })
    }
}

impl From<&Name> for Domain {
    fn from(name: &Name) -> Self {
        name.to_ascii().as_str().into()
    }
}

impl From<&str> for Domain {
    fn from(text: &str) -> Self {
        let text = text.strip_suffix('.').unwrap_or(text);
        Self(text.to_ascii_lowercase().into())
    }
}

impl Borrow<str> for Domain {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_cased_without_trailing_dot() {
        assert_eq!(Domain::from("WWW.Example.COM.").as_str(), "www.example.com");
        let name = Name::from_ascii("WwW.eXample.com.").expect("a name");
        assert_eq!(Domain::from(&name), Domain::from("www.example.com"));
        assert_eq!(Domain::from(&Name::root()).as_str(), "");
    }

    #[test]
    fn dot_inside_a_label_does_not_split_it() {
        let name = Name::from_labels([b"a.b".as_slice(), b"example"]).expect("a name");
        let domain = Domain::from(&name);
        assert!(!domain.is_plain());
        assert_eq!(domain.to_name(), None);
    }

    #[test]
    fn user_input_is_encoded_and_invalid_input_is_none() {
        assert_eq!(Domain::from_user_input("Bücher.Example.").expect("a name").as_str(), "xn--bcher-kva.example");
        assert_eq!(Domain::from_user_input("xn--bcher-kva.example").expect("a name").to_unicode(), "bücher.example");
        let long = "a".repeat(64);
        for none in ["", ".", "a..b", "a b\\c", long.as_str()] {
            assert_eq!(Domain::from_user_input(none), None, "{none}");
        }
    }

    #[test]
    fn suffixes_are_the_name_and_all_its_parents() {
        let domain = Domain::from("a.b.c");
        assert_eq!(domain.suffixes().collect::<Vec<_>>(), ["a.b.c", "b.c", "c", ""]);
        assert_eq!(Domain::from(".").suffixes().collect::<Vec<_>>(), [""]);
    }
}

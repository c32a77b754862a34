//! The patterns of DNS resources.
//!
//! A pattern is a shell glob over the labels of a name: `?` is one character, `*` any number of them, both within one
//! label; `**` is any number of whole labels. In addition `*.example.com` also stands for `example.com` itself. Case
//! does not matter.

use std::{cmp::Ordering, fmt, str::FromStr, sync::Arc};

use glob::MatchOptions;

use crate::Domain;

/// Wildcards do not cross labels, and a leading dot has no special meaning.
const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: false, require_literal_separator: true, require_literal_leading_dot: false };

/// One valid pattern. Cheap to clone. The *greater* of two patterns is the more specific one.
#[derive(Clone)]
pub struct Pattern(Arc<Inner>);

struct Inner {
    /// Lower case; non-ASCII labels are encoded as in DNS, except labels that contain a wildcard.
    text: String,
    /// The same with `/` in place of the dots; in Unicode if any label could not be encoded.
    glob: glob::Pattern,
}

/// Why a text is not a valid pattern. The resource stays listed, but no name ever matches.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidPattern {
    /// The text is empty.
    #[error("the pattern is empty")]
    Empty,
    /// A character that is not allowed in names and patterns.
    #[error("the pattern contains {0:?}, which is not allowed")]
    InvalidCharacter(char),
    /// `**` as a part of a label, or more than two asterisks in a row.
    #[error("'**' must be a complete label")]
    DoubleWildcard,
    /// A non-ASCII label that is not valid in a name (RFC 5891).
    #[error("a non-ASCII label is not valid in a name")]
    InvalidLabel,
}

impl Pattern {
    /// The pattern in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// Whether the pattern matches `name`.
    #[must_use]
    pub fn matches(&self, name: &Domain) -> bool {
        if !name.is_plain() {
            return false;
        }
        let bare = self.0.text.strip_prefix("*.").is_some_and(|rest| rest == name.as_str());
        let path = |text: &str| text.replace('.', "/");
        let is_encoded = self.0.text.is_ascii();
        bare || self.0.glob.matches_with(&path(&if is_encoded { name.to_string() } else { name.to_unicode() }), OPTIONS)
    }

    /// The labels after the last wildcard: every matching name ends with them.
    pub(crate) fn literal_tail(&self) -> &str {
        let text = self.as_str();
        text.rfind(['*', '?']).map_or(text, |wildcard| {
            text.get(wildcard..).and_then(|rest| rest.split_once('.')).map_or("", |(_, tail)| tail)
        })
    }

    /// Compared from the end: a wildcard is less specific than any other character, `*` less than `?`; if one pattern is
    /// a suffix of the other, the shorter one is more specific. All other patterns only need a stable order.
    fn specificity(&self) -> impl Iterator<Item = u32> + '_ {
        let symbols = self.0.text.chars().rev().map(|symbol| match symbol {
            '*' => 0,
            '?' => 1,
            other => u32::from(other).saturating_add(2),
        });
        symbols.chain([u32::MAX])
    }
}

impl FromStr for Pattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        if text.is_empty() {
            return Err(InvalidPattern::Empty);
        }
        if let Some(unusual) = text.chars().find(|c| matches!(c, '[' | ']' | '/' | '\\') || c.is_control()) {
            return Err(InvalidPattern::InvalidCharacter(unusual));
        }
        let text = encoded(text)?;
        let path = if text.is_ascii() { text.clone() } else { idna::domain_to_unicode(&text).0 }.replace('.', "/");
        let glob = glob::Pattern::new(&path).map_err(|_| InvalidPattern::DoubleWildcard)?;
        Ok(Self(Arc::new(Inner { text, glob })))
    }
}

/// The pattern with its labels encoded as in DNS; a label with a wildcard cannot be encoded and stays in Unicode.
fn encoded(text: &str) -> Result<String, InvalidPattern> {
    if text.is_ascii() {
        return Ok(text.to_ascii_lowercase());
    }
    let labels = text.split('.').map(|label| {
        if label.is_ascii() {
            Ok(label.to_ascii_lowercase())
        } else if label.contains(['*', '?']) {
            let (letters, outcome) = idna::domain_to_unicode(label);
            outcome.map(|()| letters).map_err(|_| InvalidPattern::InvalidLabel)
        } else {
            idna::domain_to_ascii(label).map_err(|_| InvalidPattern::InvalidLabel)
        }
    });
    Ok(labels.collect::<Result<Vec<_>, _>>()?.join("."))
}

impl Ord for Pattern {
    fn cmp(&self, other: &Self) -> Ordering {
        self.specificity().cmp(other.specificity())
    }
}

impl PartialOrd for Pattern {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

impl Eq for Pattern {}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0.text, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn matches(text: &str, name: &str) -> bool {
        pattern(text).matches(&name.into())
    }

    #[test]
    fn patterns_match_their_names() {
        for (text, name) in [
            ("**.example.com", "example.com"),
            ("**.example.com", "foo.example.com"),
            ("**.example.com", "foo.bar.example.com"),
            ("app.**.example.com", "app.bar.foo.example.com"),
            ("app.**.example.com", "app.example.com"),
            ("*.example.com", "foo.example.com"),
            ("*.example.com", "example.com"),
            ("foo.*.example.com", "foo.bar.example.com"),
            ("app.*.*.example.com", "app.foo.bar.example.com"),
            ("app.f??.example.com", "app.foo.example.com"),
            ("*?*.example.com", "app.example.com"),
            ("app.**.web.**.example.com", "app.web.example.com"),
            ("example.com", "example.com"),
            ("*ample.com", "example.com"),
            ("db", "db"),
        ] {
            assert!(matches(text, name), "{text} ~ {name}");
        }
    }

    #[test]
    fn patterns_do_not_match_other_names() {
        for (text, name) in [
            ("app.*.example.com", "app.example.com"),
            ("app.*.example.com", "app.foo.bar.example.com"),
            ("app.*com", "app.foo.com"),
            ("app?com", "app.com"),
            ("*.example.com", "foo.bar.example.com"),
            ("example.com", "foo.example.com"),
            ("*.example.com", "example.org"),
            ("*?*.example.com", "example.com"),
            ("a.example.com", "aexample.com"),
            ("**", ""),
        ] {
            assert!(!matches(text, name), "{text} !~ {name}");
        }
    }

    #[test]
    fn matching_ignores_case() {
        assert!(matches("*.Example.COM", "foo.eXample.com"));
        assert!(matches("*.EXAMPLE.com", "example.COM"));
        assert!(matches("App.F??.example.com", "aPP.fOO.example.com"));
    }

    #[test]
    fn non_ascii_patterns_match_the_encoded_names() {
        for (text, name) in [
            ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER.Example", "XN--bcher-KVA.example"),
            ("bu\u{308}cher.example", "xn--bcher-kva.example"),
            ("*.bücher.example", "www.xn--bcher-kva.example"),
            ("*.bücher.example", "xn--bcher-kva.example"),
            ("**.müller.example", "a.b.xn--mller-kva.example"),
            ("bü*.example", "xn--bcher-kva.example"),
            ("*.bü*.müller.example", "www.xn--bcher-kva.xn--mller-kva.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ] {
            assert!(matches(text, name), "{text} ~ {name}");
        }
        for (text, name) in [
            ("bücher.example", "bucher.example"),
            ("bü*.example", "bcher.example"),
            ("bü?.example", "xn--bcher-kva.example"),
        ] {
            assert!(!matches(text, name), "{text} !~ {name}");
        }
        assert_eq!(pattern("*.Bücher.example").literal_tail(), "xn--bcher-kva.example");
        assert_eq!("a\u{ad}\u{200d}ü\u{fffe}.example".parse::<Pattern>(), Err(InvalidPattern::InvalidLabel));
    }

    #[test]
    fn invalid_patterns_are_rejected_with_a_reason() {
        for (text, why) in [
            ("", InvalidPattern::Empty),
            ("a**.x.com", InvalidPattern::DoubleWildcard),
            ("***.x.com", InvalidPattern::DoubleWildcard),
            ("**a.x.com", InvalidPattern::DoubleWildcard),
            ("[ab].x.com", InvalidPattern::InvalidCharacter('[')),
            ("a/b", InvalidPattern::InvalidCharacter('/')),
            ("a\\b", InvalidPattern::InvalidCharacter('\\')),
        ] {
            assert_eq!(text.parse::<Pattern>(), Err(why), "{text}");
        }
    }

    #[test]
    fn escaped_names_match_no_pattern() {
        assert!(!matches("**.example.com", "a\\.b.example.com"));
        assert!(!matches("**.example.com", "a/b.example.com"));
    }

    #[test]
    fn patterns_are_ordered_by_specificity() {
        let expected = [
            "example.com",
            "bar.example.com",
            "*.bar.example.com",
            "foo.example.com",
            "?.example.com",
            "*.example.com",
            "**.example.com",
            "*ample.com",
            "*.com",
        ];
        let mut patterns: Vec<_> = expected.iter().rev().map(|text| pattern(text)).collect();
        patterns.rotate_left(4);
        patterns.sort();
        patterns.reverse();
        assert_eq!(patterns.iter().map(Pattern::as_str).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn literal_tail_is_the_common_suffix_of_matching_names() {
        for (text, tail) in [
            ("example.com", "example.com"),
            ("*.example.com", "example.com"),
            ("*ample.com", "com"),
            ("a.*.b.?c.d", "d"),
            ("a.b*", ""),
            ("**", ""),
        ] {
            assert_eq!(pattern(text).literal_tail(), tail, "{text}");
        }
    }
}

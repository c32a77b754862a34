//! Which names belong to a DNS resource.
//!
//! `?` is one character and `*` any number of them, within one label; `**` is any number of whole labels. A pattern that
//! starts with `*.` also matches what follows it.

/// Whether `name` matches `pattern`. Case does not matter.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.to_ascii_lowercase(), name.to_ascii_lowercase());
    if pattern.strip_prefix("*.").is_some_and(|rest| rest == name) {
        return true;
    }

    let pattern: Vec<&str> = pattern.split('.').collect();
    let name: Vec<&str> = name.split('.').collect();
    labels(&pattern, &name)
}

fn labels(pattern: &[&str], name: &[&str]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((&"**", rest)) => (0..=name.len()).any(|skipped| labels(rest, &name[skipped..])),
        Some((first, rest)) => name
            .split_first()
            .is_some_and(|(label, others)| one_label(first.as_bytes(), label.as_bytes()) && labels(rest, others)),
    }
}

fn one_label(pattern: &[u8], label: &[u8]) -> bool {
    match pattern.split_first() {
        None => label.is_empty(),
        Some((b'*', rest)) => (0..=label.len()).any(|skipped| one_label(rest, &label[skipped..])),
        Some((b'?', rest)) => label.split_first().is_some_and(|(_, others)| one_label(rest, others)),
        Some((letter, rest)) => {
            label.split_first().is_some_and(|(first, others)| first == letter && one_label(rest, others))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn plain_name_matches_itself_case_insensitively() {
        assert!(matches("wiki.example", "WIKI.example"));
        assert!(!matches("wiki.example", "a.wiki.example"));
    }

    #[test]
    fn leading_star_matches_zero_or_one_label() {
        assert!(matches("*.example", "a.example"));
        assert!(matches("*.example", "example"));
        assert!(!matches("*.example", "a.b.example"));
        assert!(matches("db-*.example", "db-1.example"));
        assert!(!matches("db-*.example", "db-1.x.example"));
    }

    #[test]
    fn two_stars_match_any_number_of_labels() {
        for name in ["example", "a.example", "a.b.example"] {
            assert!(matches("**.example", name));
        }
        assert!(!matches("**.example", "a.other"));
    }

    #[test]
    fn question_mark_matches_exactly_one_character() {
        assert!(matches("db?.example", "db1.example"));
        assert!(!matches("db?.example", "db.example"));
        assert!(!matches("db?.example", "db12.example"));
    }
}

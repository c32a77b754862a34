//! What came of a wish. Partial success is a state, not an error.

/// The outcome of bringing the host in line with a wish.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "the warnings are the host's health"]
pub struct Applied {
    /// What could not be had. The rest was applied all the same.
    pub warnings: Vec<Warning>,
    /// How many things were changed; zero if the host was as wished already.
    pub changes: usize,
    /// Whether it is worth trying again soon, although nothing may tell that the time has come.
    pub again: bool,
}

impl Applied {
    pub(super) fn warn(&mut self, warning: Warning) {
        if !self.warnings.contains(&warning) {
            tracing::debug!(code = warning.code, text = warning.text, "the host is not quite as wished");
            self.warnings.push(warning);
        }
    }
}

/// A part of the wish that the host refused: a stable code, a sentence for people, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Stable and kebab-case; front ends translate by it.
    pub code: &'static str,
    /// What happened. May name files and interfaces, never addresses or names of resources.
    pub text: String,
    /// What to do.
    pub remedy: String,
}

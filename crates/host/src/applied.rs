//! Result of applying a desired state. Partial success is a state, not an error.

/// The result of applying a desired state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "warnings must be reported"]
pub struct Applied {
    /// The parts that failed. All others were applied.
    pub warnings: Vec<Warning>,
    /// Number of changes; zero if the host was in the desired state already.
    pub changes: usize,
    /// Whether to retry soon: a failure may be temporary, and no event announces its end.
    pub retry: bool,
}

impl Applied {
    pub(super) fn warn(&mut self, warning: Warning) {
        if !self.warnings.contains(&warning) {
            tracing::debug!(code = warning.code, text = warning.text, "a part of the desired state cannot be applied");
            self.warnings.push(warning);
        }
    }
}

/// A part of the desired state that cannot be applied: a stable code, a sentence for users, and a remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Stable and in kebab case; front ends translate by it.
    pub code: &'static str,
    /// The problem. May name files and interfaces, never addresses or names of resources.
    pub text: String,
    /// The remedy.
    pub remedy: String,
}

//! What may be wrong on this machine.

use doctor::{Check, Verdict};
use gettextrs::{gettext, ngettext};

use crate::model::{Diagnosis, Model};

/// The window with the checks.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct View {
    /// The icon of the whole.
    pub icon: &'static str,
    /// The whole in one line.
    pub title: String,
    /// Who has looked, or why nobody has.
    pub text: String,
    /// Whether somebody looks right now.
    pub is_running: bool,
    /// Whether a report can be had.
    pub can_collect: bool,
    /// What is not well, the worst first.
    pub findings: Vec<CheckRow>,
    /// What is well.
    pub passed: Vec<CheckRow>,
    /// What cannot be told.
    pub skipped: Vec<CheckRow>,
}

/// One check, as it is shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckRow {
    /// What it is about.
    pub title: String,
    /// How it has ended, in a word, and what was found.
    pub subtitle: String,
    /// An icon with a shape of its own for each end.
    pub icon: &'static str,
    /// The class of its colour, which says nothing alone.
    pub class: &'static str,
    /// What follows from it; empty if all is well.
    pub effect: String,
    /// What to do about it; empty if there is nothing to do.
    pub remedy: String,
    /// For whoever helps.
    pub id: String,
}

/// The window for a model.
#[must_use]
pub fn view(model: &Model) -> View {
    let can_collect = model.session().is_some_and(|session| session.may_diagnose);
    let (checks, is_local) = match &model.diagnosis {
        Diagnosis::None | Diagnosis::Running => {
            return View {
                icon: "firezone-busy-symbolic",
                title: gettext("Looking"),
                text: gettext("This takes a few seconds."),
                is_running: true,
                ..View::default()
            };
        }
        Diagnosis::Failed => {
            return View {
                icon: "firezone-problem-symbolic",
                title: gettext("Nobody could look"),
                text: gettext("The service did not answer in time, or you may not ask it to look."),
                can_collect,
                ..View::default()
            };
        }
        Diagnosis::Done { checks, is_local } => (checks, *is_local),
    };
    let of = |verdict: Verdict| checks.iter().filter(move |check| check.result == verdict).map(row);
    let findings: Vec<CheckRow> = of(Verdict::Failed).chain(of(Verdict::Warning)).collect();
    let (icon, title) = match findings.len() {
        0 => ("firezone-connected-symbolic", gettext("No problem was found")),
        count => {
            let shown = u32::try_from(count).unwrap_or(u32::MAX);
            let title = ngettext("{count} problem was found", "{count} problems were found", shown);
            ("firezone-problem-symbolic", title.replace("{count}", &count.to_string()))
        }
    };
    View {
        icon,
        title,
        text: match is_local {
            true => gettext("The service does not run, so only what everybody can see was looked at."),
            false => gettext("The service has looked at this computer."),
        },
        is_running: false,
        can_collect: can_collect && !is_local,
        findings,
        passed: of(Verdict::Ok).collect(),
        skipped: of(Verdict::Skipped).collect(),
    }
}

fn row(check: &Check) -> CheckRow {
    let (icon, class, word) = match check.result {
        Verdict::Ok => ("firezone-online-symbolic", "state-connected", gettext("Well")),
        Verdict::Warning => ("firezone-problem-symbolic", "state-warning", gettext("Warning")),
        Verdict::Failed => ("firezone-offline-symbolic", "state-offline", gettext("Failed")),
        Verdict::Skipped => ("firezone-unknown-symbolic", "dim-label", gettext("Not known")),
    };
    let evidence = translated(&check.evidence);
    CheckRow {
        title: heading(&translated(&check.name)),
        subtitle: if evidence.is_empty() { word } else { format!("{word} · {evidence}") },
        icon,
        class,
        effect: translated(&check.effect),
        remedy: translated(&check.remedy),
        id: check.id.clone(),
    }
}

fn heading(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// What a check says, in the user's language if it is known there. Nothing stays nothing: translations keep their own
/// description under it.
fn translated(text: &str) -> String {
    if text.is_empty() { String::new() } else { gettext(text) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Daemon, Session};

    fn check(id: &str, verdict: Verdict) -> Check {
        Check {
            id: id.into(),
            name: id.into(),
            result: verdict,
            evidence: "what was found".into(),
            effect: "what follows".into(),
            remedy: "what to do".into(),
        }
    }

    fn model(checks: Vec<Check>, is_local: bool) -> Model {
        let session = Session { may_diagnose: true, ..Session::default() };
        Model {
            daemon: Daemon::Serving(Box::new(session)),
            diagnosis: Diagnosis::Done { checks, is_local },
            ..Model::default()
        }
    }

    #[test]
    fn what_is_worst_comes_first_and_says_what_to_do() {
        let checks = vec![
            check("a", Verdict::Ok),
            check("b", Verdict::Warning),
            check("c", Verdict::Failed),
            check("d", Verdict::Skipped),
        ];
        let view = view(&model(checks, false));
        assert_eq!(view.findings.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["c", "b"]);
        assert_eq!((view.passed.len(), view.skipped.len()), (1, 1));
        assert!(view.title.contains('2'));
        assert_eq!(view.findings[0].title, "C");
        assert!(view.findings.iter().all(|row| row.remedy == "what to do" && row.subtitle.contains("what was found")));
    }

    #[test]
    fn each_end_has_a_shape_and_a_word_of_its_own() {
        let ends = [Verdict::Ok, Verdict::Warning, Verdict::Failed, Verdict::Skipped].map(|it| row(&check("x", it)));
        for (index, end) in ends.iter().enumerate() {
            assert!(ends.iter().skip(index + 1).all(|it| it.icon != end.icon && it.subtitle != end.subtitle));
        }
    }

    #[test]
    fn without_the_service_the_rest_is_still_looked_at_and_that_is_said() {
        let mut model = model(vec![check("a", Verdict::Failed)], true);
        model.daemon = Daemon::Absent;
        let view = view(&model);
        assert_eq!((view.findings.len(), view.can_collect), (1, false));
        assert!(view.text.contains("does not run"));
    }
}

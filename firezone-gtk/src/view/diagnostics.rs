//! The results of the checks.

use doctor::{Check, Verdict};
use gettextrs::{gettext, ngettext};

use crate::model::{Diagnosis, Model};

/// The content of the diagnostics window.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DiagnosticsView {
    /// The icon of the overall result.
    pub icon: &'static str,
    /// The overall result in one line.
    pub title: String,
    /// Who ran the checks, or why they did not run.
    pub text: String,
    /// Whether the checks are running.
    pub is_running: bool,
    /// Whether a report can be created.
    pub can_collect: bool,
    /// Failed checks and warnings, the most severe first.
    pub findings: Vec<CheckRow>,
    /// Passed checks.
    pub passed: Vec<CheckRow>,
    /// Skipped checks.
    pub skipped: Vec<CheckRow>,
}

/// The row of one check.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckRow {
    /// The subject of the check.
    pub title: String,
    /// The result in one word, and the evidence.
    pub subtitle: String,
    /// An icon with a different shape for each result.
    pub icon: &'static str,
    /// The style class for its colour. The colour is never the only distinction.
    pub class: &'static str,
    /// The impact; empty if the check passed.
    pub effect: String,
    /// How to fix it; empty if there is nothing to do.
    pub remedy: String,
    /// The ID of the check, for support.
    pub id: String,
}

/// The diagnostics window for a model.
#[must_use]
pub fn view(model: &Model) -> DiagnosticsView {
    let can_collect = model.session().is_some_and(|session| session.may_diagnose);
    let (checks, is_local) = match &model.diagnosis {
        Diagnosis::None | Diagnosis::Running => {
            return DiagnosticsView {
                icon: "firezone-busy-symbolic",
                title: gettext("Running checks"),
                text: gettext("This takes a few seconds."),
                is_running: true,
                ..DiagnosticsView::default()
            };
        }
        Diagnosis::Failed => {
            return DiagnosticsView {
                icon: "firezone-problem-symbolic",
                title: gettext("The checks could not run"),
                text: gettext("The service did not respond in time, or you don't have permission to run its checks."),
                can_collect,
                ..DiagnosticsView::default()
            };
        }
        Diagnosis::Done { checks, is_local } => (checks, *is_local),
    };
    let of = |verdict: Verdict| checks.iter().filter(move |check| check.result == verdict).map(row);
    let findings: Vec<CheckRow> = of(Verdict::Failed).chain(of(Verdict::Warning)).collect();
    let (icon, title) = match findings.len() {
        0 => ("firezone-connected-symbolic", gettext("No problems found")),
        count => {
            let shown = u32::try_from(count).unwrap_or(u32::MAX);
            let title = ngettext("{count} problem found", "{count} problems found", shown);
            ("firezone-problem-symbolic", title.replace("{count}", &count.to_string()))
        }
    };
    DiagnosticsView {
        icon,
        title,
        text: match is_local {
            true => gettext("The service is not running. Only checks that need no privileges were run."),
            false => gettext("The service has checked this computer."),
        },
        is_running: false,
        can_collect: can_collect && !is_local,
        findings,
        passed: of(Verdict::Ok).collect(),
        skipped: checks
            .iter()
            .filter(|it| matches!(it.result, Verdict::Skipped | Verdict::Other(_)))
            .map(row)
            .collect(),
    }
}

fn row(check: &Check) -> CheckRow {
    let (icon, class, word) = match check.result {
        Verdict::Ok => ("firezone-online-symbolic", "state-connected", gettext("Passed")),
        Verdict::Warning => ("firezone-problem-symbolic", "state-warning", gettext("Warning")),
        Verdict::Failed => ("firezone-offline-symbolic", "state-offline", gettext("Failed")),
        Verdict::Skipped | Verdict::Other(_) => ("firezone-unknown-symbolic", "dim-label", gettext("Skipped")),
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

/// The translation of a check's text, if there is one. An empty text stays empty: gettext would return the catalogue's
/// header.
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
    fn most_severe_results_come_first_with_their_remedy() {
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
    fn each_result_has_its_own_icon_and_word() {
        let rows = [Verdict::Ok, Verdict::Warning, Verdict::Failed, Verdict::Skipped].map(|it| row(&check("x", it)));
        for (index, row) in rows.iter().enumerate() {
            assert!(rows.iter().skip(index + 1).all(|it| it.icon != row.icon && it.subtitle != row.subtitle));
        }
    }

    #[test]
    fn without_the_service_local_results_are_labelled_as_such() {
        let mut model = model(vec![check("a", Verdict::Failed)], true);
        model.daemon = Daemon::NotRunning;
        let view = view(&model);
        assert_eq!((view.findings.len(), view.can_collect), (1, false));
        assert!(view.text.contains("not running"));
    }
}

//! Generates firezoned.conf(5) from the settings, so that both agree.

use std::{fmt::Write as _, path::Path};

use super::setting::{Change, SETTINGS, Setting};

const HEAD: &str = r#".\" Written from crates/settings/src/setting.rs: FIREZONE_WRITE_MANUAL=1 cargo test --package settings manual
.TH FIREZONED.CONF 5 "" "Firezone for Linux" "File Formats"
.SH NAME
firezoned.conf \- settings of the Firezone daemon
.SH SYNOPSIS
.I /etc/dev.firezone.client/firezoned.toml
.br
.I /etc/dev.firezone.client/firezoned.toml.d/*.toml
.SH DESCRIPTION
What
.BR firezoned (8)
is told by files, in TOML: one line
.IR "key = value" ,
with texts in quotation marks, for each setting.
.PP
An argument wins over a variable of the environment, a variable over the files in the directory, of these the one that comes
last by its name over the others, all of these over the file, the file over what was changed on the bus
(kept in
.IR /var/lib/dev.firezone.client/settings.toml ),
and that over what the client was told that was here before
.RI ( config/advanced_settings.json
beside it: the portal's addresses and the log filter).
Values that an administrator has set, that is, anywhere but on the bus, are locked: they cannot be changed on the bus.
.PP
An empty text is as if nothing had been said up to there; an empty variable is one that is not set.
The files must belong to root, and only root may have write access.
A mistake in any of them keeps the daemon from starting, and is reported with file, line and key;
.B firezoned \-\-check
only looks for mistakes.
.SH SETTINGS
"#;

const TAIL: &str = r#".SH EXAMPLE
.\" run as the configuration
.EX
# /etc/dev.firezone.client/firezoned.toml
name = "build-7"
internet-resource = false
log-filter = "info,portal=debug"
.EE
.SH SEE ALSO
.BR firezoned (8),
.BR firezonectl (1)
"#;

fn manual() -> String {
    SETTINGS.iter().fold(HEAD.to_owned(), |page, setting| page + &entry(setting)) + TAIL
}

fn entry(setting: &Setting) -> String {
    let mut entry = format!(".TP\n.B {}\n{}\n", escaped(setting.key), escaped(setting.doc).replace(". ", ".\n"));
    let _ = writeln!(entry, ".IP");
    let _ = writeln!(entry, "Argument\n.BR {} ,\nvariable\n.BR {} .", escaped(setting.flag), setting.variable);
    if !setting.default.is_empty() {
        let _ = writeln!(entry, "By default\n.BR {} .", escaped(setting.default));
    }
    let change = match setting.change {
        Change::Never => "Cannot be changed on the bus.",
        Change::NextStart => "Changed on the bus, it counts from the next start on.",
        Change::AtOnce => "Changed on the bus, it counts at once.",
    };
    let _ = writeln!(entry, "{change}");
    entry
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('-', "\\-")
}

fn page(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../man").join(name)
}

#[test]
fn manual_page_matches_the_settings() {
    let path = page("firezoned.conf.5");
    if std::env::var_os("FIREZONE_WRITE_MANUAL").is_some() {
        std::fs::write(&path, manual()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), manual(), "write it anew, as its first line tells");
}

#[test]
fn help_and_manual_list_every_argument() {
    use clap::CommandFactory as _;
    let daemon = std::fs::read_to_string(page("firezoned.8")).unwrap();
    for setting in &SETTINGS {
        assert!(daemon.contains(&escaped(setting.flag)), "firezoned(8) lacks {}", setting.flag);
        let flag = setting.flag.trim_start_matches('-');
        let argument = crate::args::Args::command();
        let argument = argument.get_arguments().find(|it| it.get_long() == Some(flag)).cloned();
        let help = argument.unwrap_or_else(|| panic!("no {flag}")).get_help().unwrap().to_string();
        assert!(help.contains(setting.variable), "--help of {flag} lacks {}", setting.variable);
    }
}

//! Translations of the desktop app, its desktop entry and its metainfo.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    process::Command,
};

use anyhow::Context as _;

/// The languages that are complete.
const LANGUAGES: [&str; 2] = ["de", "zh_CN"];

fn app() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../firezone-gtk"))
}

/// Runs a command to its end. Its output is part of the error.
fn check(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(arguments).current_dir(app()).output();
    let output = output.with_context(|| format!("cannot run {program}; `make tools` installs it"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    anyhow::ensure!(output.status.success(), "{program}: {text}{}", String::from_utf8_lossy(&output.stderr));
    Ok(text)
}

/// Placeholders in braces.
fn places(text: &str) -> BTreeSet<&str> {
    text.split('{').skip(1).filter_map(|it| it.split_once('}').map(|(name, _)| name)).collect()
}

#[test]
#[ignore = "needs gettext: make integration"]
fn every_message_of_the_app_is_in_the_template() -> anyhow::Result<()> {
    check("../scripts/update-translations", &["--check"])
        .context("write it anew: scripts/update-translations")
        .map(drop)
}

#[test]
#[ignore = "needs gettext: make integration"]
fn every_language_is_complete_and_keeps_placeholders() -> anyhow::Result<()> {
    let texts = check("msgcat", &["--no-wrap", "po/firezone-gtk.pot"])?.matches("\nmsgid ").count();
    for language in LANGUAGES {
        let file = format!("po/{language}.po");
        check(
            "msgfmt",
            &["--check-format", "--check-domain", "--check-accelerators=_", "--output-file=/dev/null", &file],
        )?;
        let finished = check("msgattrib", &["--translated", "--no-fuzzy", "--no-obsolete", "--no-wrap", &file])?;
        let mut pairs: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut text = String::new();
        for line in finished.lines() {
            match line.split_once(" \"") {
                Some(("msgid", said)) => said.clone_into(&mut text),
                Some((word, said)) if word.starts_with("msgstr") => {
                    pairs.entry(text.clone()).or_default().push(said.to_owned());
                }
                _ => {}
            }
        }
        assert_eq!(finished.matches("\nmsgid ").count(), texts, "{language} is not complete");
        for (text, translations) in pairs.iter().filter(|(text, _)| text.len() > 1) {
            for translation in translations {
                assert_eq!(places(text), places(translation), "{language}: {text}");
            }
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs desktop-file-utils and appstream: make integration"]
fn desktop_entry_and_metainfo_are_valid() -> anyhow::Result<()> {
    check("desktop-file-validate", &["data/dev.firezone.Gtk.desktop"])?;
    check("appstreamcli", &["validate", "--no-net", "data/dev.firezone.Gtk.metainfo.xml"])?;
    check("glib-compile-schemas", &["--strict", "--dry-run", "data"])?;
    let entry = std::fs::read_to_string(app().join("data/dev.firezone.Gtk.desktop"))?;
    let about = std::fs::read_to_string(app().join("data/dev.firezone.Gtk.metainfo.xml"))?;
    for language in LANGUAGES {
        assert!(entry.contains(&format!("\nComment[{language}]=")), "{language}");
        assert!(about.contains(&format!("<summary xml:lang=\"{language}\">")), "{language}");
        assert!(about.contains(&format!("<p xml:lang=\"{language}\">")), "{language}");
    }
    Ok(())
}

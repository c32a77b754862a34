//! Documents for maintainers name files; each of these files exists.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

/// The documents that name files of the workspace.
const DOCUMENTS: [&str; 5] =
    ["ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "docs/adr/README.md", "docs/glossary.md"];

/// The directories at the top of the workspace in which named files are looked for.
const TOP: [&str; 9] =
    ["crates", "docs", "firezoned", "firezonectl", "firezone-gtk", "integration-tests", "man", "polkit", "systemd"];

#[test]
fn every_file_that_a_document_names_exists() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace")?;
    let names = source_file_names(root)?;
    let mut missing = Vec::new();
    for document in DOCUMENTS {
        let text = fs::read_to_string(root.join(document)).with_context(|| format!("read {document}"))?;
        for word in code_words(&text).filter(|word| !exists(word, root, &names)) {
            missing.push(format!("{document}: {word}"));
        }
    }
    assert!(missing.is_empty(), "these files do not exist:\n{}", missing.join("\n"));
    Ok(())
}

/// The words between backticks, outside of code blocks.
fn code_words(text: &str) -> impl Iterator<Item = &str> {
    let prose = text.split("```").step_by(2);
    prose.flat_map(|part| part.split('`').skip(1).step_by(2)).flat_map(str::split_whitespace)
}

/// Whether a word is no file of the workspace, or one that exists. A source file without a directory may be anywhere.
fn exists(word: &str, root: &Path, names: &BTreeSet<String>) -> bool {
    let is_below_top = TOP.iter().any(|top| word.strip_prefix(top).is_some_and(|rest| rest.starts_with('/')));
    if is_below_top && !word.contains(['*', '{', '…', '<']) {
        return root.join(word.split(':').next().unwrap_or(word)).exists();
    }
    !word.ends_with(".rs") || names.iter().any(|name| name == word || name.ends_with(&format!("/{word}")))
}

/// The source files of the workspace, relative to its root.
fn source_file_names(root: &Path) -> anyhow::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    let mut directories: Vec<PathBuf> = TOP.iter().map(|top| root.join(top)).collect();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).with_context(|| format!("read {}", directory.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                names.insert(path.strip_prefix(root)?.to_string_lossy().into_owned());
            }
        }
    }
    Ok(names)
}

#[test]
fn words_are_found_and_judged() {
    let words: Vec<&str> = code_words("a `crates/x.rs` b\n```\n`not this`\n```\n`y.rs` and `cargo test`").collect();
    assert_eq!(words, ["crates/x.rs", "y.rs", "cargo", "test"]);
    let names = BTreeSet::from(["crates/a/src/y.rs".to_owned()]);
    let judge = |word| exists(word, Path::new("/nowhere"), &names);
    assert_eq!(["crates/x.rs", "y.rs", "a/src/y.rs", "z.rs", "cargo"].map(judge), [false, true, true, false, true]);
}

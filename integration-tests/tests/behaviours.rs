//! Checks the tables in `docs/behaviours`: each row names tests, and each of them exists.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

/// Directories with tests, below the root of the workspace.
const COMPONENTS: [&str; 5] = ["crates", "firezoned", "firezonectl", "firezone-gtk", "integration-tests"];

/// Replaces the name of a test; the reason follows.
const NO_TEST: &str = "none:";

/// Attributes of test functions.
const ATTRIBUTES: [&str; 3] = ["#[test]", "#[tokio::test", "#[test_case("];

/// A row of a table: its location and its last column.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Row {
    line: usize,
    behaviour: String,
    tests: String,
}

#[test]
fn every_documented_behaviour_names_existing_tests() -> anyhow::Result<()> {
    let tests = all_tests()?;
    let mut wrong = Vec::new();
    for (file, text) in tables()? {
        let rows = rows(&text);
        if rows.is_empty() {
            wrong.push(format!("{file}: there is no table"));
        }
        for row in rows {
            wrong.extend(judge(&row, &tests).into_iter().map(|what| format!("{file}:{}: {what}", row.line)));
        }
    }
    assert!(wrong.is_empty(), "{} rows are wrong:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

/// The errors of a row.
fn judge(row: &Row, tests: &BTreeSet<String>) -> Vec<String> {
    if let Some(reason) = row.tests.strip_prefix(NO_TEST) {
        return if reason.trim().is_empty() { vec!["the reason is missing".to_owned()] } else { Vec::new() };
    }
    let named: Vec<&str> = row.tests.split('`').skip(1).step_by(2).collect();
    if named.is_empty() {
        return vec![format!("{:?} names no test", row.behaviour)];
    }
    named.into_iter().filter(|name| !tests.contains(*name)).map(|name| format!("no test is called {name}")).collect()
}

/// All rows of all tables of a text, without their heads.
fn rows(text: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut is_below_head = false;
    for (index, line) in text.lines().enumerate() {
        let Some(inner) = line.trim().strip_prefix('|').and_then(|line| line.strip_suffix('|')) else {
            is_below_head = false;
            continue;
        };
        if inner.chars().all(|c| matches!(c, '-' | ':' | '|' | ' ')) {
            is_below_head = true;
        } else if is_below_head {
            // A bar inside a cell is written `\|`.
            let inner = inner.replace("\\|", "\u{0}");
            let cells: Vec<&str> = inner.split('|').map(str::trim).collect();
            rows.push(Row {
                line: index + 1,
                behaviour: cells.first().unwrap_or(&"").replace('\u{0}', "|"),
                tests: (*cells.last().unwrap_or(&"")).to_owned(),
            });
        }
    }
    rows
}

/// The tables, by file name.
fn tables() -> anyhow::Result<BTreeMap<String, String>> {
    let folder = root().join("docs/behaviours");
    let mut tables = BTreeMap::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.extension().is_some_and(|it| it == "md") && name != "README.md" {
            tables.insert(name, fs::read_to_string(&path)?);
        }
    }
    Ok(tables)
}

/// The names of all tests of the workspace.
fn all_tests() -> anyhow::Result<BTreeSet<String>> {
    let mut tests = BTreeSet::new();
    for room in COMPONENTS {
        let mut folders = vec![root().join(room)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|it| it == "rs") {
                    tests.extend(tests_of(&fs::read_to_string(&path)?));
                }
            }
        }
    }
    Ok(tests)
}

/// The functions below an attribute of tests, with only attributes and comments in between.
fn tests_of(source: &str) -> Vec<String> {
    let mut tests = Vec::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        if ATTRIBUTES.iter().any(|attribute| line.starts_with(attribute)) {
            is_test = true;
        }
        if line.starts_with('#') || line.starts_with("//") || line.is_empty() {
            continue;
        }
        let name = line.split_once("fn ").map(|(_, rest)| rest.split(['(', '<']).next().unwrap_or_default());
        if let Some(name) = name.filter(|_| is_test) {
            tests.push(name.to_owned());
        }
        is_test = false;
    }
    tests
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/")).to_owned()
}

#[test]
fn table_rows_are_parsed_and_checked() {
    let text = "# Title\n\n| When | Tests |\n|---|:--|\n| a \\| b | `it_works`, `gone` |\n| c | none: no reason to |\n\
                | d | none: |\n| e | soon |\n\n| no head |\n";
    let rows = rows(text);
    assert_eq!(rows.iter().map(|row| row.behaviour.as_str()).collect::<Vec<_>>(), ["a | b", "c", "d", "e"]);

    let source = "#[test]\n#[ignore = \"x\"]\nfn it_works() {}\n\n#[tokio::test(start_paused = true)]\nasync fn other() {}\n\
                  fn helper() {}\n";
    assert_eq!(tests_of(source), ["it_works", "other"]);
    let tests = tests_of(source).into_iter().collect();
    let wrong: Vec<usize> = rows.iter().map(|row| judge(row, &tests).len()).collect();
    assert_eq!(wrong, [1, 0, 1, 1]);
}

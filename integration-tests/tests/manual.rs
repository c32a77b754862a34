//! The manual pages: they format without warnings, and their examples work.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, bail, ensure};
use integration_tests::{
    account::CLIENT_TOKEN,
    process::{Finished, Running},
    stand::{Stand, with_stand},
};

/// Home directory for the examples.
const HOME: &str = "/run/anna";

/// An example of a page, and the directive of its page for running it.
struct Example {
    page: String,
    how: String,
    text: String,
}

fn pages() -> anyhow::Result<Vec<std::path::PathBuf>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../man");
    let mut pages = fs::read_dir(directory)?.map(|it| Ok(it?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    pages.sort();
    Ok(pages)
}

/// All examples of a page. The comment before each is its directive.
fn examples(path: &Path) -> anyhow::Result<Vec<Example>> {
    let page = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (mut examples, mut before, mut block) = (Vec::new(), "", None::<String>);
    let roff = fs::read_to_string(path)?;
    for line in roff.lines() {
        match (line, &mut block) {
            (".EX" | ".nf", _) => {
                let how = before.strip_prefix(".\\\" ");
                let how = how.with_context(|| format!("{page}: an example without a word on how to run it"))?;
                examples.push(Example { page: page.clone(), how: how.to_owned(), text: String::new() });
                block = Some(String::new());
            }
            (".EE" | ".fi", Some(text)) => {
                let example = examples.last_mut().context("a block has begun")?;
                example.text = text.replace("\\-", "-").replace("\\(aq", "'").replace("\\e", "\\");
                block = None;
            }
            (line, Some(text)) => {
                text.push_str(line);
                text.push('\n');
            }
            _ => before = line,
        }
    }
    Ok(examples)
}

fn shell(stand: &Stand, script: &str) -> anyhow::Result<Finished> {
    stand.client().program("sh -c").arg(format!("cd {HOME} && {script}")).env("HOME", HOME).as_user("anna").run()
}

/// A daemon on the system bus, and a user with a token file.
fn serve(stand: &mut Stand) -> anyhow::Result<Running> {
    stand.start_bus()?;
    let daemon = stand.start_on_bus(stand.daemon())?;
    let client = stand.client();
    client.program("install -d -o anna -m 0700").arg(HOME).check()?;
    client.write(&format!("{HOME}/token"), CLIENT_TOKEN)?;
    Ok(daemon)
}

/// Restores what other examples need.
fn is_connected(stand: &Stand) -> anyhow::Result<()> {
    if !stand.ctl("anna", "status --quiet").run()?.status.success() {
        stand.sign_in("anna")?;
    }
    Ok(())
}

fn run(stand: &Stand, Example { page, how, text }: &Example) -> anyhow::Result<()> {
    let client = stand.client();
    let done = match how.as_str() {
        "run" => shell(stand, text)?,
        "run as a program" | "run as a program < token" => {
            let path = format!("{HOME}/example");
            client.write(&path, text)?;
            client.program("chmod 0755").arg(&path).check()?;
            let input = if how.ends_with("token") { CLIENT_TOKEN } else { "" };
            client.program(&path).env("HOME", HOME).input(input).as_user("anna").run()?
        }
        "run as the configuration" => {
            let path =
                text.lines().next().and_then(|line| line.strip_prefix("# ")).context("it begins with its path")?;
            client.program("mkdir -p /etc/dev.firezone.client").check()?;
            client.write(path, text)?;
            let done = stand.headless().arg("--check").run()?;
            client.program("rm").arg(path).check()?;
            done
        }
        _ => bail!("{page}: unknown directive {how:?}"),
    };
    ensure!(done.status.success(), "{page}:\n{text}{}: {}", done.status, done.error_text());
    Ok(())
}

#[test]
#[ignore = "needs root: make integration"]
fn every_manual_page_example_works() -> anyhow::Result<()> {
    with_stand(|stand| {
        let _daemon = serve(stand)?;
        let mut count = 0;
        for example in pages()?.iter().map(|page| examples(page)).collect::<anyhow::Result<Vec<_>>>()?.iter().flatten()
        {
            if let Some(reason) = example.how.strip_prefix("not run: ") {
                ensure!(!reason.is_empty(), "{}: no reason", example.page);
                continue;
            }
            is_connected(stand)?;
            run(stand, example)?;
            count += 1;
        }
        ensure!(count >= 14, "only {count} examples were found");
        Ok(())
    })
}

/// Commands whose example fails here, with the exit status.
const EXPECTED_FAILURES: [(&str, i32); 2] = [
    // There is no keyring here. With one: `the_keyring_keeps_what_connect_needs_until_sign_out`.
    ("connect", 10),
    // It reports warnings about the network namespaces.
    ("doctor", 1),
];

#[test]
#[ignore = "needs root: make integration"]
fn every_help_example_works() -> anyhow::Result<()> {
    with_stand(|stand| {
        let _daemon = serve(stand)?;
        let client = stand.client();
        shell(stand, "mkdir -p ~/.local/share/bash-completion/completions")?;
        let help = client.program("firezonectl --help").check()?.text();
        let verbs = help.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
        let mut count = 0;
        for verb in verbs.filter(|verb| !verb.is_empty()) {
            let help = client.program(&format!("firezonectl {verb} --help")).check()?.text();
            let example = help.lines().find_map(|line| line.trim().strip_prefix("Example: "));
            let example = example.with_context(|| format!("the help of {verb} shows no example:\n{help}"))?;
            count += 1;
            if verb == "monitor" {
                // It goes on for ever. See `a_monitor_survives_a_restart_of_the_daemon`.
                continue;
            }
            is_connected(stand)?;
            let done = shell(stand, example)?;
            let otherwise = EXPECTED_FAILURES.iter().find(|it| it.0 == verb).map(|it| it.1);
            let is_fine = done.status.success() || (otherwise.is_some() && done.status.code() == otherwise);
            ensure!(is_fine, "{example}: {}: {}", done.status, done.error_text());
        }
        ensure!(count >= 17, "only {count} verbs were found");
        Ok(())
    })
}

#[test]
#[ignore = "needs man: make integration"]
fn every_manual_page_formats_without_warnings() -> anyhow::Result<()> {
    // Minimal images of Ubuntu replace it by another program.
    let man = ["/usr/bin/man.REAL", "/usr/bin/man"].into_iter().find(|it| Path::new(it).exists()).context("no man")?;
    for page in pages()? {
        let set = Command::new(man)
            .args(["--warnings", "--encoding=UTF-8", "--local-file"])
            .arg(&page)
            .env("LC_ALL", "C.UTF-8")
            .env("MANWIDTH", "80")
            .env("MANROFFSEQ", "")
            .output()?;
        let error_text = String::from_utf8_lossy(&set.stderr);
        ensure!(set.status.success() && error_text.is_empty(), "{}: {error_text}", page.display());
        ensure!(set.stdout.len() > 500, "{} is not set", page.display());
    }
    Ok(())
}

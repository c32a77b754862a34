//! What shells complete.

use dbus_api::Status;

use crate::{
    connected,
    program::{Machine, Talk},
};

/// Completes like a person who presses the tabulator after these words.
const BASH: &str = r#"
set -u
source <(firezonectl completions bash)
complete -p firezonectl > /dev/null
COMP_WORDS=(firezonectl "$@")
COMP_CWORD=$#
COMP_TYPE=9
# Readline leaves the mark out that a word begins with.
_firezonectl firezonectl "${COMP_WORDS[COMP_CWORD]#[\"\']}" "${COMP_WORDS[COMP_CWORD-1]}"
if [ ${#COMPREPLY[@]} -gt 0 ]; then printf '%s\n' "${COMPREPLY[@]}"; fi
"#;

/// A shell of a person, in which one key shows what is typed so far. The script is sourced, or lies where packages put it.
const ZSHRC: &str = r#"
PS1='ready: '
fpath=(~ $fpath)
autoload -Uz compinit
compinit -u -D
[[ -e ~/_firezonectl ]] || source <(firezonectl completions zsh)
show() { print -r -- "<$BUFFER>"; BUFFER= }
zle -N show
bindkey '^O' show
"#;

/// Completes what is typed on one line: the candidates, one a line.
const FISH: &str = "firezonectl completions fish | source; complete --do-complete -- $argv[1]";

async fn completed(machine: &Machine, words: &[&str]) -> String {
    let mut bash = machine.program("bash");
    bash.args(["-c", BASH, "bash"]).args(words);
    let done = bash.output().await.unwrap();
    assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
    String::from_utf8(done.stdout).unwrap()
}

#[tokio::test]
#[ignore = "needs dbus-daemon: make integration"]
async fn bash_completes_commands_options_and_names_of_now() {
    let (machine, daemon) = Machine::new(connected()).await;
    assert_eq!(completed(&machine, &["sign"]).await, "sign-in\nsign-out\n");
    assert_eq!(completed(&machine, &["sign-in", "--tok"]).await, "--token-stdin\n");
    assert_eq!(completed(&machine, &["path", "Wi"]).await, "Wiki\n");
    // What a shell would take for several words, or for a pattern.
    machine.mind.0.lock().unwrap().resources[1].name = "Intranet * 2".to_owned();
    assert_eq!(completed(&machine, &["resource", "Intr"]).await, "Intranet\\ \\*\\ 2\n");
    assert_eq!(completed(&machine, &["resource", "Intranet\\ \\*"]).await, "Intranet\\ \\*\\ 2\n");
    assert_eq!(completed(&machine, &["resource", "\"Intr"]).await, "Intranet * 2\n");
    // Without a daemon there are no names, and no complaints.
    daemon.close().await.unwrap();
    assert_eq!(completed(&machine, &["path", "Wi"]).await, "");
}

#[tokio::test]
#[ignore = "needs dbus-daemon and zsh: make integration"]
async fn zsh_completes_commands_options_and_names_of_now() {
    let (machine, daemon) = Machine::new(connected()).await;
    machine.mind.0.lock().unwrap().resources[1].name = "Intranet * 2: staff".to_owned();
    std::fs::write(machine.home.path().join(".zshrc"), ZSHRC).unwrap();
    let begin = async || {
        let mut zsh = Talk::begin(machine.any_at_terminal("zsh --no-global-rcs --interactive"));
        zsh.until("ready: ").await;
        zsh
    };
    let mut zsh = begin().await;
    for (typed, completed) in [
        ("firezonectl disc", "firezonectl disconnect "),
        ("firezonectl sign-in --tok", "firezonectl sign-in --token-stdin "),
        ("firezonectl path Intr", "firezonectl path Intranet\\ \\*\\ 2:\\ staff "),
        ("firezonectl path Intranet\\ \\*", "firezonectl path Intranet\\ \\*\\ 2:\\ staff "),
        ("firezonectl resource \"Intr", "firezonectl resource \"Intranet * 2: staff\" "),
    ] {
        zsh.say(&format!("{typed}\t\x0f")).await;
        zsh.until(&format!("<{completed}>")).await;
    }
    let script = machine.ctl("completions zsh").output().await.unwrap().stdout;
    std::fs::write(machine.home.path().join("_firezonectl"), script).unwrap();
    let mut zsh = begin().await;
    zsh.say("firezonectl path Intr\t\x0f").await;
    zsh.until("<firezonectl path Intranet\\ \\*\\ 2:\\ staff >").await;
    // Without a daemon there are no names, and no complaints.
    daemon.close().await.unwrap();
    zsh.say("firezonectl path Int\t\x0f").await;
    zsh.until("<firezonectl path Int>").await;
}

#[tokio::test]
#[ignore = "needs dbus-daemon and fish: make integration"]
async fn fish_completes_commands_options_and_names_of_now() {
    let (machine, daemon) = Machine::new(connected()).await;
    machine.mind.0.lock().unwrap().resources[1].name = "Intranet * 2: staff".to_owned();
    let completed = async |line: &str| {
        let done = machine.program("fish").args(["--no-config", "--command", FISH, line]).output().await.unwrap();
        assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
        // A tabulator is between a candidate and what it means.
        let text = String::from_utf8(done.stdout).unwrap();
        text.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(completed("firezonectl sign").await, ["sign-in", "sign-out"]);
    assert_eq!(completed("firezonectl sign-in --tok").await, ["--token-stdin"]);
    assert_eq!(completed("firezonectl path Intr").await, ["Intranet * 2: staff"]);
    assert_eq!(completed("firezonectl path Intranet\\ ").await, ["Intranet * 2: staff"]);
    assert_eq!(completed("firezonectl path \"Intranet ").await, ["Intranet * 2: staff"]);
    daemon.close().await.unwrap();
    assert_eq!(completed("firezonectl path Intr").await, [""; 0]);
}

#[tokio::test]
#[ignore = "needs dbus-daemon: make integration"]
async fn every_script_pleases_its_shell() {
    let (machine, _daemon) = Machine::new(Status::default()).await;
    for (shell, check) in [("bash", &["bash", "-n"][..]), ("zsh", &["zsh", "-n"]), ("fish", &["fish", "--no-execute"])]
    {
        let script = machine.ctl(&format!("completions {shell}")).output().await.unwrap().stdout;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), script).unwrap();
        let mut checks = vec![check.to_vec()];
        if shell == "bash" {
            checks.push(vec!["shellcheck", "--shell=bash", "--color=never"]);
        }
        for check in checks {
            let done = machine.program(check[0]).args(&check[1..]).arg(file.path()).output().await;
            let done = done.unwrap_or_else(|error| panic!("{check:?}: {error}"));
            assert!(done.status.success() && done.stderr.is_empty(), "{check:?}: {done:?}");
        }
    }
}

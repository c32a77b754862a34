//! What shells complete.

use dbus_api::Status;

use crate::{connected, program::Machine};

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
            let outcome = machine.program(check[0]).args(&check[1..]).arg(file.path()).output().await;
            match outcome {
                Ok(done) => assert!(done.status.success(), "{check:?}: {}", String::from_utf8_lossy(&done.stdout)),
                // Not everybody has every shell; bash and shellcheck are among the tools of the tests.
                Err(_) => assert!(["zsh", "fish"].contains(&shell), "{check:?} is missing"),
            }
        }
    }
}

//! A demonstration in network namespaces that ends without a trace: `make demo`.

#![allow(clippy::print_stdout, reason = "this program is there to be read")]

use std::{io::IsTerminal as _, process::ExitCode, time::Instant};

use anyhow::Context as _;
use integration_tests::{
    account::{ACCOUNT, CLIENT_TOKEN, PRIVATE_NAME},
    netns::end_all_labs,
    process::Finished,
    stand::Stand,
    topology::Traffic,
    web,
};
use tokio::signal::unix::{SignalKind, signal};

/// Size of the download.
const MEBIBYTES: usize = 8;
/// Exit status after Ctrl-C.
const INTERRUPTED: u8 = 130;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    let (done, outcome) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || done.send(demonstrate()));

    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        outcome = outcome => {
            outcome.context("the demonstration has stumbled")??;
            Ok(ExitCode::SUCCESS)
        }
        _ = interrupt.recv() => Ok(interrupted()),
        _ = terminate.recv() => Ok(interrupted()),
    }
}

fn interrupted() -> ExitCode {
    end_all_labs();
    println!("\nInterrupted. Nothing is left behind.");
    ExitCode::from(INTERRUPTED)
}

fn demonstrate() -> anyhow::Result<()> {
    let (begin, mut show) = (Instant::now(), Show::default());
    println!("{}", show.strong("Firezone for Linux"));
    println!("All that you see is real, and happens in network namespaces that end with it.");

    show.step("A small internet: client, gateway, relay (coturn), portal, resolver, and a private server.");
    let mut stand = Stand::start()?;
    show.step("On the client, a system bus with polkit, and the daemon.");
    stand.start_bus()?;
    let daemon = stand.start_on_bus(stand.daemon())?;
    let resolv_conf = stand.client().read("/etc/resolv.conf")?;
    show.command("firezoned &");

    show.step("The server is private. Its name does not exist on the internet:");
    let page = format!("http://{PRIVATE_NAME}/");
    show.command(&format!("curl {page}"));
    show.refusal(&stand.fetch(&page).run()?)?;

    show.step("Anna is in the group \"firezone\", so she may sign this machine in. Her token goes through a pipe:");
    let sign_in = format!("sign-in --token-stdin --account-slug {ACCOUNT} --wait");
    show.command(&format!("firezonectl {sign_in} < token"));
    show.output(&stand.ctl("anna", &sign_in).input(CLIENT_TOKEN).check()?);

    show.step("Now there is a tunnel, and there are things to reach:");
    show.command("firezonectl resources");
    show.output(&stand.ctl("anna", "resources").check()?);

    show.step("The same name, the same command. The first packet finds the way, end-to-end encrypted:");
    show.command(&format!("curl {page}"));
    show.output(&stand.fetch(&page).check()?);

    show.step("Something larger, by name, and then each byte is checked:");
    let file = format!("http://{PRIVATE_NAME}/bytes/{MEBIBYTES}");
    show.command(&format!("curl {file} | sha256sum"));
    let download = Instant::now();
    let body = stand.fetch(&file).check()?.stdout;
    let seconds = download.elapsed().as_secs_f64();
    anyhow::ensure!(web::sha256(&body) == web::checksum(MEBIBYTES), "what arrived is not what was sent");
    show.line(&format!("{}  -", web::sha256(&body)));
    let direct = stand.net.bytes(Traffic::Direct)? >> 20;
    show.line(&format!(
        "({MEBIBYTES} MiB in {seconds:.1} s; the router saw {direct} MiB of encrypted UDP between client and gateway)"
    ));

    show.step("How are things?");
    show.command("firezonectl status");
    show.output(&stand.ctl("anna", "status").check()?);

    show.step("Bob is a user of this machine too, but not in the group:");
    show.command("firezonectl sign-out");
    show.refusal(&stand.ctl("bob", "sign-out").run()?)?;

    show.step("Anna signs out. The name is gone, and the machine is as it was:");
    show.command("firezonectl sign-out --wait");
    show.output(&stand.ctl("anna", "sign-out --wait").check()?);
    show.command(&format!("curl {page}"));
    show.refusal(&stand.fetch(&page).run()?)?;
    anyhow::ensure!(stand.host_state()?.is_empty(), "addresses, routes or rules were left behind");
    anyhow::ensure!(stand.client().read("/etc/resolv.conf")? == resolv_conf, "resolv.conf is not as it was");
    daemon.stop()?;

    drop(stand);
    println!();
    println!("That was the main job, in {:.0} seconds. Nothing is left behind.", begin.elapsed().as_secs_f64());
    println!("Next: `make help`, README.md, ARCHITECTURE.md.");
    Ok(())
}

/// Prints numbered steps, indented commands and their output.
struct Show {
    step: usize,
    colours: bool,
}

impl Default for Show {
    fn default() -> Self {
        Self { step: 0, colours: std::io::stdout().is_terminal() }
    }
}

impl Show {
    fn step(&mut self, text: &str) {
        self.step += 1;
        println!("\n{} {text}", self.strong(&format!("{:2}.", self.step)));
    }

    fn command(&self, text: &str) {
        println!("    {}", self.strong(&format!("$ {text}")));
    }

    fn output(&self, finished: &Finished) {
        finished.text().lines().for_each(|line| self.line(line));
    }

    /// Prints the error of a command that is expected to fail.
    fn refusal(&self, finished: &Finished) -> anyhow::Result<()> {
        anyhow::ensure!(!finished.status.success(), "{} should have been refused", finished.command);
        finished.stderr.lines().for_each(|line| self.line(line));
        Ok(())
    }

    #[allow(clippy::unused_self, reason = "reads like the others")]
    fn line(&self, line: &str) {
        println!("    {line}");
    }

    fn strong(&self, text: &str) -> String {
        if self.colours { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
    }
}

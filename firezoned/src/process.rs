//! What the process is, before it is a daemon.

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Nobody may look into our memory: neither a core dump nor another process of the same user.
pub fn keep_secrets() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok(())
}

/// One thread for the daemon; the packets have their own.
pub fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rustix::process::{dumpable_behavior, getrlimit};

    use super::*;

    #[test]
    #[ignore = "is run by the test below in a process of its own"]
    fn kept() {
        keep_secrets().unwrap();
        let limit = getrlimit(Resource::Core);
        println!("dumpable={:?} core={:?}/{:?}", dumpable_behavior().unwrap(), limit.current, limit.maximum);
    }

    #[test]
    fn nobody_can_look_into_the_process_and_no_core_is_written() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "process::tests::kept", "--nocapture", "--test-threads=1", "--ignored"])
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&output.stdout);
        assert!(output.contains("dumpable=NotDumpable core=Some(0)/Some(0)"), "{output}");
    }
}

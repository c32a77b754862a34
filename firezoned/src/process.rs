//! Attributes of the process.

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Protects the memory from core dumps and from other processes of the same user.
///
/// # Errors
/// The kernel refuses.
pub fn disable_core_dumps() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok(())
}

/// A runtime with one thread. The data plane has a thread of its own.
///
/// # Errors
/// The runtime cannot be created.
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
    fn print_attributes() {
        disable_core_dumps().unwrap();
        let limit = getrlimit(Resource::Core);
        println!("dumpable={:?} core={:?}/{:?}", dumpable_behavior().unwrap(), limit.current, limit.maximum);
    }

    #[test]
    fn process_is_not_dumpable_and_writes_no_core() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "process::tests::print_attributes", "--nocapture", "--test-threads=1", "--ignored"])
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&output.stdout);
        assert!(output.contains("dumpable=NotDumpable core=Some(0)/Some(0)"), "{output}");
    }
}

//! What was typed. A token is never among it.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// The Firezone daemon: tunnels, routes and names of this machine.
///
/// Everything that can be typed can also be said in the environment; what is typed wins.
#[derive(Parser, Clone, Debug, Default)]
#[command(name = "firezoned", version, about, max_term_width = 100)]
pub struct Args {
    /// Do not serve the bus: run with the token of this machine, or fail if there is none
    #[arg(long, global = true)]
    pub no_ipc: bool,

    /// Read the configuration, look for a token, report what is wrong, and end
    #[arg(long, global = true, conflicts_with = "cleanup")]
    pub check: bool,

    /// Remove what a daemon that was killed has left on this machine, and end
    #[arg(long, global = true)]
    pub cleanup: bool,

    /// Where this machine's token is [environment: FIREZONE_TOKEN_PATH]
    #[arg(long, global = true, value_name = "FILE")]
    pub token_path: Option<PathBuf>,

    /// How this machine learns names: auto, etc-resolv-conf, disabled [environment: FIREZONE_DNS_CONTROL]
    #[arg(long, global = true, value_name = "METHOD")]
    pub dns_control: Option<String>,

    /// Where the portal is [environment: FIREZONE_API_URL]
    #[arg(short = 'u', long, global = true, value_name = "URL", hide = true)]
    pub api_url: Option<String>,

    /// What this device is called [environment: FIREZONE_NAME]
    #[arg(long, global = true, value_name = "NAME")]
    pub firezone_name: Option<String>,

    /// What identifies this device [environment: FIREZONE_ID]
    #[arg(short = 'i', long, global = true, value_name = "ID")]
    pub firezone_id: Option<String>,

    /// Switch the Internet resource on [environment: FIREZONE_ACTIVATE_INTERNET_RESOURCE]
    #[arg(long, global = true)]
    pub activate_internet_resource: bool,

    /// Accepted for compatibility: nothing is ever reported [environment: FIREZONE_NO_TELEMETRY]
    #[arg(long, global = true)]
    pub no_telemetry: bool,

    #[command(subcommand)]
    pub command: Option<Compatible>,
}

/// What unit files written for other clients say.
#[derive(Subcommand, Clone, Copy, Debug)]
pub enum Compatible {
    /// The same as nothing
    #[command(hide = true)]
    Standalone,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        use clap::CommandFactory as _;
        Args::command().debug_assert();
    }

    #[test]
    fn old_unit_files_keep_working() {
        let args = Args::try_parse_from(["firezoned", "standalone", "--no-ipc"]).unwrap();
        assert!(args.no_ipc);
    }

    #[test]
    fn a_token_cannot_be_typed() {
        for typed in [["firezoned", "--token=x"], ["firezoned", "x"]] {
            assert_eq!(Args::try_parse_from(typed).unwrap_err().exit_code(), 2);
        }
    }
}

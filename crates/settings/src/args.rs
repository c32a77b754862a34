//! The command line. It never contains a token.

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

    /// Read the configuration, look for a token and the device's id, report what is wrong, and end
    #[arg(long, global = true, conflicts_with = "cleanup")]
    pub check: bool,

    /// Remove what a daemon that was killed has left on this machine, and end
    #[arg(long, global = true)]
    pub cleanup: bool,

    /// End after the tunnel has been configured once
    #[arg(long, global = true, hide = true)]
    pub exit: bool,

    /// Where this machine's token is [environment: FIREZONE_TOKEN_PATH]
    #[arg(long, global = true, value_name = "FILE")]
    pub token_path: Option<PathBuf>,

    /// How this machine learns names: auto, systemd-resolved, etc-resolv-conf, disabled [environment: FIREZONE_DNS_CONTROL]
    #[arg(long, global = true, value_name = "METHOD")]
    pub dns_control: Option<String>,

    /// Where the portal is [environment: FIREZONE_API_URL]
    #[arg(short = 'u', long, global = true, value_name = "URL", hide = true)]
    pub api_url: Option<String>,

    /// Where people sign in with their browser [environment: FIREZONE_AUTH_BASE_URL]
    #[arg(long, global = true, value_name = "URL", hide = true)]
    pub auth_base_url: Option<String>,

    /// The account at which people sign in [environment: FIREZONE_ACCOUNT_SLUG]
    #[arg(long, global = true, value_name = "ACCOUNT", hide = true)]
    pub account_slug: Option<String>,

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

    /// What is logged, as info,tunnel=debug [environment: RUST_LOG]
    #[arg(long, global = true, value_name = "FILTER")]
    pub log_filter: Option<String>,

    /// How long the tunnel outlives the portal, as 1h [environment: MAX_PARTITION_TIME]
    #[arg(short, long, global = true, value_name = "TIME")]
    pub max_partition_time: Option<String>,

    #[command(flatten)]
    pub simulation: Simulation,

    #[command(flatten)]
    pub ignored: Ignored,

    #[command(subcommand)]
    pub command: Option<Compatible>,
}

/// For work on front ends, without a portal and without root.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Simulation {
    /// Serve a bus of yours with a made-up session that touches nothing; not for root
    #[arg(long, conflicts_with_all = ["no_ipc", "check", "cleanup", "exit"], hide_short_help = true)]
    pub sim: bool,

    /// The bus to serve, instead of the one of your desktop
    #[arg(long, requires = "sim", value_name = "ADDRESS", hide_short_help = true)]
    pub sim_bus: Option<String>,

    /// How many resources there are
    #[arg(long, requires = "sim", value_name = "NUMBER", default_value_t = 12, hide_short_help = true)]
    pub sim_resources: u16,

    /// Nothing happens unasked: no outages, no other paths
    #[arg(long, requires = "sim", hide_short_help = true)]
    pub sim_calm: bool,
}

/// Arguments in unit files of the official client that have no effect here: logs go to the journal, nothing is measured or
/// reported, and buffers are as large as the kernel allows.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Ignored {
    #[arg(short, long, global = true, hide = true)]
    log_dir: Option<PathBuf>,
    #[arg(long, global = true, hide = true)]
    metrics: Option<String>,
    #[arg(long, global = true, hide = true)]
    otlp_grpc_endpoint: Option<String>,
    #[arg(long, global = true, hide = true)]
    inc_buf: bool,
    #[arg(long, global = true, hide = true)]
    flow_logs: bool,
}

impl Args {
    /// The argument for the setting with this key.
    #[must_use]
    pub fn setting(&self, key: &str) -> Option<String> {
        match key {
            "api-url" => self.api_url.clone(),
            "auth-url" => self.auth_base_url.clone(),
            "account-slug" => self.account_slug.clone(),
            "token-path" => self.token_path.as_ref().map(|path| path.display().to_string()),
            "id" => self.firezone_id.clone(),
            "name" => self.firezone_name.clone(),
            "dns-control" => self.dns_control.clone(),
            "internet-resource" => self.activate_internet_resource.then(|| "true".to_owned()),
            "log-filter" => self.log_filter.clone(),
            "max-partition-time" => self.max_partition_time.clone(),
            _ => None,
        }
    }

    /// The flags that were given and have no effect.
    #[must_use]
    pub fn ignored(&self) -> Vec<&'static str> {
        let Ignored { log_dir, metrics, otlp_grpc_endpoint, inc_buf, flow_logs } = &self.ignored;
        [
            (log_dir.is_some(), "--log-dir"),
            (metrics.is_some(), "--metrics"),
            (otlp_grpc_endpoint.is_some(), "--otlp-grpc-endpoint"),
            (*inc_buf, "--inc-buf"),
            (*flow_logs, "--flow-logs"),
        ]
        .into_iter()
        .filter_map(|(is_given, flag)| is_given.then_some(flag))
        .collect()
    }
}

/// Subcommands in unit files of the official client.
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
    fn clap_definition_is_valid() {
        use clap::CommandFactory as _;
        Args::command().debug_assert();
    }

    #[test]
    fn arguments_of_the_official_client_are_accepted() {
        let args = Args::try_parse_from(["firezoned", "standalone", "--no-ipc"]).unwrap();
        assert!(args.no_ipc);
        let typed =
            "firezoned -l /var/log/x -m 30d --metrics stdout --otlp-grpc-endpoint x:1 --inc-buf --flow-logs --exit";
        let args = Args::try_parse_from(typed.split(' ')).unwrap();
        assert_eq!(args.ignored().len(), 5);
        assert_eq!(args.setting("max-partition-time").as_deref(), Some("30d"));
        assert!(args.exit);
    }

    #[test]
    fn token_argument_is_rejected() {
        for typed in [["firezoned", "--token=x"], ["firezoned", "x"]] {
            assert_eq!(Args::try_parse_from(typed).unwrap_err().exit_code(), 2);
        }
    }
}

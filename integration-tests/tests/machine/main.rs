//! Stories on a Debian that boots. The long ones begin with `every`, and are told by `make test-machine` only.

mod machine_app;
mod machine_dns;
mod machine_gateway;
mod machine_headless;
mod machine_kill;
mod machine_online;
mod machine_packages;
mod machine_permissions;
mod machine_predecessor;
mod machine_readme;
mod machine_report;
mod machine_unit;

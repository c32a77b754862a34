//! Tests on a booted Debian. The long ones begin with `every_` and run by `make test-machine` only.

mod machine_app;
mod machine_dns;
mod machine_gateway;
mod machine_headless;
mod machine_kill;
mod machine_migration;
mod machine_online;
mod machine_packages;
mod machine_permissions;
mod machine_readme;
mod machine_report;
mod machine_unit;

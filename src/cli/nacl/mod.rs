//! `nacl`: which rule decides a flow, what a change would have done, and what to change. It never changes anything.

mod explain;
mod replay;
mod window;

use clap::Subcommand;

use super::Outcome;
use super::args::GlobalArgs;
use super::printer::Printer;

/// Network ACLs, against what was recorded.
#[derive(Debug, Subcommand)]
pub(super) enum NaclCommand {
    /// Say which rule of which network ACL decides a flow, there and back, and whether the log agrees
    Explain(explain::ExplainArgs),
    /// Say what a change of network ACLs would have done to the flows of a window
    ///
    /// Reads the output of `nacl advise`, a Terraform plan as JSON (`terraform show -json PLAN`), or a file of
    /// `aws ec2 create-`, `replace-` and `delete-network-acl-entry` commands (or of what `--cli-input-json` takes).
    Replay(replay::ReplayArgs),
}

pub(super) async fn run(
    command: NaclCommand,
    _global: &GlobalArgs,
    printer: &Printer,
) -> anyhow::Result<Outcome> {
    match command {
        NaclCommand::Explain(args) => explain::run(args, printer).await,
        NaclCommand::Replay(args) => replay::run(args, printer).await,
    }
}

//! `nacl`: which rule decides a flow, what a change would have done, and what to change. It never changes anything.

mod advise;
mod advised;
mod explain;
mod replay;
mod window;

use clap::Subcommand;

use super::Outcome;
use super::args::{FormatArg, GlobalArgs};
use super::printer::Printer;

/// Network ACLs, against what was recorded.
#[derive(Debug, Subcommand)]
pub(super) enum NaclCommand {
    /// Say which rule of which network ACL decides a flow, there and back, and whether the log agrees
    Explain(explain::ExplainArgs),
    /// Advise changes that stop at the subnet's edge what only security groups stopped, each replayed against the window
    ///
    /// Narrows an allow where few use it, else denies sources (of what goes out, destinations) in few blocks, and names allows that nothing
    /// needed; with `--tighten`, the smallest rules that would have let every accepted flow pass. It prints changes (also as
    /// `--format terraform` and `--format aws-cli`) and makes none.
    Advise(Box<advise::AdviseArgs>),
    /// Say what a change of network ACLs would have done to the flows of a window
    ///
    /// Reads the output of `nacl advise`, a Terraform plan as JSON (`terraform show -json PLAN`; network ACLs that it creates go by their
    /// addresses), or a file of `aws ec2 create-`, `replace-` and `delete-network-acl-entry` commands (or of what `--cli-input-json` takes).
    Replay(replay::ReplayArgs),
}

pub(super) async fn run(
    command: NaclCommand,
    global: &GlobalArgs,
    printer: &Printer,
) -> anyhow::Result<Outcome> {
    let is_advice = matches!(command, NaclCommand::Advise(_));
    if !is_advice && global.format.is_some_and(FormatArg::is_script) {
        anyhow::bail!(
            "`--format terraform` and `aws-cli` are for `nacl advise`: expected table, json or ndjson"
        );
    }
    match command {
        NaclCommand::Advise(args) => advise::run(*args, global, printer).await,
        NaclCommand::Explain(args) => explain::run(args, printer).await,
        NaclCommand::Replay(args) => replay::run(args, printer).await,
    }
}

//! The commands: what was typed becomes plain values, and the values go down to the modules that do the work.
//!
//! stdout carries only data; progress, summaries, notes and errors go to stderr.

mod analyze;
mod args;
mod detect;
mod doctor;
mod ingest;
mod knowledge;
mod lake;
mod nacl;
mod notes;
mod policy;
mod printer;
mod progress;
mod queries;
mod signals;
mod sql;
mod time;
mod topology;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use futures::future::BoxFuture;

use self::args::{FormatArg, GlobalArgs};
use self::printer::Printer;
use crate::telemetry;

/// flowscout turns AWS VPC flow logs into answers.
///
/// It reads flow logs from S3 or a folder, keeps them as Parquet in a Delta table (the lake), joins them with the network's own
/// topology, and shows unexpected internet egress, traffic between private subnets, and spikes of rejected flows.
///
/// EXIT STATUS
///   0  done
///   1  done, and a finding met --fail-on
///   2  error; nothing is half-written
#[derive(Debug, Parser)]
#[command(
    name = "flowscout",
    version,
    verbatim_doc_comment,
    propagate_version = true
)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Logs in, findings out: no lake needed
    Analyze(analyze::AnalyzeArgs),
    /// Bring flow logs into a lake
    Ingest(ingest::IngestArgs),
    /// Bring the network's topology into a lake, and show it
    #[command(subcommand)]
    Topology(topology::TopologyCommand),
    /// Run detections over a lake
    Detect(detect::DetectArgs),
    /// Run a SQL statement over a lake or straight over raw logs
    Sql(sql::SqlArgs),
    /// The detections there are
    #[command(subcommand)]
    Queries(queries::QueriesCommand),
    /// Explain network ACLs, and try changes of them on what was recorded
    #[command(subcommand)]
    Nacl(nacl::NaclCommand),
    /// What the network's owner expects: proposals, and what of it happens
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Look after a lake
    #[command(subcommand)]
    Lake(lake::LakeCommand),
    /// Try everything that an ingest needs, and say what is missing
    Doctor(doctor::DoctorArgs),
    /// Print a completion script
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

impl Command {
    fn gives_findings(&self) -> bool {
        match self {
            Self::Analyze(_) | Self::Detect(_) => true,
            Self::Topology(command) => command.gives_findings(),
            _ => false,
        }
    }
}

/// Whether a command that is done met its condition for failing a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    FailOnMet,
}

/// Runs a command line, the program's name included, and says how it ended.
///
/// Boxed, so that the commands are compiled once, with the library, and not again into everything that runs them.
pub fn run(arguments: Vec<OsString>) -> BoxFuture<'static, ExitCode> {
    Box::pin(run_command(arguments))
}

async fn run_command(arguments: Vec<OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers, not errors; clap knows where each goes.
            error.print().ok();
            return ExitCode::from(u8::from(error.use_stderr()) * 2);
        }
    };
    let printer = Printer::new(&cli.global);
    let is_following = matches!(&cli.command, Command::Ingest(args) if args.is_following());
    telemetry::start_logging(
        log_filter(printer.verbosity(), is_following),
        printer.log_style(),
    );
    let ends_itself = matches!(cli.command, Command::Ingest(_));
    let command = Box::pin(dispatch(cli.command, &cli.global, &printer));
    let result = tokio::select! {
        result = command => result,
        _ = tokio::signal::ctrl_c(), if !ends_itself => Err(anyhow::anyhow!("interrupted; what was not committed is not in the lake")),
    };
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::FailOnMet) => ExitCode::from(1),
        Err(error) if printer::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            printer.error(&error);
            ExitCode::from(2)
        }
    }
}

/// What is logged: warnings, more with `-v`, less with `-q`; of a run that goes on for ever what it does, too.
fn log_filter((verbose, quiet): (u8, u8), is_following: bool) -> &'static str {
    match (verbose, quiet) {
        // The Delta library calls a lost race an error, and what it finds damaged comes back to us as one.
        (0, 0) if is_following => "error,flowscout=info,deltalake_core=off,buoyant_kernel=off",
        (0, 0) => "error,flowscout=warn,deltalake_core=off,buoyant_kernel=off",
        (0, 1) if is_following => "error,flowscout=warn,deltalake_core=off,buoyant_kernel=off",
        (0, _) => "error,deltalake_core=off,buoyant_kernel=off",
        (1, _) => "warn,flowscout=info",
        _ => "info,flowscout=debug",
    }
}

/// Says what kept a command from running at all, and that it failed.
pub fn fail(error: &anyhow::Error) -> ExitCode {
    printer::print_error(error);
    ExitCode::from(2)
}

async fn dispatch(
    command: Command,
    global: &GlobalArgs,
    printer: &Printer,
) -> anyhow::Result<Outcome> {
    let is_script = global.format.is_some_and(FormatArg::is_script);
    if is_script && !matches!(command, Command::Nacl(_)) {
        anyhow::bail!(
            "`--format terraform` and `aws-cli` are for `nacl advise`: expected table, json, ndjson, csv or parquet"
        );
    }
    if let Some(format @ (FormatArg::Ocsf | FormatArg::Sarif)) = global.format
        && !command.gives_findings()
    {
        anyhow::bail!(
            "`--format {}` is for findings, which `detect`, `analyze` and `topology audit` give",
            if format == FormatArg::Ocsf {
                "ocsf"
            } else {
                "sarif"
            }
        );
    }
    match command {
        Command::Analyze(args) => analyze::run(args, global, printer).await,
        Command::Ingest(args) => ingest::run(args, printer).await,
        Command::Topology(command) => topology::run(command, global, printer).await,
        Command::Detect(args) => detect::run(args, global, printer).await,
        Command::Sql(args) => sql::run(args, global, printer).await,
        Command::Queries(command) => queries::run(command, printer),
        Command::Nacl(command) => nacl::run(command, global, printer).await,
        Command::Policy(command) => policy::run(command, printer).await,
        Command::Lake(command) => lake::run(command, global, printer).await,
        Command::Doctor(args) => doctor::run(args, printer).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "flowscout", &mut script);
            printer.data(&script)?;
            Ok(Outcome::Done)
        }
    }
}

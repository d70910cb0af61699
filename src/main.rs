//! The thin binary: starts logging and the runtime, runs the command line, and turns its end into an exit code.

use std::process::ExitCode;

/// Large buffers go from the threads that decode to those that encode; this allocator hands them back without asking the kernel.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Planning a large statement recurses deeply, most of all without optimisation.
const STACK_BYTES: usize = 32 << 20;

fn main() -> ExitCode {
    // Two crypto providers are in the tree; without a choice rustls would panic at the first connection. It fails only if one is chosen.
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .ok();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(STACK_BYTES)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return flowscout::cli::fail(&error.into()),
    };
    let arguments = std::env::args_os().collect();
    // On a worker, so that the command has the large stack too.
    let done = runtime.block_on(runtime.spawn(flowscout::cli::run(arguments)));
    // What a thread may still be reading nobody waits for.
    runtime.shutdown_background();
    match done {
        Ok(code) => code,
        Err(error) => flowscout::cli::fail(&error.into()),
    }
}

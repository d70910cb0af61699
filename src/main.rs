//! The thin binary: starts logging and the runtime, runs the command line, and turns its end into an exit code.

use std::process::ExitCode;

/// Planning a large statement recurses deeply, most of all without optimisation.
const STACK_BYTES: usize = 32 << 20;

/// How many arenas the C library may have. By default there are eight for each core, and rows are decoded on one thread, encoded on another
/// and freed there: each arena would keep its own share of the free memory, half as much again for long runs.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const ARENAS: libc::c_int = 2;

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(
    unsafe_code,
    reason = "the C library has no other door to this setting than its environment"
)]
fn share_arenas() {
    // SAFETY: it takes two numbers, and no other thread is there yet.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, ARENAS) };
}

fn main() -> ExitCode {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    share_arenas();
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

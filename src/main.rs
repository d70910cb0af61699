//! The thin binary: starts logging and the runtime, runs the command line, and turns its end into an exit code.

use std::process::ExitCode;

/// Planning a large statement recurses deeply, most of all without optimisation.
const STACK_BYTES: usize = 32 << 20;

/// Settings of the C library's allocator, for rows that are decoded on one thread, encoded on another and freed there, a few megabytes at
/// a time.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(
    unsafe_code,
    reason = "the C library has no other door to these settings than its environment"
)]
fn keep_memory() {
    let settings = [
        // By default eight for each core, each of which keeps its own share of the free memory: a third more at the peak of long runs.
        (libc::M_ARENA_MAX, 2),
        // What was freed is used again, without the page faults of fresh memory.
        (libc::M_MMAP_THRESHOLD, 32 << 20),
        (libc::M_TRIM_THRESHOLD, 512 << 20),
        (libc::M_TOP_PAD, 16 << 20),
    ];
    for (setting, value) in settings {
        // SAFETY: it takes two numbers, and no other thread is there yet.
        unsafe { libc::mallopt(setting, value) };
    }
}

fn main() -> ExitCode {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    keep_memory();
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

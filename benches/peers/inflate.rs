//! Inflates gzip files with libdeflate on all cores and does nothing else: what no ingest of them can be faster than.
//!
//! `inflate FILE…`; each file is of one member. Prints the number of bytes.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;

fn main() -> anyhow::Result<()> {
    let files: Vec<String> = std::env::args().skip(1).collect();
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism()?.get();
    let total: u64 = std::thread::scope(|scope| {
        let work = || inflate(&files, &next);
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .map_err(|_| anyhow::anyhow!("a thread panicked"))?
            })
            .sum::<anyhow::Result<u64>>()
    })?;
    #[expect(
        clippy::print_stdout,
        reason = "the answer, so that the work is not optimised away"
    )]
    {
        println!("{total}");
    }
    Ok(())
}

/// Inflates files into one buffer, until none is left.
fn inflate(files: &[String], next: &AtomicUsize) -> anyhow::Result<u64> {
    let mut decompressor = libdeflater::Decompressor::new();
    let mut text = Vec::new();
    let mut total = 0;
    while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
        let raw = std::fs::read(file).with_context(|| format!("cannot read `{file}`"))?;
        let trailer = *raw
            .last_chunk()
            .with_context(|| format!("`{file}` is empty"))?;
        let length = u32::from_le_bytes(trailer) as usize;
        if text.len() < length {
            text.resize(length, 0);
        }
        let inflated = decompressor.gzip_decompress(&raw, &mut text[..length]);
        total += inflated.with_context(|| format!("cannot inflate `{file}`"))? as u64;
    }
    Ok(total)
}

//! Inflating: gzip into text, on one thread; bytes of text per second.
//!
//! Fixture: 50,000 seeded records. Command: `cargo bench --bench inflate`.

mod logs;

use std::io::BufRead;

use divan::Bencher;
use divan::counter::BytesCount;
use flowscout::source::gzip;

fn main() {
    divan::main();
}

fn bench(bencher: Bencher<'_, '_>, raw: &[u8], length: usize) {
    bencher.counter(BytesCount::new(length)).bench(|| {
        let mut text = gzip::inflate(raw, raw.len() as u64).expect("memory can be read");
        let mut inflated = 0;
        loop {
            let count = text.fill_buf().expect("the fixture is whole").len();
            if count == 0 {
                break;
            }
            inflated += count;
            text.consume(count);
        }
        assert_eq!(inflated, length);
    });
}

/// One member, as AWS writes them: inflated as a whole.
#[divan::bench]
fn one_member(bencher: Bencher<'_, '_>) {
    let text = logs::text(logs::V2, 50_000, logs::START, 1);
    bench(bencher, &logs::gzip(&text), text.len());
}

/// Two members: inflated piece by piece.
#[divan::bench]
fn two_members(bencher: Bencher<'_, '_>) {
    let text = logs::text(logs::V2, 25_000, logs::START, 1);
    bench(bencher, &logs::gzip(&text).repeat(2), text.len() * 2);
}

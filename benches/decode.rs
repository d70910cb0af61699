//! Decoding: text into Arrow batches, on one thread; rows and bytes of text per second.
//!
//! Fixture: 50,000 seeded records. Command: `cargo bench --bench decode`.

mod logs;

use std::hint::black_box;
use std::ops::ControlFlow;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use flowscout::batch::{ReadOptions, TextLayout, read_object};

const ROWS: usize = 50_000;

fn main() {
    divan::main();
}

fn bench(bencher: Bencher<'_, '_>, text: &str, options: &ReadOptions) {
    bencher
        .counter(ItemsCount::new(ROWS))
        .counter(BytesCount::new(text.len()))
        .bench(|| {
            let decoded = read_object(text.as_bytes(), options, &mut |batch| {
                black_box(batch);
                ControlFlow::Continue(())
            });
            let decoded = decoded.expect("the fixture is a flow log");
            assert_eq!((decoded.rows, decoded.bad_lines), (ROWS as u64, 0));
        });
}

#[divan::bench]
fn v2_default(bencher: Bencher<'_, '_>) {
    let text = logs::text(logs::V2, ROWS, logs::START, 1);
    bench(bencher, &text, &ReadOptions::new("log"));
}

#[divan::bench]
fn v5_29_fields(bencher: Bencher<'_, '_>) {
    let text = logs::text(&format!("{} {}", logs::V2, logs::V5), ROWS, logs::START, 1);
    bench(bencher, &text, &ReadOptions::new("log"));
}

/// Two columns as views, the others only checked: what `sql --logs` does.
#[divan::bench]
fn v2_two_columns(bencher: Bencher<'_, '_>) {
    let text = logs::text(logs::V2, ROWS, logs::START, 1);
    let options = ReadOptions {
        columns: Some(vec![9, 12]),
        texts: TextLayout::Views,
        ..ReadOptions::new("log")
    };
    bench(bencher, &text, &options);
}

/// Carriage returns make no line plain: each is read for itself.
#[divan::bench]
fn v2_line_by_line(bencher: Bencher<'_, '_>) {
    let text = logs::text(logs::V2, ROWS, logs::START, 1).replace('\n', "\r\n");
    bench(bencher, &text, &ReadOptions::new("log"));
}

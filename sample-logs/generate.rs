//! Writes the sample logs: four days of the network that `topology/` describes, and what hides in them.
//!
//! `cargo run --example generate-sample-logs [FOLDER]` writes `AWSLogs` into this folder, or
//! another, the same bytes every time. `README.md` tells the stories.

mod generator {
    pub(crate) mod background;
    pub(crate) mod decoys;
    pub(crate) mod format;
    pub(crate) mod network;
    pub(crate) mod random;
    pub(crate) mod recorder;
    pub(crate) mod stories;
    pub(crate) mod writer;
}

use std::error::Error;
use std::path::{Path, PathBuf};

use generator::{background, decoys, recorder::Recorder, stories, writer};

fn main() -> Result<(), Box<dyn Error>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("sample-logs");
    let folder = std::env::args_os().nth(1).map_or(here, PathBuf::from);

    // Each part draws from its own seed, so that a change to one leaves the others' bytes alone.
    let mut recorder = Recorder::new();
    background::record(recorder.seeded(1));
    stories::record(recorder.seeded(2));
    decoys::record(recorder.seeded(3));
    writer::write(&folder, recorder.into_records())
}

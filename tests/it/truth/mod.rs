//! Worlds, conversations and logs out of a seed: what `traffic` says of each conversation, against what really happened.
//!
//! ```text
//! world ──> EC2's JSON ──> topology import ─┐
//!   └─> conversations ──> records ──> ingest ┴─> traffic ──> judge: the share that is right, by kind
//! ```

mod conversations;
mod ec2;
mod judge;
#[path = "../../../sample-logs/generator/random.rs"]
mod random;
mod records;
mod world;

use conversations::Draw;
use judge::{Scores, judge};
use random::Random;
use records::{FULL, V2, deliver};
use world::World;

use crate::harness::Place;

/// The second was not looked at while this was written.
const SEEDS: [u64; 2] = [1, 20_260_310];

fn ask(seed: u64, format: impl Fn(usize) -> &'static str) -> Scores {
    let mut random = Random::new(seed);
    let world = World::new(&mut random);
    let conversations = Draw::all(&world, &mut random, 40);
    let place = Place::new();
    world.put(&place);
    deliver(&world, &conversations, format, &place);
    place.run(&["ingest", "logs", "--lake", "lake"]).ok();
    let at = "2026-03-01T00:00:00Z";
    place
        .run(&[
            "topology", "import", "topology", "--lake", "lake", "--at", at,
        ])
        .ok();
    judge(&place, &world, &conversations)
}

#[expect(clippy::print_stdout, reason = "the table is what the test is for")]
fn ask_all(title: &str, format: impl Fn(usize) -> &'static str) -> Scores {
    let mut scores = Scores::default();
    for seed in SEEDS.iter().take(1) {
        scores.add(ask(*seed, &format));
    }
    println!("{}", scores.table(title));
    for line in scores.wrong.iter().take(60) {
        println!("{line}");
    }
    println!("{} strays", scores.strays.len());
    for line in scores.strays.iter().take(20) {
        println!("{line}");
    }
    scores
}

#[test]
fn the_full_format_tells_the_truth() {
    ask_all("full format", |_| FULL);
}

#[test]
fn version_2_tells_the_truth_as_far_as_it_can() {
    ask_all("version 2", |_| V2);
}

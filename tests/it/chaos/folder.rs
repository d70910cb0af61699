//! Commands on a lake in a folder, killed at times that nobody chose.

use std::process::Stdio;
use std::time::{Duration, Instant};

use flowscout::lake::Verify;

use super::{Dice, is_long, tell};
use crate::care::{ROWS, clean, put_log, rows_of};
use crate::harness::{Place, block_on};

const COMMANDS: [&[&str]; 4] = [
    &["ingest", "logs", "--lake", "lake", "-q"],
    &["ingest", "logs", "--lake", "lake", "-q"],
    &["lake", "compact", "--lake", "lake"],
    &[
        "lake", "vacuum", "--retain", "0s", "--force", "--lake", "lake",
    ],
];

#[test]
fn a_lake_in_a_folder_loses_nothing_to_kills_at_any_time() {
    let rounds = if is_long() { 300 } else { 60 };
    let mut dice = Dice::new(42);
    let place = Place::new();
    put_log(&place, "0.log", 0);
    let begun = Instant::now();
    place.run(COMMANDS[0]).ok();
    let whole = begun.elapsed();
    let (mut logs, mut kills) = (1, 0);
    for round in 0..rounds {
        if round % 4 == 0 {
            put_log(&place, &format!("{logs}.log"), logs);
            logs += 1;
        }
        let command = COMMANDS[usize::try_from(dice.roll(4)).unwrap()];
        let mut command = place.command(command);
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // The time of the kill is the fault itself.
        let micros = u64::try_from(whole.as_micros()).unwrap();
        std::thread::sleep(Duration::from_micros(dice.roll(micros)));
        child.kill().unwrap();
        kills += usize::from(child.wait().unwrap().code().is_none());
    }
    place.run(COMMANDS[0]).ok();
    let rows = block_on(async move {
        let lake = place.lake().await;
        clean(lake.verify(Verify::Deep).await.unwrap());
        rows_of(&lake).await
    });
    let mut distinct = rows.clone();
    distinct.dedup();
    assert_eq!(rows.len() as u64, logs as u64 * ROWS);
    assert_eq!(distinct.len(), rows.len());
    tell("killed at random times, a lake in a folder", kills);
}

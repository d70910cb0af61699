//! Nothing is lost and nothing is counted twice, whatever happens to the process, its storage, and whoever else is at work.
//!
//! After each fault the lake has to hold the rows that an undisturbed run gives, as a multiset with all their columns, and `lake verify
//! --deep` must find nothing wrong. The short form runs with all other tests. The long one, with at least 500 kills and an hour of several
//! at once, is `tests/chaos`; both print how many faults they tried.

mod bench;
mod folder;
mod killed;
mod outage;
mod storage;
mod together;

use std::io::Write;

/// Whether there is time: `FLOWSCOUT_CHAOS=long`.
pub(crate) fn is_long() -> bool {
    std::env::var_os("FLOWSCOUT_CHAOS").is_some_and(|form| form == "long")
}

/// A line of the table of faults, on standard error whether the test passes or not.
pub(crate) fn tell(fault: &str, times: usize) {
    let line = format!("chaos: {fault}: {times}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// Numbers that look random, from a seed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Less than `sides`.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        // Splitmix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}

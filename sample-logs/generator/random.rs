//! A seeded source of numbers (SplitMix64): small, and the same on every machine and in every release.

/// Numbers that look random and never change.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `low` up to and including `high`.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        let width = high.abs_diff(low) + 1;
        low.saturating_add_unsigned(self.next() % width)
    }

    pub(crate) fn pick<T: Copy>(&mut self, among: &[T]) -> T {
        let last = i64::try_from(among.len()).expect("a short list") - 1;
        let index = usize::try_from(self.between(0, last)).expect("not negative");
        among[index]
    }
}

//! The thin binary: see [`flowscout::cli`].
fn main() {}

//! The `bulkreasm` program.

fn main() {}

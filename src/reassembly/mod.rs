//! The pure core: segments in, stream events out. No IO, no clock, no threads.

pub mod event;

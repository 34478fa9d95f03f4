//! The run: the only room that knows all the others.
//!
//! A batch is a bounded stretch of the capture. Its chunks are decoded in parallel, joined in
//! capture order, and reassembled in parallel, one task per shard; meanwhile the next batch is
//! decoded. Rows leave in a fixed order, so nothing of how the work was divided shows in the
//! output.

mod batch;
mod behind;
mod chunk;
mod clock;
mod memory;
mod merge;
mod report;
mod run;
mod source;
mod stretch;
mod tables;
mod tally;
mod worker;

pub use crate::model::{Shown, shown};
pub use crate::output::Manifest;
pub use report::{ClockJump, LimitLoss, RunReport};
pub use run::{Control, Progress, RunError, run};
pub use tables::TableSummaries;

//! What lies behind the scan.

use super::batch::JoinedBatch;
use super::chunk::Frames;
use crate::capture::Inputs;
use crate::config::PayloadMode;

/// Lets go of what was scanned, so that a mapped capture larger than memory pushes nothing else out, and so
/// that pages are taken from the map by threads beside others: at the end one alone would do it for all.
pub(super) struct Behind<'input> {
    inputs: &'input Inputs,
    /// Up to where each file has been let go of.
    gone: Vec<u64>,
    /// Up to where each is done with.
    done: Vec<u64>,
    is_wanted: bool,
}

impl<'input> Behind<'input> {
    /// Nothing has been scanned. The rows of a payload table wait by reference for long, and their bytes would
    /// only have to be mapped again.
    pub(super) fn new(inputs: &'input Inputs, payload: PayloadMode) -> Behind<'input> {
        let none = vec![0; inputs.list().len()];
        Behind {
            inputs,
            gone: none.clone(),
            done: none,
            is_wanted: payload != PayloadMode::Parquet,
        }
    }

    /// A batch is done with, but for its last chunk: the next one may begin on the same page. Of files
    /// whose frames are merged, windows are used on.
    pub(super) fn passed(&mut self, batch: &JoinedBatch<'_>) {
        for joined in &batch.chunks {
            if let Frames::Walk { file, start, .. } = &joined.chunk.frames
                && let Some(done) = self.done.get_mut(usize::from(*file))
            {
                *done = start.offset().max(*done);
            }
        }
    }

    /// Lets go of what is done with.
    pub(super) fn let_go(&mut self) {
        if !self.is_wanted {
            return;
        }
        let files = self.inputs.list().iter().zip(&mut self.gone);
        for ((input, gone), &done) in files.zip(&self.done) {
            if *gone < done {
                input.let_go(*gone..done);
                *gone = done;
            }
        }
    }

    /// Lets go of everything.
    pub(super) fn let_go_of_all(&mut self) {
        self.done.fill(u64::MAX);
        self.let_go();
    }
}

//! Payload files: byte *n* of a file is position *n* of its half-stream.
//!
//! Bytes are queued by reference while a batch is reassembled and written at its end, each file's
//! bytes together, straight from where they lie in the input. A hole is never written, so the file
//! is sparse there; it ends at its last captured byte.

use std::borrow::Cow;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::model::{Direction, PayloadSource};
use crate::reassembly::event::{FlowName, StreamData};

use super::descriptors::DescriptorBudget;
use super::directory::OutputDir;
use super::error::OutputError;
use super::file_cache::{FileCache, FileTotals};
use super::payload::{HalfKey, read_all};
use super::stream_path::stream_path;

/// Most pieces that one `pwritev` takes (`IOV_MAX` of Linux and the BSDs).
const MOST_PIECES: usize = 1024;

/// Queue entry in the order of writing: whose, where, and its index in the queue.
type Piece = (HalfKey, u64, usize);

/// Writes the payload files of one shard's flows. One task uses it at a time.
#[derive(Debug)]
pub struct PayloadWriter {
    files: FileCache<HalfKey>,
    queue: Vec<StreamData>,
    /// Reused from flush to flush.
    order: Vec<Piece>,
    ended: Vec<u64>,
    totals: FileTotals,
}

impl PayloadWriter {
    /// A writer below `dir` that keeps files open as far as `budget` allows.
    pub fn new(dir: Arc<OutputDir>, budget: Arc<DescriptorBudget>) -> PayloadWriter {
        PayloadWriter {
            files: FileCache::new(dir, budget),
            queue: Vec::new(),
            order: Vec::new(),
            ended: Vec::new(),
            totals: FileTotals::default(),
        }
    }

    /// Queues bytes; they reach their file with the next [`PayloadWriter::flush`].
    pub fn data(&mut self, data: StreamData) {
        self.queue.push(data);
    }

    /// Nothing more follows for this flow: its files are closed after the next flush.
    pub fn flow_ended(&mut self, flow_id: u64) {
        self.ended.push(flow_id);
    }

    /// What this writer wrote.
    pub fn totals(&self) -> FileTotals {
        self.totals
    }

    /// Writes all that is queued. Fails where the file system refuses, or where `source` no longer
    /// gives the bytes; what was queued is lost then.
    pub fn flush(&mut self, source: &dyn PayloadSource) -> Result<(), OutputError> {
        self.files.next_round();
        self.ended.sort_unstable();
        let queue = std::mem::take(&mut self.queue);
        let mut order = std::mem::take(&mut self.order);
        order.clear();
        order.extend(
            queue
                .iter()
                .enumerate()
                .map(|(index, data)| ((data.flow.flow_id, data.direction), data.position, index)),
        );
        order.sort_unstable();
        for file in order.chunk_by(|a, b| a.0 == b.0) {
            self.write_file(file, &queue, source)?;
        }
        // The buffers serve the next batch.
        self.order = order;
        self.queue = queue;
        self.queue.clear();
        let ended = self.ended.drain(..);
        self.files.forget(
            ended.flat_map(|flow_id| Direction::BOTH.map(|direction| (flow_id, direction))),
        );
        Ok(())
    }

    /// Writes one file's pieces, which are in order of position.
    fn write_file(
        &mut self,
        pieces: &[Piece],
        queue: &[StreamData],
        source: &dyn PayloadSource,
    ) -> Result<(), OutputError> {
        let Some(first) = pieces.first() else {
            return Ok(());
        };
        let key = first.0;
        let flow = &queue[first.2].flow;
        let opened = self
            .files
            .open(key, || stream_path(flow, key.1), OFlags::WRONLY)?;
        self.totals.files += u64::from(opened.created);
        for run in contiguous_runs(pieces, queue) {
            self.totals.bytes += write_run(&opened.file, &pieces[run], queue, source)
                .map_err(|e| self.explain(e, flow, key.1))?;
        }
        if self.ended.binary_search(&key.0).is_err() {
            self.files.keep(key, opened);
        }
        Ok(())
    }

    fn explain(&self, error: RunError, flow: &FlowName, direction: Direction) -> OutputError {
        match error {
            RunError::Short(changed) => changed,
            RunError::Write(source) => {
                let path = self.files.dir().path().join(stream_path(flow, direction));
                OutputError::io("write", &path, source)
            }
        }
    }
}

/// Ranges of `pieces` that follow each other without a hole, at most [`MOST_PIECES`] each.
fn contiguous_runs(pieces: &[Piece], queue: &[StreamData]) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let mut next = pieces.get(start)?.1;
        let mut end = start;
        while end < pieces.len() && end - start < MOST_PIECES && pieces[end].1 == next {
            next += u64::from(queue[pieces[end].2].payload.len());
            end += 1;
        }
        let run = start..end;
        start = end;
        Some(run)
    })
}

enum RunError {
    /// The input did not give its bytes.
    Short(OutputError),
    Write(io::Error),
}

/// Writes pieces that follow each other; gives the number of bytes.
fn write_run(
    file: &OwnedFd,
    run: &[Piece],
    queue: &[StreamData],
    source: &dyn PayloadSource,
) -> Result<u64, RunError> {
    let mut bytes: Vec<Cow<'_, [u8]>> = Vec::with_capacity(run.len());
    for piece in run {
        bytes.push(read_all(&queue[piece.2].payload, source).map_err(RunError::Short)?);
    }
    let mut slices: Vec<IoSlice<'_>> = bytes.iter().map(|b| IoSlice::new(b)).collect();
    let position = run.first().map_or(0, |piece| piece.1);
    write_all_at(&mut slices, position, |slices, at| {
        rustix::io::pwritev(file.as_fd(), slices, at)
    })
    .map_err(RunError::Write)
}

/// Writes all of `slices` at `position` by a function that may write less than it is given, or be
/// interrupted.
pub(super) fn write_all_at(
    mut slices: &mut [IoSlice<'_>],
    position: u64,
    mut write: impl FnMut(&[IoSlice<'_>], u64) -> Result<usize, Errno>,
) -> io::Result<u64> {
    let mut written = 0;
    // Empty slices at the front would read as a write of nothing.
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match write(slices, position + written) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                IoSlice::advance_slices(&mut slices, n);
                written += n as u64;
            }
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes at most three bytes a call and is interrupted every other time.
    #[test]
    fn short_and_interrupted_writes_are_continued() {
        let mut out = vec![0; 12];
        let mut calls = 0;
        let mut slices = [&b""[..], b"abcd", b"", b"efghi", b"j"].map(IoSlice::new);
        let written = write_all_at(&mut slices, 2, |slices, at| {
            calls += 1;
            if calls % 2 == 0 {
                return Err(Errno::INTR);
            }
            let bytes: Vec<u8> = slices
                .iter()
                .flat_map(|s| s.iter().copied())
                .take(3)
                .collect();
            let at = usize::try_from(at).unwrap();
            out[at..at + bytes.len()].copy_from_slice(&bytes);
            Ok(bytes.len())
        });
        assert_eq!(written.unwrap(), 10);
        assert_eq!(out, b"\0\0abcdefghij");
    }

    #[test]
    fn a_full_device_is_an_error_not_a_loop() {
        let file = std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let mut slices = [IoSlice::new(b"x")];
        let error = write_all_at(&mut slices, 0, |s, at| rustix::io::pwritev(&file, s, at));
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::StorageFull);
        let mut slices = [IoSlice::new(b"x")];
        let error = write_all_at(&mut slices, 0, |_, _| Ok(0));
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::WriteZero);
    }
}

//! What each input file has come to.

use super::chunk::Part;
use super::clock::Jumps;
use crate::capture::{Damage, MAX_DAMAGE, WalkStats};
use crate::model::Timestamp;

/// What one file has come to. Frames are numbered over the whole input.
#[derive(Clone, Debug)]
pub(super) struct FileTally {
    /// Counts. The damage in it is described in `damage`.
    pub(super) walk: WalkStats,
    /// Its first [`MAX_DAMAGE`] damaged regions, each with its next frame.
    pub(super) damage: Vec<(Damage, Option<u64>)>,
    /// The number of its first frame.
    pub(super) first_frame: Option<u64>,
    /// Least and greatest time of its frames.
    pub(super) times: Option<(Timestamp, Timestamp)>,
    /// Where its clock jumps.
    pub(super) jumps: Jumps,
}

impl Default for FileTally {
    fn default() -> FileTally {
        FileTally {
            walk: WalkStats::default(),
            damage: Vec::new(),
            first_frame: None,
            times: None,
            jumps: Jumps::NONE,
        }
    }
}

impl FileTally {
    /// Adds the next part of the file, which lies in a chunk behind `before` frames.
    pub(super) fn add(&mut self, part: &Part, before: u64) {
        if let Some(first) = part.first_frame {
            let first = before + first;
            self.first_frame.get_or_insert(first);
            for (_, next) in self.damage.iter_mut().rev() {
                if next.is_some() {
                    break;
                }
                *next = Some(first);
            }
        }
        let room = MAX_DAMAGE.saturating_sub(self.damage.len());
        let described = part.walk.damage.iter().zip(&part.next_frames);
        self.damage.extend(
            described
                .take(room)
                .map(|(damage, next)| (*damage, next.map(|frame| before + frame))),
        );
        self.jumps.merge(&part.jumps, before);
        self.walk.merge(&part.walk);
        self.walk.damage.clear();
        if part.last_ts != Timestamp::NONE {
            let (first, last) = self.times.unwrap_or((part.first_ts, part.last_ts));
            self.times = Some((first.earliest(part.first_ts), last.max(part.last_ts)));
        }
    }
}

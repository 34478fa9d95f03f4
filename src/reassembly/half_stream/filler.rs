//! Padding of short frames that a device counted into the IP length: a few NULs behind an acknowledgement, in
//! the place of the next data.

use super::{Context, HalfStream, Held, unwrap};
use crate::model::SegmentKind;

impl HalfStream {
    /// Takes a small segment if it may be an acknowledgement with padding: new bytes, all NUL. Behind a FIN it is
    /// nothing else; where the next data is expected, what comes next tells.
    pub(super) fn take_filler(
        &mut self,
        held: Held,
        offset: i64,
        context: &mut Context<'_>,
    ) -> Option<Held> {
        let behind_fin = self.likely_fin().is_some_and(|fin| offset > fin);
        let waits = self
            .aside
            .changed()
            .is_some_and(|aside| aside.filler.is_some());
        if !behind_fin && offset != self.next {
            return Some(held);
        }
        let bytes = held.payload.bytes(context.rules.source);
        if bytes.iter().any(|&byte| byte != 0) {
            drop(bytes);
            return Some(held);
        }
        drop(bytes);
        if behind_fin {
            self.pass_over_filler(&held, context);
        } else if waits {
            self.pass_over(
                &held,
                Some(offset),
                SegmentKind::Retransmit,
                context.rules.notes,
            );
        } else {
            self.aside.get_mut().filler = Some(held);
        }
        None
    }

    /// The next segment tells what the one that waits is: padding if this one begins with the same number, data
    /// otherwise.
    pub(super) fn resolve_filler(&mut self, next: &Held, context: &mut Context<'_>) {
        let waiting = self
            .aside
            .changed_mut()
            .and_then(|aside| aside.filler.take());
        let Some(held) = waiting else { return };
        let same = next.seq == held.seq && next.ack == held.ack && next.small;
        if same && next.payload.len() == held.payload.len() {
            // The same again tells nothing.
            self.aside.get_mut().filler = Some(held);
        } else if held.seq == next.seq {
            self.pass_over_filler(&held, context);
        } else {
            self.place_filler(&held, context);
        }
    }

    /// What the peer acknowledges, up to this offset, is data.
    pub(super) fn settle_filler(&mut self, acked: i64, context: &mut Context<'_>) {
        let Some(origin) = self.origin else { return };
        let reached = self.reached();
        let Some(aside) = self.aside.changed_mut() else {
            return;
        };
        let is_data = |held: &mut Held| {
            let end = unwrap(origin, reached, held.seq) + i64::from(held.wire_len());
            acked >= end
        };
        if let Some(held) = aside.filler.take_if(is_data) {
            self.place_filler(&held, context);
        }
    }

    /// Nothing follows it: padding, if this side was seen to pad before.
    pub(super) fn finish_filler(&mut self, context: &mut Context<'_>) {
        let Some(aside) = self.aside.changed_mut() else {
            return;
        };
        let had_filler = aside.had_filler;
        let Some(held) = aside.filler.take() else {
            return;
        };
        if had_filler {
            self.pass_over_filler(&held, context);
        } else {
            self.place_filler(&held, context);
        }
    }

    fn pass_over_filler(&mut self, held: &Held, context: &mut Context<'_>) {
        self.aside.get_mut().had_filler = true;
        let offset = self.offset_of(held.seq);
        self.pass_over(held, offset, SegmentKind::Filler, context.rules.notes);
    }

    fn place_filler(&mut self, held: &Held, context: &mut Context<'_>) {
        if let Some(offset) = self.offset_of(held.seq) {
            self.place(offset, held, context);
        }
    }

    /// The stream offset of a sequence number, where offset 0 is known.
    fn offset_of(&self, seq: u32) -> Option<i64> {
        Some(unwrap(self.origin?, self.reached(), seq))
    }
}

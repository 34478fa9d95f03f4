use super::*;
use crate::config::DecodeConfig;
use crate::decode::tests::build::*;
use crate::model::{InputPos, LinkType, RawFrame, TimeUnit};

pub(super) const TIMEOUT: i64 = 30;

/// A capture of fragments: one frame each, one after another in one input.
#[derive(Default)]
pub(super) struct Capture {
    policies: PolicyMap<FragmentPolicy>,
    input: Vec<u8>,
    pub(super) frames: Vec<(i64, std::ops::Range<usize>, u32)>,
}

impl Capture {
    pub(super) fn with(policies: &str) -> Capture {
        Capture {
            policies: PolicyMap::new(policies.split(',').map(|rule| rule.parse().unwrap())),
            ..Capture::default()
        }
    }

    pub(super) fn push(&mut self, ns: i64, packet: &[u8]) {
        self.push_cut(ns, packet, packet.len());
    }

    fn push_cut(&mut self, ns: i64, packet: &[u8], captured: usize) {
        let start = self.input.len();
        self.input.extend_from_slice(&packet[..captured]);
        let wire = u32::try_from(packet.len()).unwrap();
        self.frames.push((ns, start..start + captured, wire));
    }

    /// Decodes all frames, handing fragments in and putting datagrams together every `batch`
    /// frames, within a batch from the last to the first.
    pub(super) fn run(&self, batch: usize) -> (Run, FragmentStats) {
        let table = FragmentTable::new(TIMEOUT, self.policies.clone());
        let mut decoder = Decoder::new(DecodeConfig::default());
        let mut run = Run::default();
        let mut watermark = Timestamp::NONE;
        for (chunk, frames) in self.frames.chunks(batch).enumerate() {
            let first = u64::try_from(chunk * batch).unwrap() + 1;
            for (number, (ns, range, wire)) in (first..).zip(frames) {
                let ts = Timestamp::from_ns(*ns);
                watermark = watermark.max(ts);
                let frame = RawFrame {
                    ts,
                    link: LinkType(101),
                    data: &self.input[range.clone()],
                    at: InputPos::new(0, range.start as u64),
                    original_len: *wire,
                    unit: TimeUnit::Micro,
                    fcs_len: 0,
                };
                decoder.frame(&frame, number, watermark, &mut run);
            }
            table.add(run.fragments.drain(..).rev());
            let through = first - 1 + frames.len() as u64;
            run.segments.extend(
                table
                    .complete(through, &self.input[..], &mut decoder)
                    .into_iter()
                    .map(|pieced| pieced.segment),
            );
        }
        let stats = table.finish();
        (run.table, run.stats) = decoder.finish();
        assert!(run.stats.is_balanced());
        (run, stats)
    }

    /// Frames and payloads of all segments, whatever the size of batches.
    pub(super) fn segments(&self) -> Vec<(u64, Vec<u8>)> {
        let of = |batch| {
            let (mut run, stats) = self.run(batch);
            run.segments.sort_by_key(|segment| segment.frame);
            let found: Vec<_> = run
                .segments
                .iter()
                .map(|segment| (segment.frame, text(segment, &self.input)))
                .collect();
            (found, stats, run.stats)
        };
        let whole = of(self.frames.len().max(1));
        for batch in 1..self.frames.len() {
            assert_eq!(of(batch), whole, "batches of {batch}");
        }
        whole.0
    }

    pub(super) fn stats(&self) -> FragmentStats {
        self.run(self.frames.len().max(1)).1
    }
}

fn payload() -> Vec<u8> {
    (0..60).collect()
}

/// The bytes from `start` to `end` of a segment with that payload, as a fragment.
fn piece(id: u16, start: u16, end: u16) -> Vec<u8> {
    let whole = tcp(&[], &payload());
    let (from, to) = (usize::from(start), usize::from(end));
    ipv4_fragment(6, id, start, to < whole.len(), &whole[from..to])
}

fn piece6(id: u8, start: u16, end: u16) -> Vec<u8> {
    let whole = tcp(&[], &payload());
    let (from, to) = (usize::from(start), usize::from(end));
    let field = (start | u16::from(to < whole.len())).to_be_bytes();
    ipv6(44, &cat![[6, 0], field, [0, 0, 0, id], &whole[from..to]])
}

#[test]
fn fragments_in_any_order_become_one_segment() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1]] {
        let (mut four, mut six) = (Capture::default(), Capture::default());
        for (at, which) in order.into_iter().enumerate() {
            let (start, end) = [(0, 24), (24, 48), (48, 80)][which];
            four.push(i64::try_from(at).unwrap(), &piece(1, start, end));
            six.push(0, &piece6(1, start, end));
        }
        assert_eq!(four.segments(), [(3, payload())]);
        assert_eq!(six.segments(), [(3, payload())]);
        let (run, stats) = four.run(3);
        assert_eq!(run.segments[0].ip_bytes, 100);
        assert_eq!(six.run(3).0.segments[0].ip_bytes, 120);
        assert_eq!((run.stats.tcp, run.stats.fragments()), (1, 2));
        assert_eq!((stats.fragments, stats.datagrams), (3, 1));
        assert_eq!(stats.incomplete_at_end, 0);
    }
}

#[test]
fn datagrams_with_other_identities_do_not_mix() {
    let mut capture = Capture::default();
    capture.push(0, &piece(1, 0, 24));
    capture.push(0, &piece(2, 24, 80));
    assert_eq!(capture.segments(), []);
    assert_eq!(capture.stats().incomplete_at_end, 2);
}

#[test]
fn a_repeated_identity_makes_a_second_datagram() {
    let mut capture = Capture::default();
    for _ in 0..2 {
        capture.push(0, &piece(1, 0, 24));
        capture.push(0, &piece(1, 24, 80));
    }
    assert_eq!(capture.segments(), [(2, payload()), (4, payload())]);
}

#[test]
fn the_fragment_at_the_lower_offset_wins() {
    let mut other = piece(1, 24, 48);
    other[20..].fill(0xee);
    let mut capture = Capture::default();
    capture.push(0, &piece(1, 48, 80));
    capture.push(0, &piece(1, 16, 40));
    capture.push(0, &other);
    capture.push(0, &piece(1, 0, 24));
    let mut wanted = payload();
    // Offsets 40 to 48 of the datagram, behind 20 bytes of TCP header.
    wanted[20..28].fill(0xee);
    assert_eq!(capture.segments(), [(4, wanted)]);
    let stats = capture.stats();
    assert_eq!((stats.overlapping, stats.conflicting), (2, 1));
}

#[test]
fn an_exact_copy_is_an_overlap_and_no_conflict() {
    let mut capture = Capture::default();
    capture.push(0, &piece(1, 0, 24));
    capture.push(0, &piece(1, 0, 24));
    capture.push(0, &piece(1, 24, 80));
    assert_eq!(capture.segments(), [(3, payload())]);
    let stats = capture.stats();
    assert_eq!((stats.overlapping, stats.conflicting), (1, 0));
}

#[test]
fn a_late_fragment_begins_anew() {
    let mut capture = Capture::default();
    capture.push(0, &piece(1, 0, 24));
    capture.push(TIMEOUT + 1, &piece(1, 24, 80));
    assert_eq!(capture.segments(), []);
    assert_eq!(capture.stats().timed_out, 1);
    capture.push(TIMEOUT + 1, &piece(1, 0, 24));
    assert_eq!(capture.segments(), [(3, payload())]);
    let mut in_time = Capture::default();
    in_time.push(0, &piece(1, 0, 24));
    in_time.push(TIMEOUT, &piece(1, 24, 80));
    assert_eq!(in_time.segments(), [(2, payload())]);
}

#[test]
fn the_last_fragment_decides_where_the_datagram_ends() {
    // Bytes beyond the end are ignored, whichever comes first.
    let beyond = ipv4_fragment(6, 1, 800, true, &[9; 16]);
    let across = ipv4_fragment(6, 1, 72, true, &[9; 16]);
    for extra in [beyond, across] {
        let mut before = Capture::default();
        before.push(0, &piece(1, 0, 24));
        before.push(0, &piece(1, 24, 72));
        before.push(0, &extra);
        before.push(0, &piece(1, 72, 80));
        let [(4, got)] = &before.segments()[..] else {
            panic!("no segment");
        };
        assert_eq!(got[..52], payload()[..52]);
        assert_eq!(got.len(), 60);
        assert_eq!(before.stats().bad_fragments, 1);

        let mut after = Capture::default();
        after.push(0, &piece(1, 72, 80));
        after.push(0, &extra);
        after.push(0, &piece(1, 24, 72));
        after.push(0, &piece(1, 0, 24));
        assert_eq!(after.segments(), [(4, payload())]);
        assert_eq!(after.stats().bad_fragments, 1);
    }
}

#[test]
fn fragments_beyond_the_greatest_datagram_are_ignored() {
    let mut capture = Capture::default();
    capture.push(0, &ipv4_fragment(6, 1, 65_528, true, &[0; 16]));
    capture.push(0, &ipv4_fragment(6, 1, 8, true, &[0; 7]));
    capture.push(0, &piece(1, 0, 24));
    capture.push(0, &piece(1, 24, 80));
    assert_eq!(capture.segments(), [(4, payload())]);
    assert_eq!(capture.stats().bad_fragments, 2);
}

#[test]
fn a_cut_last_fragment_makes_a_truncated_segment() {
    let mut capture = Capture::default();
    capture.push(0, &piece(1, 0, 24));
    capture.push_cut(0, &piece(1, 24, 80), 20 + 50);
    assert_eq!(capture.segments(), [(2, payload()[..54].to_vec())]);
    let segment = &capture.run(1).0.segments[0];
    assert_eq!((segment.truncated, segment.ip_bytes), (6, 100));
    // Cut in the middle it stays incomplete.
    let mut middle = Capture::default();
    middle.push_cut(0, &piece(1, 0, 24), 20 + 20);
    middle.push(0, &piece(1, 24, 80));
    assert_eq!(middle.segments(), []);
    assert_eq!(middle.stats().incomplete_at_end, 1);
}

#[test]
fn fragments_inside_fragments() {
    // The first inner fragment is itself sent in two; the second one is not, and comes first.
    let outer = |id, start, end: u16, whole: &[u8]| {
        let more = usize::from(end) < whole.len();
        let bytes = &whole[usize::from(start)..usize::from(end)];
        ipv4_fragment(4, id, start, more, bytes)
    };
    let inner = piece(7, 0, 24);
    let mut capture = Capture::default();
    capture.push(0, &outer(9, 0, 16, &inner));
    capture.push(0, &ipv4(4, &piece(7, 24, 80)));
    capture.push(0, &outer(9, 16, 44, &inner));
    assert_eq!(capture.segments(), [(3, payload())]);
    let (run, stats) = capture.run(1);
    assert_eq!((run.stats.tcp, run.stats.fragments()), (1, 2));
    assert_eq!((stats.fragments, stats.datagrams), (4, 2));
    let found = run.table.resolve(run.segments[0].encapsulation);
    assert_eq!(found.tunnel_text().as_deref(), Some("4in4"));
}

#[test]
fn complete_looks_no_further_than_it_may() {
    let mut capture = Capture::default();
    capture.push(0, &piece(1, 0, 24));
    capture.push(0, &piece(1, 24, 80));
    let mut run = Run::default();
    let mut decoder = Decoder::default();
    for (number, (_, range, _)) in (1..).zip(&capture.frames) {
        let frame = RawFrame {
            at: InputPos::new(0, range.start as u64),
            ..raw(101, &capture.input[range.clone()])
        };
        decoder.frame(&frame, number, frame.ts, &mut run);
    }
    let table = FragmentTable::new(TIMEOUT, PolicyMap::default());
    table.add(run.fragments);
    assert!(
        table
            .complete(1, &capture.input[..], &mut decoder)
            .is_empty()
    );
    assert_eq!(table.stats().fragments, 1);
    assert_eq!(table.complete(2, &capture.input[..], &mut decoder).len(), 1);
}

#[test]
fn sweeping_drops_the_stale_and_then_the_oldest() {
    let mut run = Run::default();
    let mut decoder = Decoder::default();
    for id in 1..=5u16 {
        let packet = piece(id, 0, 24);
        let now = Timestamp::from_ns(i64::from(id));
        decoder.frame(&raw(101, &packet), u64::from(id), now, &mut run);
    }
    let table = FragmentTable::new(TIMEOUT, PolicyMap::default());
    table.add(run.fragments.drain(..).rev());
    table.complete(5, &[][..], &mut decoder);
    table.sweep(Timestamp::from_ns(TIMEOUT + 2));
    assert_eq!(table.stats().timed_out, 1);
    table.sweep_to(Timestamp::from_ns(TIMEOUT + 2), 2);
    assert_eq!(table.stats().over_limit, 2);
    let mut left: Vec<u32> = table.slots.iter().map(|slot| slot.key().id).collect();
    left.sort_unstable();
    assert_eq!(left, [4, 5]);
    assert_eq!(table.finish().incomplete_at_end, 2);
}

#[test]
fn datagrams_that_one_frame_begins_inside_others_are_given_up_in_its_order() {
    let mut run = Run::default();
    let mut decoder = Decoder::default();
    let mut input = Vec::new();
    for id in 1..=16u16 {
        // Each inner fragment comes in two outer ones, and its datagram stays incomplete.
        let inner = piece(id, 0, 24);
        for (start, end) in [(0, 16), (16, inner.len())] {
            let bytes = &inner[start..end];
            let from = u16::try_from(start).unwrap();
            let packet = ipv4_fragment(4, 100 + id, from, end < inner.len(), bytes);
            let frame = RawFrame {
                at: InputPos::new(0, input.len() as u64),
                ..raw(101, &packet)
            };
            decoder.frame(&frame, 1, frame.ts, &mut run);
            input.extend_from_slice(&packet);
        }
    }
    let in_one_frame: Vec<Fragment> = (0..)
        .zip(run.fragments)
        .map(|(ordinal, fragment)| Fragment {
            ordinal,
            ..fragment
        })
        .collect();
    // Tables are seeded at random each: a few of them show any order but the frame's own.
    for backwards in [false, true, false, true] {
        let table = FragmentTable::new(TIMEOUT, PolicyMap::default());
        let mut handed_in = in_one_frame.clone();
        if backwards {
            handed_in.reverse();
        }
        table.add(handed_in);
        table.complete(1, &input[..], &mut decoder);
        table.sweep_to(Timestamp::NONE, 8);
        assert_eq!(table.stats().over_limit, 8);
        let mut left: Vec<u32> = table.slots.iter().map(|slot| slot.key().id).collect();
        left.sort_unstable();
        assert_eq!(left, (9..=16).collect::<Vec<u32>>());
    }
}

#[test]
fn fragments_that_lie_in_no_file_are_held_up_to_a_bound() {
    const LEN: u32 = 65_528;
    const COUNT: u16 = 5000;
    let mut run = Run::default();
    let mut decoder = Decoder::default();
    let now = Timestamp::from_ns(1);
    for id in 0..COUNT {
        decoder.frame(&raw(101, &piece(id, 0, 24)), u64::from(id), now, &mut run);
    }
    let table = FragmentTable::new(TIMEOUT, PolicyMap::default());
    table.add(run.fragments.drain(..).map(|fragment| Fragment {
        payload: Payload::owned(&Arc::from([]), 0, LEN),
        ..fragment
    }));
    table.complete(u64::from(COUNT), &[][..], &mut decoder);
    let held = MAX_HELD_BYTES / LEN as usize;
    let left = table.slots.iter().filter(|slot| slot.held.is_some());
    assert_eq!(left.count(), held);
    let over = u64::from(COUNT) - held as u64;
    assert_eq!(table.stats().over_limit, over);
    table.sweep(Timestamp::from_ns(TIMEOUT + 2));
    assert_eq!(table.stats().timed_out, held as u64);
    assert_eq!(table.lock().owned, 0);
    assert!(table.slots.is_empty());
}

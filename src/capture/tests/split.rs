//! Walks in pieces see what one walk sees, whatever the pieces, the windows and the damage.

use proptest::prelude::*;

use super::*;

fn assert_same_in_pieces(capture: &[u8], stops: &[u64], size: usize) {
    let whole = walk(capture);
    let pieces = walk_pieces(capture, stops, size);
    assert_eq!(whole.0, pieces.0, "frames");
    assert_eq!(whole.2, pieces.2, "stats");
    assert_eq!(whole.1, pieces.1, "state");
}

#[test]
fn every_split_point_of_every_format() {
    for capture in samples() {
        for stop in 0..=capture.len() as u64 {
            assert_same_in_pieces(&capture, &[stop], 64);
        }
    }
}

#[test]
fn a_state_outside_the_window_makes_no_progress() {
    let capture = PcapFile::new(MICROS, false).build(&[frame(1, 60), frame(2, 60)]);
    let all = walk(&capture).1;
    for (from, state) in [(100, start(&capture)), (0, all.at(1000))] {
        let part = window(&capture, from, 30);
        let mut walker = Walker::new(&part, state.clone(), u64::MAX);
        assert!(walker.next().is_none());
        let (after, stats) = walker.finish();
        assert_eq!((after, stats), (state, WalkStats::default()));
    }
}

fn sorted(mut stops: Vec<u64>) -> Vec<u64> {
    stops.sort_unstable();
    stops
}

/// A sample with bytes overwritten, removed and inserted.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let edit = (
        any::<prop::sample::Index>(),
        0..4u8,
        any::<u8>(),
        1..40usize,
    );
    (0..samples().len(), prop::collection::vec(edit, 0..5)).prop_map(|(sample, edits)| {
        let mut capture = samples().swap_remove(sample);
        for (at, what, value, count) in edits {
            let at = 28 + at.index(capture.len() - 28);
            match what {
                0 => capture[at] ^= value,
                1 => capture[at] = value,
                2 => drop(capture.drain(at..(at + count).min(capture.len()))),
                _ => drop(capture.splice(at..at, vec![value; count])),
            }
            if capture.len() < 40 {
                break;
            }
        }
        capture
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn pieces_of_damaged_captures(
        capture in damaged(),
        stops in prop::collection::vec(0..2000u64, 0..6).prop_map(sorted),
        size in 1..400usize,
    ) {
        assert_same_in_pieces(&capture, &stops, size);
    }

    #[test]
    fn pieces_of_noise(
        noise in prop::collection::vec(any::<u8>(), 0..3000),
        sample in 0..samples().len(),
        stops in prop::collection::vec(0..3000u64, 0..4).prop_map(sorted),
        size in 1..400usize,
    ) {
        let mut capture = samples().swap_remove(sample);
        capture.truncate(100);
        capture.extend(noise);
        assert_same_in_pieces(&capture, &stops, size);
    }

    /// Noise whose integers are small is far likelier to look like headers.
    #[test]
    fn pieces_of_plausible_noise(
        noise in prop::collection::vec(prop_oneof![4 => Just(0u8), 2 => 1..32u8, 1 => any::<u8>()], 0..3000),
        sample in 0..samples().len(),
        stops in prop::collection::vec(0..3000u64, 0..4).prop_map(sorted),
        size in 1..400usize,
    ) {
        let mut capture = samples().swap_remove(sample);
        capture.truncate(100);
        capture.extend(noise);
        assert_same_in_pieces(&capture, &stops, size);
    }
}

/// A damaged block's packet length was once asked for in a window that did not reach it. Two damaged
/// blocks are needed, since the search finds its way alone behind one.
#[test]
fn a_damaged_block_is_measured_alike_whatever_the_window() {
    for sample in samples() {
        for at in (28..sample.len()).step_by(4) {
            for other in (28..sample.len()).step_by(64) {
                let mut capture = sample.clone();
                capture[at] ^= 0x11;
                capture[other] ^= 1;
                assert_same_in_pieces(&capture, &[], 38);
            }
        }
    }
}

//! Bytes that nobody chose: nothing panics, every frame has one outcome, and no segment refers to
//! bytes outside its frame.

use proptest::prelude::*;

use super::build::*;
use crate::model::RawFrame;

fn holds(link: u16, data: &[u8], original_len: u32, fcs_len: u8) {
    let frame = RawFrame {
        original_len,
        fcs_len,
        ..raw(link, data)
    };
    for run in [decode(&frame), verify(&frame)] {
        for segment in &run.segments {
            assert_eq!(text(segment, data).len(), segment.payload.len() as usize);
        }
        for fragment in &run.fragments {
            let bytes = fragment.payload.bytes(data);
            assert_eq!(bytes.len(), fragment.payload.len() as usize);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn random_bytes_on_every_link_type(
        data in prop::collection::vec(any::<u8>(), 0..200),
        more in 0u32..100,
        fcs_len in 0u8..8,
    ) {
        for link in 0..300 {
            holds(link, &data, u32::try_from(data.len()).unwrap() + more, fcs_len);
        }
    }

    /// Changes a few bytes of frames that are read deeply.
    #[test]
    fn damaged_tunnels(changes in prop::collection::vec((any::<u16>(), any::<u8>()), 1..6)) {
        let vxlan = cat![[8, 0, 0, 0, 0, 0, 1, 0], ethernet(0x86dd, &packet6())];
        let erspan = cat![[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 1, 4, 5, 0, 0, 0, 0],
            ethernet(0x8100, &cat![[0, 1, 8, 0], ipv4(17, &udp(4789, &vxlan))])];
        let mut frame = ethernet(0x0800, &ipv4(47, &erspan));
        for (at, value) in changes {
            let at = usize::from(at) % frame.len();
            frame[at] = value;
        }
        holds(ETHERNET, &frame, u32::try_from(frame.len()).unwrap(), 0);
    }
}

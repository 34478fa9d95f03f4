//! What a generated capture is to be like.

use super::super::capture_file::Format;

/// Shares are probabilities from 0 to 1: of segments where they name an impairment, of flows where
/// they name a kind of flow.
#[derive(Clone, Debug)]
pub struct Config {
    /// Everything random follows from it.
    pub seed: u64,
    /// Flows.
    pub flows: u64,
    /// About how large the capture becomes.
    pub bytes: u64,
    /// Flows under way at any time.
    pub concurrent: usize,
    /// How much the sizes of flows differ.
    pub sizes: Sizes,
    /// Capture file format.
    pub format: Format,
    /// Captured bytes of a frame at most; 0 = all.
    pub snaplen: usize,
    /// Segments that the tap missed although the receiver got them.
    pub loss: f64,
    /// Segments that come 1 to 8 of their flow's segments late.
    pub reorder: f64,
    /// Segments that come again later.
    pub retransmit: f64,
    /// Segments after which a range that straddles their start comes again.
    pub overlap: f64,
    /// Frames captured twice in a row.
    pub duplicate: f64,
    /// Idle moments in which a keep-alive is sent.
    pub keepalive: f64,
    /// Flows of which the beginning was not captured.
    pub midstream: f64,
    /// Flows that take the addresses and ports of one that was just closed.
    pub reuse: f64,
    /// Flows in which both sides speak several times.
    pub conversation: f64,
    /// The share of all bytes that the first flow has to itself.
    pub elephant: f64,
    /// Flows that end with RST.
    pub reset: f64,
    /// Flows that are left open.
    pub open: f64,
    /// Flows over IPv6.
    pub ipv6: f64,
    /// Flows with one VLAN tag; a third of them have two.
    pub vlan: f64,
    /// Flows whose data segments come in IP fragments.
    pub fragment: f64,
    /// Flows whose sequence numbers wrap early on.
    pub wrap: f64,
    /// Frames stamped a little before the frame ahead of them.
    pub time_disorder: f64,
    /// Mean time between frames, nanoseconds.
    pub frame_gap_ns: u64,
}

/// How the sizes of flows are spread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sizes {
    /// From half to one and a half times the mean.
    Even,
    /// Many small ones, a few very large ones.
    HeavyTail,
}

/// A named set of defaults.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Profile {
    /// Few long flows of large segments.
    Bulk,
    /// Many flows of all sizes.
    Mixed,
    /// A great many flows of about ten frames.
    Small,
    /// One flow that has nine tenths of the bytes, and a mix of small ones beside it.
    Elephant,
    /// As `Mixed`, with everything that goes wrong on a network and at a tap.
    Impaired,
}

impl Config {
    /// The defaults of a profile.
    pub fn of(profile: Profile) -> Config {
        let plain = Config {
            seed: 1,
            flows: 2_000,
            bytes: 2_100_000_000,
            concurrent: 256,
            sizes: Sizes::Even,
            format: Format::Pcap {
                big_endian: false,
                nanos: false,
            },
            snaplen: 0,
            loss: 0.0,
            reorder: 0.0,
            retransmit: 0.0,
            overlap: 0.0,
            duplicate: 0.0,
            keepalive: 0.0,
            midstream: 0.0,
            reuse: 0.0,
            conversation: 0.3,
            elephant: 0.0,
            reset: 0.0,
            open: 0.0,
            ipv6: 0.0,
            vlan: 0.0,
            fragment: 0.0,
            wrap: 0.01,
            time_disorder: 0.0,
            frame_gap_ns: 10_000,
        };
        match profile {
            Profile::Bulk => plain,
            Profile::Mixed => Config {
                flows: 200_000,
                bytes: 2_600_000_000,
                concurrent: 4_000,
                sizes: Sizes::HeavyTail,
                reset: 0.08,
                open: 0.02,
                ipv6: 0.2,
                vlan: 0.1,
                retransmit: 0.002,
                reorder: 0.002,
                ..plain
            },
            Profile::Small => Config {
                flows: 1_000_000,
                bytes: 1_400_000_000,
                concurrent: 29_200,
                conversation: 0.0,
                ..plain
            },
            Profile::Elephant => Config {
                flows: 20_000,
                concurrent: 1_000,
                elephant: 0.9,
                ..Config::of(Profile::Mixed)
            },
            Profile::Impaired => Config {
                flows: 20_000,
                bytes: 500_000_000,
                concurrent: 1_000,
                sizes: Sizes::HeavyTail,
                loss: 0.01,
                reorder: 0.02,
                retransmit: 0.01,
                overlap: 0.005,
                duplicate: 0.005,
                keepalive: 0.02,
                midstream: 0.05,
                reuse: 0.05,
                reset: 0.1,
                open: 0.05,
                ipv6: 0.2,
                vlan: 0.2,
                fragment: 0.05,
                wrap: 0.1,
                time_disorder: 0.001,
                ..plain
            },
        }
    }
}

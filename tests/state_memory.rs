//! What flows cost the core: nothing is allocated for a segment in order, and the bytes of memory for each
//! flow and for each segment that waits.

#![expect(unsafe_code, reason = "an allocator that counts is one")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bulkreasm::model::{
    Encapsulation, Endpoint, FlowKey, InputPos, Payload, Segment, Side, SynOptions, TcpFlags,
    Timestamp,
};
use bulkreasm::reassembly::{Arrival, Reassembler};
use support::reassembler::{Told, reassembler};

thread_local! {
    /// Of this thread: how often memory was asked for, and bytes that were and were not given back.
    static ASKED: Cell<u64> = const { Cell::new(0) };
    static HELD: Cell<i64> = const { Cell::new(0) };
}

struct Counting;

fn note(bytes: usize, sign: i64) {
    HELD.set(HELD.get() + sign * i64::try_from(bytes).unwrap_or(i64::MAX));
}

// SAFETY: every call goes to the system's allocator as it is; the counters allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ASKED.set(ASKED.get() + 1);
        note(layout.size(), 1);
        // SAFETY: the caller's promises are those that are asked for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        note(layout.size(), -1);
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Bytes of a segment's payload.
const LEN: u32 = 1000;

struct Shard {
    core: Reassembler,
    told: Told,
    frame: u64,
}

impl Shard {
    fn new() -> Shard {
        Shard {
            core: reassembler(1 << 40),
            told: Told::default(),
            frame: 0,
        }
    }

    fn send(&mut self, host: u32, from: Side, flags: u8, (seq, ack): (u32, u32), len: u32) {
        self.frame += 1;
        let [a, b, c, d] = host.to_be_bytes();
        let client = Endpoint::v4([a, b, c, d], 1000);
        let (key, _) = FlowKey::v4(client, Endpoint::v4([255, 0, 0, 1], 80));
        let ts = Timestamp::from_ns(i64::try_from(self.frame).unwrap_or(0) * 1000);
        let segment = Segment {
            key,
            from,
            frame: self.frame,
            ordinal: 0,
            ts,
            watermark: ts,
            seq,
            ack,
            window: 65_535,
            flags: TcpFlags(flags),
            has_sack: false,
            mark: 0,
            syn_options: SynOptions::default(),
            payload: Payload::Input {
                at: InputPos::new(0, self.frame * 2000),
                len,
            },
            truncated: 0,
            ip_bytes: 40 + len,
            encapsulation: 0,
            file_id: 0,
        };
        let arrival = Arrival {
            segment: &segment,
            encapsulation: &Encapsulation::default(),
            frames: &[],
        };
        let nothing: &[u8] = &[];
        self.core
            .segment(arrival, &nothing.to_vec(), &mut self.told);
    }

    fn handshake(&mut self, host: u32) {
        self.send(host, Side::Lower, TcpFlags::SYN, (0, 0), 0);
        self.send(host, Side::Upper, TcpFlags::SYN | TcpFlags::ACK, (0, 1), 0);
        self.send(host, Side::Lower, TcpFlags::ACK, (1, 1), 0);
    }

    /// The client's segment number `number`, and its acknowledgement.
    fn exchange(&mut self, host: u32, number: u32) {
        let at = 1 + number * LEN;
        self.send(host, Side::Lower, TcpFlags::ACK, (at, 1), LEN);
        self.send(host, Side::Upper, TcpFlags::ACK, (1, at + LEN), 0);
    }
}

#[test]
fn nothing_is_allocated_for_a_segment_in_order() {
    let mut shard = Shard::new();
    shard.handshake(1);
    // Until the pieces that copies are compared with are as many as they become.
    for number in 0..600 {
        shard.exchange(1, number);
    }
    let (asked, bytes) = (ASKED.get(), shard.told.bytes);
    for number in 600..20_600 {
        shard.exchange(1, number);
    }
    assert_eq!(shard.told.bytes - bytes, 20_000 * u64::from(LEN));
    assert_eq!(ASKED.get() - asked, 0);
}

#[test]
fn a_small_flow_allocates_nothing_of_its_own() {
    const FLOWS: u32 = 10_000;
    let mut shard = Shard::new();
    let asked = ASKED.get();
    for host in 0..FLOWS {
        shard.handshake(host);
        shard.exchange(host, 0);
        shard.exchange(host, 1);
    }
    // Blocks of 32 flows, and tables that double.
    let most = u64::from(FLOWS) / 32 + 100;
    assert!(ASKED.get() - asked < most, "{}", ASKED.get() - asked);
}

#[test]
fn memory_grows_with_flows_and_with_segments_that_wait() {
    const MANY: u32 = 10_000;
    let mut shard = Shard::new();
    let held = HELD.get();
    let each = |held: i64| (HELD.get() - held) / i64::from(MANY);
    for host in 0..MANY {
        shard.handshake(host);
        shard.exchange(host, 0);
    }
    let flow = each(held);
    assert!((900..1200).contains(&flow), "{flow} bytes for a flow");

    let mut shard = Shard::new();
    shard.handshake(1);
    shard.exchange(1, 0);
    let held = HELD.get();
    // Every second one is lost, until holes are taken for final.
    let waiting = 4000;
    for number in 1..=waiting {
        shard.send(
            1,
            Side::Lower,
            TcpFlags::ACK,
            (1 + number * 2 * LEN, 1),
            LEN,
        );
    }
    let segment = (HELD.get() - held) / i64::from(waiting);
    assert!((20..80).contains(&segment), "{segment} bytes for a segment");

    let mut shard = Shard::new();
    shard.handshake(1);
    shard.exchange(1, 0);
    let held = HELD.get();
    // Behind a hole too large to stand open in a file, until it is taken for final.
    let waiting = 1000;
    for number in 0..waiting {
        let at = 1 + LEN + (20 << 20) + number * LEN;
        shard.send(1, Side::Upper, TcpFlags::ACK, (1, at), 0);
        shard.send(1, Side::Lower, TcpFlags::ACK, (at, 1), LEN);
    }
    let segment = (HELD.get() - held) / i64::from(waiting);
    assert!((20..80).contains(&segment), "{segment} bytes for a segment");
}

//! One forged segment at every place of connections made here.
//!
//! A receiver after RFC 9293, 3.10.7, and RFC 5961 tells whether the forged segment reaches its application. What it
//! discards must not change a stream. Of what it would take, the capture cannot know better: then every
//! true byte stands at its offset or is in a conflict row, and so is every forged byte that stands where a true one was
//! captured.

use super::*;
use crate::model::TcpFlags;
use crate::model::seq::distance;

/// Where forged bytes lie in the input; true bytes lie before.
const FORGED_AT: u64 = 400;
const FORGED_LEN: u32 = 9;

/// A segment of the script, in numbers of the wire.
#[derive(Clone, Copy, Debug)]
struct Line {
    client: bool,
    seq: u32,
    ack: u32,
    flags: u8,
    /// Place of its payload in the input.
    at: u64,
    len: u32,
    /// The tap saw it.
    captured: bool,
}

impl Line {
    fn builder(&self) -> B {
        let new = if self.client { B::client } else { B::server };
        new(self.seq, self.ack)
            .payload(self.at, self.len)
            .flags(self.flags)
            .window(60_000)
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// What it takes up of the sequence numbers.
    fn span(&self) -> u32 {
        self.len + u32::from(self.has(SYN)) + u32::from(self.has(FIN))
    }
}

const FIN: u8 = TcpFlags::FIN;
const SYN: u8 = TcpFlags::SYN;
const RST: u8 = TcpFlags::RST;
const PSH: u8 = TcpFlags::PSH;
const ACK: u8 = TcpFlags::ACK;

/// Writes a connection; `[0]` is the client.
struct Script {
    lines: Vec<Line>,
    next: [u32; 2],
    at: u64,
}

impl Script {
    fn new(isns: [u32; 2]) -> Script {
        Script {
            lines: Vec::new(),
            next: isns,
            at: 0,
        }
    }

    /// The next segment of a side.
    fn say(mut self, side: usize, flags: u8, len: u32) -> Script {
        let line = Line {
            client: side == 0,
            seq: self.next[side],
            ack: if flags & ACK == 0 {
                0
            } else {
                self.next[1 - side]
            },
            flags,
            at: self.at,
            len,
            captured: true,
        };
        self.at += u64::from(len);
        self.next[side] = line.seq.wrapping_add(line.span());
        self.lines.push(line);
        self
    }

    fn handshake(self) -> Script {
        self.say(0, SYN, 0).say(1, SYN | ACK, 0).say(0, ACK, 0)
    }

    fn close(self) -> Script {
        self.say(0, FIN | ACK, 0)
            .say(1, FIN | ACK, 0)
            .say(0, ACK, 0)
    }

    /// The last segment is not captured.
    fn lost(mut self) -> Script {
        self.lines.last_mut().unwrap().captured = false;
        self
    }

    /// The last two segments come in the other order.
    fn swapped(mut self) -> Script {
        let last = self.lines.len() - 1;
        self.lines.swap(last - 1, last);
        self
    }

    /// A segment is sent again.
    fn again(mut self, back: usize) -> Script {
        let line = self.lines[self.lines.len() - back];
        self.lines.push(line);
        self
    }

    /// Only what the client sends is captured.
    fn one_way(mut self) -> Script {
        for line in &mut self.lines {
            line.captured &= line.client;
        }
        self
    }
}

/// A connection that begins before the capture does.
fn midstream() -> Script {
    let mut script = Script::new([7000, 90_000])
        .handshake()
        .say(0, PSH | ACK, 20);
    for line in &mut script.lines {
        line.captured = false;
    }
    script
}

fn connections() -> Vec<(&'static str, Script)> {
    let new = Script::new;
    vec![
        ("plain", {
            let request = new([1000, 5000]).handshake().say(0, PSH | ACK, 30);
            request
                .say(1, ACK, 0)
                .say(1, PSH | ACK, 40)
                .say(0, ACK, 0)
                .close()
        }),
        ("across the wrap", {
            let request = new([u32::MAX - 20, u32::MAX - 10]).handshake();
            request
                .say(0, PSH | ACK, 30)
                .say(1, PSH | ACK, 40)
                .say(0, ACK, 0)
                .close()
        }),
        ("the server speaks first", {
            let banner = new([1 << 31, 3 << 30]).handshake().say(1, PSH | ACK, 20);
            banner
                .say(0, ACK, 0)
                .say(0, PSH | ACK, 10)
                .say(1, PSH | ACK, 15)
                .say(0, ACK, 0)
                .close()
        }),
        ("data in several segments", {
            let many = new([77, 99])
                .handshake()
                .say(0, ACK, 25)
                .say(0, ACK, 25)
                .say(0, PSH | ACK, 25);
            many.say(1, ACK, 0)
                .say(1, PSH | ACK, 30)
                .say(0, ACK, 0)
                .close()
        }),
        ("out of order", {
            let many = new([10_000, 20_000])
                .handshake()
                .say(0, ACK, 25)
                .say(0, PSH | ACK, 25)
                .swapped();
            many.say(1, ACK, 0)
                .say(1, PSH | ACK, 30)
                .say(0, ACK, 0)
                .close()
        }),
        ("sent again", {
            let twice = new([40_000, 50_000])
                .say(0, SYN, 0)
                .again(1)
                .say(1, SYN | ACK, 0)
                .again(1);
            let twice = twice
                .say(0, ACK, 0)
                .say(0, PSH | ACK, 25)
                .again(1)
                .say(1, ACK, 0);
            twice.say(1, PSH | ACK, 30).say(0, ACK, 0).close()
        }),
        ("a segment is not captured", {
            let lossy = new([4_000_000, 9_000_000])
                .handshake()
                .say(0, ACK, 25)
                .lost()
                .say(0, PSH | ACK, 25);
            lossy
                .say(1, ACK, 0)
                .say(1, ACK, 30)
                .say(1, PSH | ACK, 30)
                .say(0, ACK, 0)
                .close()
        }),
    ]
}

fn unusual_connections() -> Vec<(&'static str, Script)> {
    let new = Script::new;
    vec![
        ("half closed", {
            let half = new([600, 800])
                .handshake()
                .say(0, PSH | ACK, 30)
                .say(0, FIN | ACK, 0)
                .say(1, ACK, 0);
            half.say(1, PSH | ACK, 40)
                .say(0, ACK, 0)
                .say(1, FIN | ACK, 0)
                .say(0, ACK, 0)
        }),
        ("reset", {
            let request = new([123_456, 654_321])
                .handshake()
                .say(0, PSH | ACK, 30)
                .say(1, PSH | ACK, 20);
            request.say(0, ACK, 0).say(0, RST | ACK, 0)
        }),
        ("data on the SYN", {
            let fast = new([31_000, 32_000])
                .say(0, SYN, 20)
                .say(1, SYN | ACK, 0)
                .say(0, ACK, 0);
            fast.say(1, PSH | ACK, 30).say(0, ACK, 0).close()
        }),
        ("one way", {
            let request = new([1000, 5000])
                .handshake()
                .say(0, PSH | ACK, 30)
                .say(1, PSH | ACK, 40);
            request
                .say(0, ACK, 0)
                .say(0, PSH | ACK, 20)
                .say(1, ACK, 0)
                .close()
                .one_way()
        }),
        ("mid-stream", {
            let rest = midstream()
                .say(1, PSH | ACK, 30)
                .say(0, ACK, 0)
                .say(0, PSH | ACK, 20)
                .say(1, ACK, 0);
            rest.close()
        }),
    ]
}

/// An end of the connection, after RFC 9293, 3.3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Listen,
    SynSent,
    SynReceived,
    Established,
    /// The peer's FIN, and all before it, has come.
    PeerClosed,
}

#[derive(Clone, Copy, Debug)]
struct End {
    state: State,
    send_first: u32,
    send_next: u32,
    unacknowledged: u32,
    receive_next: u32,
    window: u32,
}

/// What came out of order waits as its bounds, which is all that is asked here.
struct Ends {
    ends: [End; 2],
    waiting: [Vec<(u32, u32, bool)>; 2],
}

impl Ends {
    fn new() -> Ends {
        // Numbers of nothing, for what is forged before the connection begins.
        let end = |state| End {
            state,
            send_first: 0,
            send_next: 0x5234_5678,
            unacknowledged: 0,
            receive_next: 0,
            window: 60_000,
        };
        Ends {
            ends: [end(State::Closed), end(State::Listen)],
            waiting: [Vec::new(), Vec::new()],
        }
    }

    /// Both ends after a true segment.
    fn take(&mut self, line: &Line) {
        let from = usize::from(!line.client);
        let own = &mut self.ends[from];
        let end = line.seq.wrapping_add(line.span());
        if line.has(SYN) {
            own.send_first = line.seq;
            own.unacknowledged = line.seq;
            own.send_next = end;
            own.state = if line.has(ACK) {
                State::SynReceived
            } else {
                State::SynSent
            };
        } else if distance(own.send_next, end) > 0 {
            own.send_next = end;
        }
        if line.has(RST) {
            self.ends
                .iter_mut()
                .for_each(|end| end.state = State::Closed);
            return;
        }
        let peer = &mut self.ends[1 - from];
        if line.has(ACK) && distance(peer.unacknowledged, line.ack) > 0 {
            peer.unacknowledged = line.ack;
        }
        match peer.state {
            State::Listen | State::SynSent if line.has(SYN) => {
                peer.receive_next = end;
                if peer.state == State::SynSent {
                    peer.state = State::Established;
                }
            }
            State::SynReceived if line.has(ACK) => peer.state = State::Established,
            _ => {}
        }
        if line.has(SYN) {
            return;
        }
        let waiting = &mut self.waiting[1 - from];
        waiting.push((line.seq, end, line.has(FIN)));
        while let Some(at) = waiting.iter().position(|(seq, end, _)| {
            distance(*seq, peer.receive_next) >= 0 && distance(peer.receive_next, *end) > 0
        }) {
            let (_, end, fin) = waiting.remove(at);
            peer.receive_next = end;
            if fin {
                peer.state = State::PeerClosed;
            }
        }
    }

    /// Whether the receiver of a segment takes something of it (RFC 9293, 3.10.7; RFC 5961, 3 to 5).
    fn takes(&self, line: &Line) -> bool {
        let end = self.ends[usize::from(line.client)];
        let acks =
            |from: u32| distance(from, line.ack) > 0 && distance(line.ack, end.send_next) >= 0;
        match end.state {
            State::Closed => false,
            State::Listen => line.flags & (SYN | RST | ACK) == SYN,
            State::SynSent => {
                if line.has(ACK) && !acks(end.send_first) {
                    return false;
                }
                line.has(SYN) || (line.has(RST) && line.has(ACK))
            }
            State::SynReceived | State::Established | State::PeerClosed => {
                let ahead = i64::from(distance(end.receive_next, line.seq));
                let last = ahead + i64::from(line.span()) - 1;
                let within = |at: i64| (0..i64::from(end.window)).contains(&at);
                let fits = within(ahead) || (line.span() > 0 && within(last));
                if !fits || line.has(SYN) {
                    return false;
                }
                if line.has(RST) {
                    return ahead == 0;
                }
                if !line.has(ACK) || end.state == State::PeerClosed && line.span() > 0 {
                    return false;
                }
                if end.state == State::SynReceived {
                    return acks(end.unacknowledged);
                }
                distance(end.unacknowledged.wrapping_sub(end.window), line.ack) >= 0
                    && distance(line.ack, end.send_next) >= 0
            }
        }
    }
}

/// Forged segments for a receiver in this state.
fn forgeries(to_client: bool, ends: &Ends) -> Vec<(&'static str, Line)> {
    let receiver = ends.ends[usize::from(!to_client)];
    let sender = ends.ends[usize::from(to_client)];
    let base = match receiver.state {
        State::Closed | State::Listen | State::SynSent => sender.send_next,
        _ => receiver.receive_next,
    };
    let good_ack = receiver.send_next;
    let mut all = Vec::new();
    // At, near, just before, far beyond and below what the receiver expects.
    let numbers = [
        base,
        base.wrapping_add(1000),
        base.wrapping_sub(1),
        base.wrapping_add(1 << 30),
        base.wrapping_sub(200_000),
    ];
    // Right, a little too much, far too much, and long ago.
    let acks = [
        good_ack,
        good_ack.wrapping_add(500),
        good_ack.wrapping_add(1 << 29),
        good_ack.wrapping_sub(1 << 28),
    ];
    let kinds = [
        ("SYN", SYN, 0),
        ("SYN with data", SYN, FORGED_LEN),
        ("SYN-ACK", SYN | ACK, 0),
        ("ACK", ACK, 0),
        ("FIN", FIN | ACK, 0),
        ("FIN without ACK", FIN, 0),
        ("RST", RST, 0),
        ("RST-ACK", RST | ACK, 0),
        ("data", PSH | ACK, FORGED_LEN),
        ("data without ACK", PSH, FORGED_LEN),
    ];
    for (kind, flags, len) in kinds {
        for seq in numbers {
            for ack in acks {
                if flags & ACK == 0 && ack != good_ack {
                    continue;
                }
                let line = Line {
                    client: !to_client,
                    seq,
                    ack: if flags & ACK == 0 { 0 } else { ack },
                    flags,
                    at: FORGED_AT,
                    len,
                    captured: true,
                };
                all.push((kind, line));
            }
        }
    }
    all
}

/// The bytes of both directions by offset, what conflict rows cover, and the bytes that gaps claim.
#[derive(Default, PartialEq, Eq, Debug, Clone)]
struct Streams {
    bytes: [BTreeMap<u64, u8>; 2],
    conflicts: [Vec<(u64, u64)>; 2],
    gap_bytes: u64,
    rejected: u64,
}

fn input() -> Vec<u8> {
    let mut input: Vec<u8> = (0..FORGED_AT).map(|at| b'a' + (at % 23) as u8).collect();
    input.extend([b'#'; FORGED_LEN as usize]);
    input
}

/// Runs lines, and gives the streams by the side that sent them, whatever flows they are in.
fn streams(lines: &[Line], input: &[u8]) -> Streams {
    let captured = lines.iter().filter(|line| line.captured);
    let timed = (1..)
        .zip(captured)
        .map(|(at, line)| line.builder().at(ms(at)));
    let out = run(input, timed.collect());
    // The flow that most of the connection is in.
    let main = out
        .flows
        .iter()
        .max_by_key(|flow| flow.halves.iter().map(|half| half.packets).sum::<u64>())
        .unwrap();
    let side_of = |direction: Direction| {
        let client_is_lower = main.client == Side::Lower;
        usize::from((direction == Direction::C2s) != client_is_lower)
    };
    let mut streams = Streams::default();
    for run in &out.data {
        if run.flow.flow_id == main.flow_id {
            for (at, &byte) in (run.offset..).zip(run.payload.bytes(input).iter()) {
                streams.bytes[side_of(run.direction)].insert(at, byte);
            }
        }
    }
    for row in &out.conflicts {
        if row.flow_id == main.flow_id {
            streams.conflicts[side_of(row.direction)].push((row.offset, row.offset + row.length));
        }
    }
    let gaps = out.gaps.iter().filter(|gap| gap.flow_id == main.flow_id);
    streams.gap_bytes = gaps.map(|gap| gap.length).sum();
    streams.rejected = main
        .halves
        .iter()
        .map(|half| half.trouble().rejected_bytes)
        .sum();
    streams
}

#[test]
fn one_forged_segment_anywhere() {
    let input = input();
    let mut counts: BTreeMap<(&str, bool), u32> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (name, script) in connections().into_iter().chain(unusual_connections()) {
        let lines = script.lines;
        let truth = streams(&lines, &input);
        let both_ways = lines.iter().any(|line| line.captured && !line.client);
        let whole = lines.iter().all(|line| line.captured);
        let mut ends = Ends::new();
        // What comes after a RST may have been under way, for all that the capture tells.
        let mut over = false;
        for place in 0..=lines.len() {
            for to_client in [false, true] {
                for (kind, forged) in forgeries(to_client, &ends) {
                    let taken = ends.takes(&forged);
                    let mut with = lines.clone();
                    with.insert(place, forged);
                    let got = streams(&with, &input);
                    *counts.entry((kind, taken)).or_default() += 1;
                    let mut fault = "";
                    // Where the capture lacks what the receiver goes by, it cannot tell what that discards.
                    if !taken && whole && !over {
                        if got.bytes != truth.bytes {
                            fault = "discarded, and changes a stream";
                        } else if got.gap_bytes != truth.gap_bytes {
                            fault = "discarded, and makes a gap";
                        }
                    }
                    for side in 0..2 {
                        let clash = |at: u64| {
                            got.conflicts[side]
                                .iter()
                                .any(|(from, to)| (*from..*to).contains(&at))
                        };
                        let kept = &got.bytes[side];
                        let lost = if whole || name != "mid-stream" {
                            let mut bytes = truth.bytes[side].iter();
                            bytes.any(|(at, byte)| kept.get(at) != Some(byte) && !clash(*at))
                        } else {
                            // Where no SYN tells, a forged one moves offset 0.
                            let text = |bytes: &BTreeMap<u64, u8>| {
                                bytes
                                    .values()
                                    .map(|&byte| char::from(byte))
                                    .collect::<String>()
                            };
                            got.conflicts[side].is_empty()
                                && !text(kept).contains(&text(&truth.bytes[side]))
                        };
                        if lost {
                            fault = "a true byte is lost";
                        }
                    }
                    if !fault.is_empty() && (both_ways || taken) {
                        wrong.push(format!(
                            "{name}: {kind} before {place}, {forged:?}: {fault}"
                        ));
                    }
                }
            }
            if let Some(line) = lines.get(place) {
                ends.take(line);
                over |= line.has(RST);
            }
        }
    }
    for kind in ["SYN", "SYN-ACK", "ACK", "FIN", "RST", "data"] {
        for taken in [false, true] {
            assert!(
                counts.contains_key(&(kind, taken)),
                "no {kind}, taken: {taken}"
            );
        }
    }
    let shown = wrong
        .iter()
        .take(40)
        .cloned()
        .collect::<Vec<_>>()
        .join("\n");
    assert!(
        wrong.is_empty(),
        "{} of {:?}:\n{shown}",
        wrong.len(),
        counts
    );
}

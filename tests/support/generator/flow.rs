//! One generated connection: what it sends next, and what becomes of that on the way to the tap.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::super::payload::Content;
use super::super::prng::Prng;
use super::super::range_set::RangeSet;
use super::super::truth::HalfFacts;
use super::super::wire::Link;
use super::config::{Config, Sizes};

pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const PSH: u8 = 0x08;
pub const ACK: u8 = 0x10;

/// Numbers this near to those of a closed connection may be strays of it.
const NEAR: u32 = 64 << 20;

/// A segment to be captured. Offsets are stream offsets; −1 is the SYN itself.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// 0 = from the client, 1 = from the server.
    pub from: usize,
    /// TCP flags.
    pub flags: u8,
    /// Stream offset of the first payload byte.
    pub offset: i64,
    /// Payload bytes.
    pub len: usize,
    /// Acknowledged offset of the other direction.
    pub ack: i64,
    /// A probe whose payload is not stream data.
    pub probe: bool,
    /// Captured twice in a row.
    pub twice: bool,
}

/// How a flow ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Both sides send FIN.
    Fin,
    /// One side sends RST.
    Rst,
    /// Not in this capture.
    Open,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Syn,
    SynAck,
    HandshakeAck,
    Data,
    SecondFin,
    LastAck,
    Done,
}

/// The state of a connection under way.
#[derive(Debug)]
pub struct Flow {
    /// Client and server.
    pub ends: [SocketAddr; 2],
    /// Initial sequence numbers.
    pub isn: [u32; 2],
    /// VLAN tags.
    pub link: Link,
    /// Segments carry timestamp options.
    pub timestamps: bool,
    /// Frames are padded to 60 bytes.
    pub padded: bool,
    /// Data comes in IP fragments of this many bytes.
    pub fragment: Option<usize>,
    /// How it ends.
    pub end: End,
    /// Its beginning was not captured.
    pub midstream: bool,
    /// The frame that completes its first segment, once there is one, and who sent that.
    pub first: Option<(u64, usize)>,
    /// Client, server.
    pub halves: [HalfFacts; 2],
    closer: usize,
    phase: Phase,
    turns: VecDeque<(usize, u64)>,
    unacked: u32,
    mss: u64,
    delayed: Vec<(u32, Plan)>,
}

/// The ends of flow number `index`: different for every index.
pub fn ends(index: u64, ipv6: bool, prng: &mut Prng) -> [SocketAddr; 2] {
    let port = 32_768 + (index % 28_000) as u16;
    let host = (index / 28_000) as u32;
    let server_host = prng.between(1, 200) as u8;
    let server_port = [80, 443, 8080, 25, 5201][prng.below(5) as usize];
    if ipv6 {
        let net = Ipv6Addr::new(
            0x2001,
            0xdb8,
            1,
            0,
            0,
            0,
            (host >> 16) as u16,
            host as u16 + 1,
        );
        let server = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, server_host.into());
        [
            SocketAddr::from((net, port)),
            SocketAddr::from((server, server_port)),
        ]
    } else {
        // Benchmark and documentation ranges (RFC 2544, RFC 5737).
        let net = Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 1)) + host);
        let server = Ipv4Addr::new(203, 0, 113, server_host);
        [
            SocketAddr::from((net, port)),
            SocketAddr::from((server, server_port)),
        ]
    }
}

impl Flow {
    /// Flow number `index` between these ends; `before` are the first and last numbers of
    /// the connection that had them last.
    pub fn new(
        config: &Config,
        index: u64,
        ends: [SocketAddr; 2],
        before: Option<[(u32, u32); 2]>,
        prng: &mut Prng,
    ) -> Flow {
        let timestamps = prng.chance(0.5);
        let half = |direction| HalfFacts {
            content: Content::new(config.seed, index, direction),
            packets: 0,
            span: 0,
            captured: RangeSet::default(),
            truncated: RangeSet::default(),
            acked: 0,
            fin: false,
        };
        let wrap = prng.chance(config.wrap);
        let mut isn = || {
            if wrap {
                u32::MAX - prng.below(3_000) as u32
            } else {
                prng.word()
            }
        };
        let mut isn = [isn(), isn()];
        let end = match prng.fraction() {
            x if x < config.reset => End::Rst,
            x if x < config.reset + config.open => End::Open,
            _ => End::Fin,
        };
        let midstream = prng.chance(config.midstream);
        for (isn, (first, last)) in isn.iter_mut().zip(before.into_iter().flatten()) {
            // Without a handshake, numbers alone tell a new connection from strays of the old one.
            if midstream && isn.wrapping_sub(last).wrapping_add(NEAR) < 2 * NEAR {
                *isn = isn.wrapping_add(1 << 31);
            }
            // The same number again is the same SYN again.
            if *isn == first {
                *isn = isn.wrapping_sub(1);
            }
        }
        let vlan = prng.chance(config.vlan).then(|| 100 + prng.below(3) as u16);
        let inner = prng.chance(1.0 / 3.0).then(|| 10 + prng.below(3) as u16);
        let fragment = prng
            .chance(config.fragment)
            .then(|| 8 * prng.between(20, 70) as usize);
        let turns = turns(config, index, prng);
        Flow {
            ends,
            isn,
            link: Link {
                vlan,
                inner_vlan: inner,
            },
            timestamps,
            padded: prng.chance(0.5),
            fragment,
            end,
            midstream,
            first: None,
            halves: [half(0), half(1)],
            closer: prng.below(2) as usize,
            phase: if midstream { Phase::Data } else { Phase::Syn },
            turns,
            unacked: 0,
            mss: 1460 - if ends[0].is_ipv6() { 20 } else { 0 } - if timestamps { 12 } else { 0 },
            delayed: Vec::new(),
        }
    }

    /// The next segment as the tap sees it; `None` at the end of the flow.
    pub fn step(&mut self, config: &Config, prng: &mut Prng) -> Option<Plan> {
        loop {
            if let Some(at) = self.delayed.iter().position(|d| d.0 == 0) {
                return Some(self.tick(at));
            }
            // Everything late arrives before the flow begins to close.
            let data_left = self.phase == Phase::Data && !self.turns.is_empty();
            let data_left = data_left || self.unacked > 0 || (self.phase as u8) < Phase::Data as u8;
            if !data_left && !self.delayed.is_empty() {
                return Some(self.tick(0));
            }
            let mut plan = self.ideal()?;
            if plan.len == 0 {
                if let Some(probe) = self.probe(plan, config, prng) {
                    self.delayed.push((0, probe));
                }
                self.wait();
                return Some(plan);
            }
            let head = self.midstream && self.halves[plan.from].span < 8 * self.mss;
            if head {
                self.wait();
                return Some(plan);
            }
            if prng.chance(config.retransmit) {
                self.delayed.push((prng.between(1, 12) as u32, plan));
            }
            if prng.chance(config.overlap) && plan.offset > 0 {
                let back = prng.between(1, plan.offset.min(500) as u64) as usize;
                let keep = prng.below(plan.len as u64) as usize;
                let again = Plan {
                    offset: plan.offset - back as i64,
                    len: (back + keep).min(self.mss as usize),
                    ..plan
                };
                self.delayed.push((prng.between(0, 3) as u32, again));
            }
            if prng.chance(config.loss) {
                continue;
            }
            if prng.chance(config.reorder) {
                self.delayed.push((prng.between(1, 8) as u32, plan));
                continue;
            }
            plan.twice = prng.chance(config.duplicate);
            self.wait();
            return Some(plan);
        }
    }

    /// The first sequence number of each side, and the one behind its last.
    pub fn numbers(&self) -> [(u32, u32); 2] {
        [0, 1].map(|side| {
            let sent = self.halves[side].span as u32 + 2;
            (self.isn[side], self.isn[side].wrapping_add(sent))
        })
    }

    /// Notes that a segment was captured, all but its last `missing` bytes; frame `number`
    /// completed it.
    pub fn captured(&mut self, plan: &Plan, number: u64, missing: usize) {
        self.first.get_or_insert((number, plan.from));
        if plan.flags & ACK != 0 && plan.flags & RST == 0 {
            let peer = &mut self.halves[1 - plan.from];
            peer.acked = peer.acked.max(plan.ack as u64);
        }
        let half = &mut self.halves[plan.from];
        half.packets += 1;
        half.fin |= plan.flags & FIN != 0;
        if !plan.probe && plan.len > 0 {
            let (start, end) = (plan.offset as u64, plan.offset as u64 + plan.len as u64);
            let cut = end - missing as u64;
            half.captured.add(start, cut);
            half.truncated.add(cut, end);
        }
    }

    fn wait(&mut self) {
        for delayed in &mut self.delayed {
            delayed.0 = delayed.0.saturating_sub(1);
        }
    }

    fn tick(&mut self, at: usize) -> Plan {
        let (_, plan) = self.delayed.remove(at);
        self.wait();
        plan
    }

    /// A keep-alive of whoever sent `plan`, where all its data was captured and acknowledged, so
    /// that the probe can be told from data.
    fn probe(&self, plan: Plan, config: &Config, prng: &mut Prng) -> Option<Plan> {
        let from = 1 - plan.from;
        let half = &self.halves[from];
        let quiet = self.phase == Phase::Data && self.unacked == 0 && plan.flags == ACK;
        let whole = half.span > 0 && half.captured.end() == half.span;
        let late = self.delayed.iter().any(|d| d.1.from == from);
        (quiet && whole && !late && prng.chance(config.keepalive)).then(|| Plan {
            from,
            flags: ACK,
            offset: half.span as i64 - 1,
            len: prng.below(2) as usize,
            ack: self.halves[plan.from].span as i64,
            probe: true,
            twice: false,
        })
    }

    fn plan(&self, from: usize, flags: u8) -> Plan {
        Plan {
            from,
            flags,
            offset: self.halves[from].span as i64,
            len: 0,
            ack: self.halves[1 - from].span as i64,
            probe: false,
            twice: false,
        }
    }

    /// The next segment on a network where nothing goes wrong.
    fn ideal(&mut self) -> Option<Plan> {
        let (closer, peer) = (self.closer, 1 - self.closer);
        let (plan, next) = match self.phase {
            Phase::Syn => (
                Plan {
                    offset: -1,
                    ack: 0,
                    ..self.plan(0, SYN)
                },
                Phase::SynAck,
            ),
            Phase::SynAck => (
                Plan {
                    offset: -1,
                    ..self.plan(1, SYN | ACK)
                },
                Phase::HandshakeAck,
            ),
            Phase::HandshakeAck => (self.plan(0, ACK), Phase::Data),
            Phase::Data => match self.data() {
                Some(plan) => (plan, Phase::Data),
                None => match self.end {
                    End::Fin => (self.plan(closer, FIN | ACK), Phase::SecondFin),
                    End::Rst => (self.plan(closer, RST | ACK), Phase::Done),
                    End::Open => return None,
                },
            },
            Phase::SecondFin => {
                let plan = self.plan(peer, FIN | ACK);
                (
                    Plan {
                        ack: plan.ack + 1,
                        ..plan
                    },
                    Phase::LastAck,
                )
            }
            Phase::LastAck => {
                let plan = self.plan(closer, ACK);
                (
                    Plan {
                        offset: plan.offset + 1,
                        ack: plan.ack + 1,
                        ..plan
                    },
                    Phase::Done,
                )
            }
            Phase::Done => return None,
        };
        self.phase = next;
        Some(plan)
    }

    fn data(&mut self) -> Option<Plan> {
        let &(from, left) = self.turns.front()?;
        if self.unacked == 2 || (left == 0 && self.unacked > 0) {
            self.unacked = 0;
            if left == 0 {
                self.turns.pop_front();
            }
            return Some(self.plan(1 - from, ACK));
        }
        let len = left.min(self.mss);
        let flags = if len == left { PSH | ACK } else { ACK };
        let plan = Plan {
            len: len as usize,
            ..self.plan(from, flags)
        };
        self.halves[from].span += len;
        self.unacked += 1;
        self.turns[0].1 -= len;
        Some(plan)
    }
}

/// Who says how much, in turns.
fn turns(config: &Config, index: u64, prng: &mut Prng) -> VecDeque<(usize, u64)> {
    let of_elephant = (config.bytes as f64 * config.elephant) as u64;
    if index == 0 && of_elephant > 0 {
        return VecDeque::from([(0, 500), (1, of_elephant * 1460 / 1570)]);
    }
    // Ten frames of a short flow carry no data; a data segment costs about 110 bytes of headers,
    // its own and half an acknowledgement.
    let per_flow = ((config.bytes - of_elephant) / config.flows.max(1))
        .saturating_sub(500)
        .max(100);
    let mean = if per_flow > 2_000 {
        per_flow * 1460 / 1570
    } else {
        per_flow.saturating_sub(300)
    };
    let total = match config.sizes {
        Sizes::Even => prng.between(mean / 2, mean + mean / 2),
        // Pareto with exponent 4/3 has a mean of four times its least value; the tail is cut.
        // Square roots are exact on every machine, which powers are not.
        Sizes::HeavyTail => {
            let x = prng.fraction().max(1e-5);
            (mean as f64 / 4.0 / (x.sqrt() * x.sqrt().sqrt())) as u64
        }
    };
    let total = total.max(2);
    let mut turns = VecDeque::new();
    let request = prng.between(1, 700).min(total / 2);
    let answer = total - request;
    if prng.chance(0.2) {
        // An upload.
        turns.extend([(0, answer), (1, request)]);
    } else if prng.chance(config.conversation) {
        // A conversation.
        let parts = prng.between(2, 5);
        for _ in 0..parts {
            turns.extend([(0, request / parts), (1, answer / parts)]);
        }
    } else {
        turns.extend([(0, request), (1, answer)]);
    }
    turns.retain(|turn| turn.1 > 0);
    turns
}

//! Generates captures of which every stream is known, in one pass and in memory proportional to
//! the flows under way.

pub mod config;
pub mod flow;

use std::io::{self, Write};

use super::capture_file::CaptureWriter;
use super::prng::Prng;
use super::truth::FlowTruth;
use super::wire::{self, TcpPacket};
use config::Config;
use flow::{ACK, End, Flow, Plan, SYN};

/// 2024-01-01T00:00:00Z.
const START_NS: u64 = 1_704_067_200_000_000_000;

/// What was generated.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    /// Frames in the capture.
    pub frames: u64,
    /// Its size.
    pub bytes: u64,
    /// Its flows.
    pub flows: u64,
}

/// A finished flow, from which its truth can be computed elsewhere: hashing is half of the work.
#[derive(Debug)]
pub struct Finished(Flow);

impl Finished {
    /// Its truth; `None` where no segment of it was captured.
    pub fn truth(&self) -> Option<FlowTruth> {
        let flow = &self.0;
        let (flow_id, sender) = flow.first?;
        // Where no SYN tells, the first sender is the client.
        let client = if flow.midstream { sender } else { 0 };
        let (client, server) = (client, 1 - client);
        Some(FlowTruth {
            flow_id,
            client_ip: flow.ends[client].ip().to_string(),
            client_port: flow.ends[client].port(),
            server_ip: flow.ends[server].ip().to_string(),
            server_port: flow.ends[server].port(),
            vlan: flow.link.vlan,
            midstream: flow.midstream,
            end: match flow.end {
                End::Fin => Some("fin".to_owned()),
                End::Rst => Some("rst".to_owned()),
                End::Open => None,
            },
            c2s: flow.halves[client].truth(),
            s2c: flow.halves[server].truth(),
        })
    }
}

struct Generator<'a, W> {
    config: &'a Config,
    prng: Prng,
    writer: CaptureWriter<W>,
    clock: u64,
    ident: u32,
    payload: Vec<u8>,
    frame: Vec<u8>,
}

/// Writes a capture to `out` and hands each flow to `finished` as it ends.
pub fn generate<W: Write>(
    config: &Config,
    out: W,
    mut finished: impl FnMut(Finished) -> io::Result<()>,
) -> io::Result<Summary> {
    let snaplen = if config.snaplen == 0 {
        262_144
    } else {
        config.snaplen as u32
    };
    let mut generator = Generator {
        config,
        prng: Prng::new(config.seed),
        writer: CaptureWriter::new(out, config.format, snaplen)?,
        clock: START_NS,
        ident: 0,
        payload: Vec::new(),
        frame: Vec::new(),
    };
    let mut active: Vec<Flow> = Vec::new();
    let mut reusable = Vec::new();
    let mut started = 0;
    // The elephant is under way almost to the end: it gets about as large a share of the frames, and
    // stays in the first place.
    let mut elephant = config.elephant;
    while started < config.flows || !active.is_empty() {
        while started < config.flows && active.len() < config.concurrent.max(1) {
            let prng = &mut generator.prng;
            let (ends, before) = if let Some((ends, before)) = reusable.pop() {
                (ends, Some(before))
            } else {
                let ipv6 = prng.chance(config.ipv6);
                (flow::ends(started, ipv6, prng), None)
            };
            active.push(Flow::new(config, started, ends, before, prng));
            started += 1;
        }
        let at = if generator.prng.chance(elephant) {
            0
        } else {
            generator.prng.below(active.len() as u64) as usize
        };
        // Frames of a flow come in short bursts, as on a network.
        for _ in 0..generator.prng.between(1, 4) {
            if let Some(plan) = active[at].step(config, &mut generator.prng) {
                generator.emit(&mut active[at], plan)?;
            } else {
                let flow = active.swap_remove(at);
                if at == 0 {
                    elephant = 0.0;
                }
                if flow.end != End::Open && generator.prng.chance(config.reuse) {
                    reusable.push((flow.ends, flow.numbers()));
                }
                finished(Finished(flow))?;
                break;
            }
        }
    }
    let (frames, bytes) = (generator.writer.frames(), generator.writer.bytes());
    generator.writer.finish()?;
    Ok(Summary {
        frames,
        bytes,
        flows: started,
    })
}

impl<W: Write> Generator<'_, W> {
    fn emit(&mut self, flow: &mut Flow, plan: Plan) -> io::Result<()> {
        let half = &mut flow.halves[plan.from];
        self.payload.resize(plan.len, 0);
        if plan.probe {
            self.payload.fill(0xa5);
        } else if plan.len > 0 {
            half.content.fill(plan.offset as u64, &mut self.payload);
        }
        let mut options = Vec::new();
        if plan.flags & SYN != 0 {
            let mss = if flow.ends[0].is_ipv6() { 1440 } else { 1460 };
            options = wire::syn_options(Some(mss), true, Some(7));
        }
        if flow.timestamps {
            let now = (self.clock / 1_000_000) as u32;
            options.extend_from_slice(&wire::timestamp_option(now, now.wrapping_sub(20)));
        }
        let seq = |side: usize, offset: i64| flow.isn[side].wrapping_add((1 + offset) as u32);
        let acks = plan.flags & ACK != 0;
        self.ident = self.ident.wrapping_add(1);
        let packet = TcpPacket {
            src: flow.ends[plan.from],
            dst: flow.ends[1 - plan.from],
            seq: flow.isn[plan.from].wrapping_add((1 + plan.offset) as u32),
            ack: if acks {
                seq(1 - plan.from, plan.ack)
            } else {
                0
            },
            flags: plan.flags,
            window: 64_000,
            options: &options,
            payload: &self.payload,
            ident: self.ident,
        };
        let cut = self.config.snaplen;
        let split = flow.fragment.filter(|size| cut == 0 && plan.len > *size);
        let pad = if flow.padded { 60 } else { 0 };
        let tcp_at = flow.link.header_len() + wire::ip_header_len(packet.src);
        for _ in 0..if plan.twice { 2 } else { 1 } {
            let mut missing = 0;
            if let Some(size) = split {
                for mut frame in wire::fragments(&packet, flow.link, size) {
                    let clock = tick(&mut self.clock, self.config, &mut self.prng);
                    wire::pad(&mut frame, pad);
                    self.writer.frame(clock, &frame, frame.len())?;
                }
            } else {
                wire::frame(&packet, flow.link, &mut self.frame);
                let whole = self.frame.len();
                wire::pad(&mut self.frame, pad);
                let clock = tick(&mut self.clock, self.config, &mut self.prng);
                let original = self.frame.len();
                if cut > 0 {
                    missing = whole.saturating_sub(cut);
                    self.frame.truncate(cut);
                }
                self.writer.frame(clock, &self.frame, original)?;
            }
            // Without its whole fixed header a segment cannot be told from anything else.
            if cut == 0 || cut >= tcp_at + wire::TCP_HEADER {
                flow.captured(&plan, self.writer.frames(), missing.min(plan.len));
            }
        }
        Ok(())
    }
}

/// Moves the clock on and answers the time to stamp a frame with.
fn tick(clock: &mut u64, config: &Config, prng: &mut Prng) -> u64 {
    *clock += prng.below(2 * config.frame_gap_ns);
    if prng.chance(config.time_disorder) {
        *clock - prng.below(50_000)
    } else {
        *clock
    }
}

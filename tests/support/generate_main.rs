//! Writes a capture of known streams, and beside it the truth about each of them.
//!
//! `cargo run --release --example generate -- --out big.pcap --profile bulk`

#[path = "mod.rs"]
mod support;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::mpsc::sync_channel;
use std::thread;

use clap::{Parser, ValueEnum};
use support::capture_file::Format;
use support::generator::config::{Config, Profile};
use support::generator::{Finished, generate};

#[derive(Clone, Copy, ValueEnum)]
enum ProfileName {
    Bulk,
    Mixed,
    Small,
    Elephant,
    Impaired,
}

#[derive(Clone, Copy, ValueEnum)]
enum FormatName {
    Pcap,
    PcapNs,
    PcapBe,
    PcapNsBe,
    Pcapng,
    PcapngBe,
}

/// Generates a capture whose streams are known. What is not given follows the profile.
#[derive(Parser)]
struct Args {
    /// The capture; the truth goes to the same name with `.truth.jsonl` at its end.
    #[arg(long)]
    out: PathBuf,
    #[arg(long, value_enum, default_value = "mixed")]
    profile: ProfileName,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long)]
    flows: Option<u64>,
    /// About how large the capture becomes; K, M and G are powers of 1000.
    #[arg(long, value_parser = size)]
    bytes: Option<u64>,
    /// Flows under way at any time.
    #[arg(long)]
    concurrent: Option<usize>,
    #[arg(long, value_enum, default_value = "pcap")]
    format: FormatName,
    /// Cut frames to this many bytes.
    #[arg(long, default_value_t = 0)]
    snaplen: usize,
    /// Share of segments that the tap missed.
    #[arg(long)]
    loss: Option<f64>,
    #[arg(long)]
    reorder: Option<f64>,
    #[arg(long)]
    retransmit: Option<f64>,
    #[arg(long)]
    overlap: Option<f64>,
    #[arg(long)]
    duplicate: Option<f64>,
    #[arg(long)]
    keepalive: Option<f64>,
    /// Shares of flows, from here on.
    #[arg(long)]
    midstream: Option<f64>,
    #[arg(long)]
    reuse: Option<f64>,
    #[arg(long)]
    reset: Option<f64>,
    #[arg(long)]
    open: Option<f64>,
    #[arg(long)]
    ipv6: Option<f64>,
    #[arg(long)]
    vlan: Option<f64>,
    #[arg(long)]
    fragment: Option<f64>,
    /// Mean time between frames, nanoseconds.
    #[arg(long)]
    frame_gap_ns: Option<u64>,
    /// Write no truth (faster by about half).
    #[arg(long)]
    no_truth: bool,
}

fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 1_000),
        Some((at, 'm' | 'M')) => (&text[..at], 1_000_000),
        Some((at, 'g' | 'G')) => (&text[..at], 1_000_000_000),
        _ => (text, 1),
    };
    let number: u64 = number.parse().map_err(|e| format!("{text}: {e}"))?;
    number
        .checked_mul(unit)
        .ok_or_else(|| format!("{text} is too large"))
}

fn config(args: &Args) -> Config {
    let mut config = Config::of(match args.profile {
        ProfileName::Bulk => Profile::Bulk,
        ProfileName::Mixed => Profile::Mixed,
        ProfileName::Small => Profile::Small,
        ProfileName::Elephant => Profile::Elephant,
        ProfileName::Impaired => Profile::Impaired,
    });
    config.seed = args.seed;
    config.snaplen = args.snaplen;
    config.format = match args.format {
        FormatName::Pcap => Format::Pcap {
            big_endian: false,
            nanos: false,
        },
        FormatName::PcapNs => Format::Pcap {
            big_endian: false,
            nanos: true,
        },
        FormatName::PcapBe => Format::Pcap {
            big_endian: true,
            nanos: false,
        },
        FormatName::PcapNsBe => Format::Pcap {
            big_endian: true,
            nanos: true,
        },
        FormatName::Pcapng => Format::Pcapng { big_endian: false },
        FormatName::PcapngBe => Format::Pcapng { big_endian: true },
    };
    let set = |field: &mut f64, value: Option<f64>| *field = value.unwrap_or(*field);
    set(&mut config.loss, args.loss);
    set(&mut config.reorder, args.reorder);
    set(&mut config.retransmit, args.retransmit);
    set(&mut config.overlap, args.overlap);
    set(&mut config.duplicate, args.duplicate);
    set(&mut config.keepalive, args.keepalive);
    set(&mut config.midstream, args.midstream);
    set(&mut config.reuse, args.reuse);
    set(&mut config.reset, args.reset);
    set(&mut config.open, args.open);
    set(&mut config.ipv6, args.ipv6);
    set(&mut config.vlan, args.vlan);
    set(&mut config.fragment, args.fragment);
    config.flows = args.flows.unwrap_or(config.flows);
    config.bytes = args.bytes.unwrap_or(config.bytes);
    config.concurrent = args.concurrent.unwrap_or(config.concurrent);
    config.frame_gap_ns = args.frame_gap_ns.unwrap_or(config.frame_gap_ns).max(1);
    config
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    let config = config(&args);
    let out = BufWriter::with_capacity(4 << 20, File::create(&args.out)?);
    let summary = if args.no_truth {
        generate(&config, out, |_| Ok(()))?
    } else {
        let mut name = args.out.clone().into_os_string();
        name.push(".truth.jsonl");
        let mut truth = BufWriter::new(File::create(name)?);
        // Hashing takes as long as writing: it has its own thread.
        let (sender, receiver) = sync_channel::<Finished>(1024);
        let hasher = thread::spawn(move || -> io::Result<()> {
            for flow in receiver {
                if let Some(flow) = flow.truth() {
                    serde_json::to_writer(&mut truth, &flow)?;
                    truth.write_all(b"\n")?;
                }
            }
            truth.flush()
        });
        let summary = generate(&config, out, |flow| {
            sender
                .send(flow)
                .map_err(|_| io::Error::other("the truth could not be written"))
        });
        drop(sender);
        hasher
            .join()
            .map_err(|_| io::Error::other("the hashing thread panicked"))??;
        summary?
    };
    let mut stderr = io::stderr();
    writeln!(
        stderr,
        "{} frames, {} flows, {} bytes",
        summary.frames, summary.flows, summary.bytes
    )
}

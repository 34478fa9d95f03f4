//! What a payload file is called, and a capture of one flow.

use std::fmt::Write as _;
use std::net::IpAddr;

use crate::model::Direction;
use crate::reassembly::event::FlowName;

use super::text::{push_ip, push_unsigned};

/// Flows per directory: a directory of a million files is slow to list and to delete.
const FLOWS_PER_DIRECTORY: u64 = 10_000;

/// The directory that holds all payload files, relative to the output directory.
pub const STREAMS_DIR: &str = "streams";

/// The directory that holds all captures of single flows, relative to the output directory.
pub const CAPTURES_DIR: &str = "pcaps";

/// The format of a capture of one flow.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CaptureForm {
    /// One interface.
    Pcap,
    /// Several interfaces, or times that pcap cannot hold.
    Pcapng,
}

impl CaptureForm {
    const ALL: [CaptureForm; 2] = [CaptureForm::Pcap, CaptureForm::Pcapng];

    const fn extension(self) -> &'static str {
        match self {
            CaptureForm::Pcap => ".pcap",
            CaptureForm::Pcapng => ".pcapng",
        }
    }
}

/// The path of a flow's capture, relative to the output directory: `pcaps/NNNNN/<flow_id>.pcap` (or
/// `.pcapng`), with the directory's number as in [`stream_path`].
pub fn capture_path(flow_id: u64, form: CaptureForm) -> String {
    let mut path = String::with_capacity(40);
    push_directory(&mut path, CAPTURES_DIR, flow_id);
    let _ = write!(path, "/{flow_id}{}", form.extension());
    path
}

/// The path of a payload file, relative to the output directory:
/// `streams/NNNNN/<flow_id>-<client>.<port>-<server>.<port>.c2s` (or `.s2c`).
///
/// `NNNNN` is `flow_id / 10000`, at least five digits. Addresses are RFC 5952 text in which `_`
/// stands for `:`, which other file systems, `scp` and `make` give a meaning of their own. Nothing
/// else that came from the wire enters a path.
pub fn stream_path(flow: &FlowName, direction: Direction) -> String {
    let mut path = String::with_capacity(80);
    push_stream_path(&mut path, flow, direction);
    path
}

/// Appends what [`stream_path`] gives.
pub(super) fn push_stream_path(out: &mut String, flow: &FlowName, direction: Direction) {
    push_directory(out, STREAMS_DIR, flow.flow_id);
    let server = flow.client.other();
    let ends = [flow.client, server].map(|side| (flow.key.ip(side), flow.key.end(side).port));
    out.push('/');
    push_unsigned(out, flow.flow_id);
    for (ip, port) in ends {
        out.push('-');
        push_file_name_ip(out, ip);
        out.push('.');
        push_unsigned(out, u64::from(port));
    }
    out.push('.');
    out.push_str(direction.name());
}

/// Appends `streams/NNNNN`, for `streams` or another directory.
fn push_directory(out: &mut String, directory: &str, flow_id: u64) {
    let number = flow_id / FLOWS_PER_DIRECTORY;
    // Writing to a String cannot fail.
    let _ = write!(out, "{directory}/{number:05}");
}

fn push_file_name_ip(out: &mut String, ip: IpAddr) {
    if ip.is_ipv4() {
        push_ip(out, ip);
    } else {
        out.push_str(&ip.to_string().replace(':', "_"));
    }
}

/// Whether a directory under `streams` or `pcaps` can be one of ours.
pub(super) fn is_numbered_directory(name: &str) -> bool {
    name.len() >= 5 && name.bytes().all(|b| b.is_ascii_digit())
}

/// Whether a file can be one of our payload files, judged by its name.
pub(super) fn is_stream_file(name: &str) -> bool {
    let Some(stem) = name
        .strip_suffix(".c2s")
        .or_else(|| name.strip_suffix(".s2c"))
    else {
        return false;
    };
    let mut parts = stem.split('-');
    let id = parts.next().unwrap_or_default();
    let ends = parts.clone().count();
    !id.is_empty()
        && id.bytes().all(|b| b.is_ascii_digit())
        && ends == 2
        && parts.all(|end| {
            !end.is_empty()
                && end
                    .bytes()
                    .all(|b| b.is_ascii_hexdigit() || b == b'.' || b == b'_')
        })
}

/// Whether a file can be one of our captures of single flows, judged by its name.
pub(super) fn is_capture_file(name: &str) -> bool {
    CaptureForm::ALL
        .iter()
        .filter_map(|form| name.strip_suffix(form.extension()))
        .any(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Endpoint, FlowKey};

    #[test]
    fn names_the_client_first_and_no_colon() {
        let client = Endpoint::v4([192, 168, 0, 9], 40000);
        let server = Endpoint::v4([10, 0, 0, 1], 80);
        let (key, client) = FlowKey::v4(client, server);
        let flow = FlowName {
            flow_id: 123_456,
            key,
            client,
        };
        let path = stream_path(&flow, Direction::C2s);
        assert_eq!(
            path,
            "streams/00012/123456-192.168.0.9.40000-10.0.0.1.80.c2s"
        );
        assert!(stream_path(&flow, Direction::S2c).ends_with(".80.s2c"));

        let mut low = [0; 16];
        low[..4].copy_from_slice(&[0x20, 1, 0x0d, 0xb8]);
        low[15] = 1;
        let (key, client) = FlowKey::v6(Endpoint::v6(low, 1), Endpoint::v6([0xff; 16], 65535));
        let flow = FlowName {
            flow_id: 10_000_000_000,
            key,
            client,
        };
        let path = stream_path(&flow, Direction::S2c);
        assert_eq!(
            path,
            "streams/1000000/10000000000-2001_db8__1.1-\
             ffff_ffff_ffff_ffff_ffff_ffff_ffff_ffff.65535.s2c"
        );
        assert!(is_stream_file(path.rsplit('/').next().unwrap()));
        assert!(is_numbered_directory("1000000"));
    }

    #[test]
    fn strangers_are_told_apart() {
        for name in [
            "notes.c2s",
            "1-2.c2s",
            "1-a.1-b.2.txt",
            "x-a.1-b.2.c2s",
            "1-a.1-x.2.s2c",
        ] {
            assert!(!is_stream_file(name), "{name}");
        }
        assert!(is_stream_file("1-1.2.3.4.5-6.7.8.9.10.s2c"));
        assert!(is_capture_file("17.pcap") && is_capture_file("17.pcapng"));
        for name in [".pcap", "17a.pcap", "17.pcap.gz", "evidence.pcap", "17"] {
            assert!(!is_capture_file(name), "{name}");
        }
        assert!(!is_numbered_directory("0001"));
        assert!(!is_numbered_directory("000x1"));
    }
}

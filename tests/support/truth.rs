//! What a generated capture holds, by construction: the answers a reassembler must give.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::payload::Content;
use super::range_set::RangeSet;

/// A missing range of a half-stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GapTruth {
    /// First missing stream offset.
    pub offset: u64,
    /// Missing bytes.
    pub length: u64,
    /// The cause, as the program names it.
    pub cause: String,
}

/// One direction of a flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HalfTruth {
    /// Segments in the capture.
    pub packets: u64,
    /// Payload bytes sent, captured or not.
    pub span: u64,
    /// Unique payload bytes captured.
    pub stream_bytes: u64,
    /// Length of the payload file: up to the last captured byte.
    pub file_bytes: u64,
    /// SHA-256 of the payload file with zeros in its gaps; absent where nothing was captured.
    pub sha256: Option<String>,
    /// SHA-256 of the captured bytes alone; absent where it equals the other.
    pub sha256_without_gaps: Option<String>,
    /// What is missing, in order, as far as the capture shows that it was sent.
    pub gaps: Vec<GapTruth>,
}

/// One flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowTruth {
    /// Number of its first frame; of a fragmented segment, that is the frame that completes it.
    pub flow_id: u64,
    /// Address of the client: of who sent the first SYN, or else the first segment captured.
    pub client_ip: String,
    /// Port of the client.
    pub client_port: u16,
    /// Address of the server.
    pub server_ip: String,
    /// Port of the server.
    pub server_port: u16,
    /// The outer VLAN id.
    pub vlan: Option<u16>,
    /// The handshake was not captured.
    pub midstream: bool,
    /// `fin` or `rst`; absent where the flow was left open.
    pub end: Option<String>,
    /// From client to server.
    pub c2s: HalfTruth,
    /// From server to client.
    pub s2c: HalfTruth,
}

/// Bytes of a digest as lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// SHA-256 as lower-case hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// What was sent and captured in one direction, from which its truth follows.
#[derive(Clone, Debug)]
pub struct HalfFacts {
    /// The bytes.
    pub content: Content,
    /// Segments in the capture.
    pub packets: u64,
    /// Payload bytes sent.
    pub span: u64,
    /// Captured offsets.
    pub captured: RangeSet,
    /// Offsets that a snap length cut off at least once.
    pub truncated: RangeSet,
    /// Highest offset that a captured segment of the peer acknowledged, a FIN counted as a byte.
    /// What a RST acknowledges is not to be trusted and does not count.
    pub acked: u64,
    /// The FIN was captured.
    pub fin: bool,
}

impl HalfFacts {
    /// Computes the truth, by making the payload again.
    pub fn truth(&self) -> HalfTruth {
        let (sha256, sha256_without_gaps) = self.digests();
        HalfTruth {
            packets: self.packets,
            span: self.span,
            stream_bytes: self.captured.len(),
            file_bytes: self.captured.end(),
            sha256,
            sha256_without_gaps,
            gaps: self.gaps(),
        }
    }

    fn digests(&self) -> (Option<String>, Option<String>) {
        const ZEROS: [u8; 16384] = [0; 16384];
        let mut buffer = [0; 16384];
        let mut zeroed = Sha256::new();
        // Branches off at the first gap, so that a stream without gaps is hashed once.
        let mut without: Option<Sha256> = None;
        let mut at = 0;
        for &(start, end) in self.captured.ranges() {
            if start > at && without.is_none() {
                without = Some(zeroed.clone());
            }
            while at < start {
                let step = (start - at).min(ZEROS.len() as u64);
                zeroed.update(&ZEROS[..step as usize]);
                at += step;
            }
            while at < end {
                let step = (end - at).min(buffer.len() as u64) as usize;
                self.content.fill(at, &mut buffer[..step]);
                zeroed.update(&buffer[..step]);
                if let Some(without) = &mut without {
                    without.update(&buffer[..step]);
                }
                at += step as u64;
            }
        }
        let text = |digest: Sha256| hex(&digest.finalize());
        ((at > 0).then(|| text(zeroed)), without.map(text))
    }

    /// How much the capture shows to have been sent.
    fn shown(&self) -> u64 {
        let seen = self.captured.end().max(self.truncated.end());
        if self.fin {
            self.span
        } else if self.acked == seen + 1 {
            // Taken for a FIN that was not captured.
            seen
        } else {
            seen.max(self.acked)
        }
    }

    fn gaps(&self) -> Vec<GapTruth> {
        let mut gaps = Vec::new();
        for (start, end) in self.captured.holes(self.shown()) {
            let other = if start >= self.captured.end() {
                "not_captured_at_end"
            } else if start == 0 {
                "not_captured_at_start"
            } else {
                "lost"
            };
            let mut push = |start: u64, end: u64, cause: &str| {
                if start < end {
                    let (offset, length) = (start, end - start);
                    gaps.push(GapTruth {
                        offset,
                        length,
                        cause: cause.to_owned(),
                    });
                }
            };
            let mut at = start;
            for (cut, cut_end) in self.truncated.within(start, end) {
                push(at, cut, other);
                push(cut, cut_end, "truncated");
                at = cut_end;
            }
            push(at, end, other);
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_and_gaps_follow_from_the_ranges() {
        let mut facts = HalfFacts {
            content: Content::new(1, 1, 0),
            packets: 3,
            span: 50_000,
            captured: RangeSet::default(),
            truncated: RangeSet::default(),
            acked: 50_000,
            fin: false,
        };
        facts.captured.add(100, 20_000);
        facts.captured.add(40_000, 49_000);
        facts.truncated.add(30_000, 40_000);
        let truth = facts.truth();
        let mut file = vec![0; 49_000];
        facts.content.fill(100, &mut file[100..20_000]);
        facts.content.fill(40_000, &mut file[40_000..]);
        assert_eq!(truth.sha256, Some(sha256(&file)));
        file.drain(20_000..40_000);
        file.drain(..100);
        assert_eq!(truth.sha256_without_gaps, Some(sha256(&file)));
        let gaps: Vec<_> = truth
            .gaps
            .iter()
            .map(|g| (g.offset, g.length, g.cause.as_str()))
            .collect();
        assert_eq!(
            gaps,
            [
                (0, 100, "not_captured_at_start"),
                (20_000, 10_000, "lost"),
                (30_000, 10_000, "truncated"),
                (49_000, 1_000, "not_captured_at_end"),
            ]
        );
    }

    #[test]
    fn what_no_segment_shows_is_no_gap() {
        let mut facts = HalfFacts {
            content: Content::new(1, 1, 0),
            packets: 1,
            span: 500,
            captured: RangeSet::default(),
            truncated: RangeSet::default(),
            acked: 300,
            fin: false,
        };
        facts.captured.add(0, 300);
        assert_eq!(facts.truth().gaps, []);
        facts.acked = 301;
        assert_eq!(facts.truth().gaps, []);
        facts.acked = 302;
        assert_eq!(facts.truth().gaps[0].length, 2);
        (facts.acked, facts.fin) = (501, true);
        assert_eq!(facts.truth().gaps[0].length, 200);
    }
}

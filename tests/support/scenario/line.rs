//! The language of segments: one line each.
//!
//! ```text
//! handshake                      three segments: SYN, SYN-ACK, ACK
//! c PA 'GET /'                   the client sends text; time, seq and ack follow from before
//! s @5.5 PA #100 ack=next+3      at 5.5 s, 100 bytes of the pattern, acknowledging 3 bytes more
//! ! s PA #50                     sent, but not captured
//! c +60 A seq=next-1 aside       60 s later; `aside` leaves the sender's next seq where it was
//! close                          FIN of the client, FIN of the server, ACK
//! ```
//!
//! A line begins with who sends: `c` or `s`, with a number for further pairs of ports (`c2`).
//! Numbers are relative: 0 is the sender's first ISN. Without `seq=` a segment continues where
//! its sender stopped, without `ack=` it acknowledges all its peer sent (if it has the flag A),
//! and without a time it comes 10 ms after the segment before it. Further words: `win=`, `mss=`,
//! `ws=`, `sack`, `ts`; `snap=` bytes of the frame captured; `pad=` frame bytes with padding;
//! `iplen=0`; `frag=` bytes per IP fragment; `badsum`. `#` begins a comment only at the start of a
//! line, since it also begins a pattern.

use std::collections::BTreeMap;

use super::pieces;

/// One segment of a scenario, all numbers relative to the first ISNs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// 0 = client, 1 = server.
    pub from: usize,
    /// Which pair of ports, from 1.
    pub pair: u16,
    /// Since the start, nanoseconds.
    pub time_ns: u64,
    /// TCP flags.
    pub flags: u8,
    /// Relative sequence number.
    pub seq: i64,
    /// Relative acknowledgement number, meaningful with the flag.
    pub ack: i64,
    /// Window as sent.
    pub window: u16,
    /// Maximum segment size option.
    pub mss: Option<u16>,
    /// Window scale option.
    pub wscale: Option<u8>,
    /// SACK permitted option.
    pub sack: bool,
    /// Timestamp option.
    pub timestamp: bool,
    /// Payload.
    pub data: Vec<u8>,
    /// Frame bytes captured at most.
    pub snap: Option<usize>,
    /// Frame bytes with padding.
    pub pad: usize,
    /// The IP header says that the packet has no length.
    pub zero_ip_length: bool,
    /// Bytes per IP fragment.
    pub fragment: Option<usize>,
    /// The TCP checksum is wrong.
    pub bad_checksum: bool,
}

#[derive(Clone, Copy, Default)]
struct Sender {
    isn: i64,
    next: i64,
}

/// Reads the lines of one scenario.
#[derive(Default)]
struct Reader {
    clock: u64,
    senders: BTreeMap<(u16, usize), Sender>,
    segments: Vec<Segment>,
    self_connected: bool,
}

/// The captured segments of a text of lines.
pub fn parse(text: &str, self_connected: bool) -> Result<Vec<Segment>, String> {
    let mut reader = Reader {
        self_connected,
        ..Reader::default()
    };
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with("# ") {
            continue;
        }
        reader
            .line(line)
            .map_err(|e| format!("segment line {}: {line}: {e}", index + 1))?;
    }
    Ok(reader.segments)
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), String> {
        match line {
            "handshake" => {
                self.line("c S seq=0 mss=1460")?;
                self.line("s SA seq=0 mss=1460")?;
                self.line("c A")
            }
            "close" => {
                self.line("c FA")?;
                self.line("s FA")?;
                self.line("c A")
            }
            _ => self.segment(line),
        }
    }

    #[expect(
        clippy::too_many_lines,
        reason = "a flat list of words reads best in one piece"
    )]
    fn segment(&mut self, line: &str) -> Result<(), String> {
        let words = pieces::words(line)?;
        let (captured, words) = match words.split_first() {
            Some((&"!", rest)) => (false, rest),
            _ => (true, &words[..]),
        };
        let (who, words) = words.split_first().ok_or("nobody sends")?;
        let from = match who.as_bytes()[0] {
            b'c' => 0,
            b's' => 1,
            _ => return Err(format!("{who}: neither c nor s")),
        };
        let pair = if who.len() == 1 {
            1
        } else {
            number(&who[1..])? as u16
        };
        self.clock += 10_000_000;
        let sender = self
            .senders
            .get(&(pair, from))
            .copied()
            .unwrap_or(Sender { isn: 0, next: 1 });
        let other = if self.self_connected { from } else { 1 - from };
        let peer = self
            .senders
            .get(&(pair, other))
            .copied()
            .unwrap_or(Sender { isn: 0, next: 1 });
        let mut segment = Segment {
            from,
            pair,
            time_ns: 0,
            flags: 0,
            seq: sender.next,
            ack: peer.next,
            window: 64_000,
            mss: None,
            wscale: None,
            sack: false,
            timestamp: false,
            data: Vec::new(),
            snap: None,
            pad: 0,
            zero_ip_length: false,
            fragment: None,
            bad_checksum: false,
        };
        let mut aside = false;
        let mut data = Vec::new();
        let mut flags = None;
        for word in words {
            if pieces::is_piece(word) {
                data.push(*word);
            } else if let Some((name, value)) = word.split_once('=') {
                match name {
                    "seq" => segment.seq = relative(value, sender.next)?,
                    "ack" => segment.ack = relative(value, peer.next)?,
                    "win" => segment.window = number(value)? as u16,
                    "mss" => segment.mss = Some(number(value)? as u16),
                    "ws" => segment.wscale = Some(number(value)? as u8),
                    "snap" => segment.snap = Some(number(value)? as usize),
                    "pad" => segment.pad = number(value)? as usize,
                    "frag" => segment.fragment = Some(number(value)? as usize),
                    "iplen" if value == "0" => segment.zero_ip_length = true,
                    _ => return Err(format!("unknown word {word}")),
                }
            } else if let Some(time) = word.strip_prefix('@') {
                self.clock = seconds(time)?;
            } else if let Some(time) = word.strip_prefix('+') {
                self.clock = self.clock - 10_000_000 + seconds(time)?;
            } else {
                match *word {
                    "aside" => aside = true,
                    "sack" => segment.sack = true,
                    "ts" => segment.timestamp = true,
                    "badsum" => segment.bad_checksum = true,
                    _ if flags.is_none() => flags = Some(parse_flags(word)?),
                    _ => return Err(format!("unknown word {word}")),
                }
            }
        }
        segment.time_ns = self.clock;
        segment.flags = flags.ok_or("no flags")?;
        let syn = i64::from(segment.flags & 2 != 0);
        let isn = if syn == 1 && !aside {
            segment.seq
        } else {
            sender.isn
        };
        segment.data = pieces::parse(&data, segment.seq + syn - isn - 1)?.bytes;
        if !aside {
            let fin = i64::from(segment.flags & 1 != 0);
            let end = segment.seq + segment.data.len() as i64 + syn + fin;
            // A new SYN begins anew, wherever the old connection had got to.
            let next = if syn == 1 && segment.seq != sender.isn {
                end
            } else {
                end.max(sender.next)
            };
            self.senders.insert((pair, from), Sender { isn, next });
        }
        if captured {
            self.segments.push(segment);
        }
        Ok(())
    }
}

fn number(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| format!("{text}: not a number"))
}

fn relative(text: &str, next: i64) -> Result<i64, String> {
    match text.strip_prefix("next") {
        Some("") => Ok(next),
        Some(offset) => Ok(next + number(offset)?),
        None => number(text),
    }
}

fn seconds(text: &str) -> Result<u64, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text}: not a time"))?;
    Ok((seconds * 1e6).round() as u64 * 1000)
}

fn parse_flags(word: &str) -> Result<u8, String> {
    if word == "-" {
        return Ok(0);
    }
    word.chars().try_fold(0, |flags, letter| {
        let bit = "FSRPAUEC"
            .find(letter)
            .ok_or_else(|| format!("unknown word {word}"))?;
        Ok(flags | 1 << bit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_from_what_was_sent() {
        let segments = parse(
            "handshake\nc PA 'GET'\n! s PA #10\ns +2 PA #5 win=9\nc A seq=next-1 aside\nclose",
            false,
        )
        .unwrap();
        let told: Vec<_> = segments
            .iter()
            .map(|s| (s.from, s.flags, s.seq, s.ack))
            .collect();
        assert_eq!(
            told,
            [
                (0, 0x02, 0, 1),
                (1, 0x12, 0, 1),
                (0, 0x10, 1, 1),
                (0, 0x18, 1, 1),
                (1, 0x18, 11, 4),
                (0, 0x10, 3, 16),
                (0, 0x11, 4, 16),
                (1, 0x11, 16, 5),
                (0, 0x10, 5, 17),
            ]
        );
        assert_eq!(segments[4].time_ns, 2_050_000_000);
        assert_eq!(segments[4].data, pieces::parse_text("#5@10").unwrap().bytes);
        assert_eq!(segments[4].window, 9);
    }

    #[test]
    fn a_new_syn_begins_anew() {
        let segments = parse(
            "handshake\nc PA 'abc'\nc S seq=90000\nc2 S seq=5 'x'",
            false,
        )
        .unwrap();
        assert_eq!((segments[4].seq, segments[5].seq), (90_000, 5));
        let after = parse("handshake\nc S seq=90000\nc PA #2", false).unwrap();
        assert_eq!(after[4].seq, 90_001);
        assert_eq!(after[4].data, pieces::parse_text("#2@0").unwrap().bytes);
    }

    #[test]
    fn mistakes_name_their_line() {
        let error = parse("handshake\nx PA", false).unwrap_err();
        assert!(error.contains("line 2"), "{error}");
        for bad in ["c", "c PA wat", "c PA bla=1", "c PA seq=x", "c A @x"] {
            assert!(parse(bad, false).is_err(), "{bad}");
        }
    }
}

//! Zeek's summary of a connection: `conn_state` and `history`.
//!
//! Zeek watches each endpoint with seven states of its own, simpler than RFC 9293's eleven, since
//! a passive observer cannot know the rest. The transitions, the letters and the decision order
//! follow what Zeek documents in its `base/protocols/conn` script and does in its TCP session
//! adapter. Timers are ours: Zeek forgets an attempt after 5 seconds, this program does not.

use super::seldom::Seldom;
use crate::model::seq::distance;
use crate::model::{ConnState, Segment, TcpFlags};

/// An endpoint as Zeek sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    #[default]
    Inactive,
    SynSent,
    SynAckSent,
    Partial,
    Established,
    Closed,
    Reset,
}

/// Who sent a segment, in Zeek's words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// The client.
    Originator,
    /// The server.
    Responder,
}

#[derive(Clone, Copy, Debug, Default)]
struct Endpoint {
    state: State,
    previous: State,
    /// Sequence number of its SYN, or one before its first byte.
    start: u32,
    /// One past the highest sequence number seen.
    last: u32,
    /// Letters seen once already, a bit each.
    letters: u16,
    last_syn: u32,
    last_fin: u32,
    last_rst: u32,
    retransmissions: Threshold,
    zero_windows: Threshold,
    gaps: Threshold,
}

impl Endpoint {
    fn enter(&mut self, state: State) {
        if state != self.state {
            self.previous = self.state;
            self.state = state;
        }
    }

    fn is_up_or_closing_cleanly(&self) -> bool {
        self.state == State::Established
            || (self.state == State::Closed && self.previous == State::Established)
    }
}

/// Tells the 1st, 10th, 100th … of something.
#[derive(Clone, Copy, Debug, Default)]
struct Threshold(u32);

impl Threshold {
    fn reached(&mut self) -> bool {
        self.0 = self.0.saturating_add(1);
        10u32.pow(self.0.ilog10()) == self.0
    }
}

/// Letters kept at most; a hostile capture can earn a new one with every SYN, FIN or RST.
const HISTORY_LETTERS: usize = 128;

/// A jump of a SYN's or RST's sequence number beyond this is not believed, as in Zeek.
const LARGE_JUMP: i32 = 1 << 20;

/// Letters, the first of them in place: most connections earn no more.
#[derive(Clone, Debug, Default)]
struct History {
    first: [u8; 15],
    len: u8,
    rest: Seldom<Vec<u8>>,
}

impl History {
    /// Adds a letter, if there is room for one more.
    fn push(&mut self, letter: u8) {
        if usize::from(self.len) >= HISTORY_LETTERS {
            return;
        }
        match self.first.get_mut(usize::from(self.len)) {
            Some(place) => *place = letter,
            None => self.rest.get_mut().push(letter),
        }
        self.len += 1;
    }

    fn letters(&self) -> impl Iterator<Item = u8> {
        let rest = self.rest.changed().map_or(&[][..], Vec::as_slice);
        let first = self.first.iter().take(usize::from(self.len));
        first.chain(rest).copied()
    }
}

/// Follows one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct ConnTracker {
    ends: [Endpoint; 2],
    history: History,
}

impl ConnTracker {
    /// The roles were told by a SYN-ACK seen first: Zeek writes `^`.
    pub(super) fn flipped(&mut self) {
        self.history.push(b'^');
    }

    /// What was taken for the client is the server: ends and letters change sides.
    pub(super) fn swap_roles(&mut self) {
        self.ends.swap(0, 1);
        let before = std::mem::take(&mut self.history);
        for letter in before.letters() {
            self.history.push(if letter.is_ascii_lowercase() {
                letter.to_ascii_uppercase()
            } else {
                letter.to_ascii_lowercase()
            });
        }
    }

    /// Takes a segment. `new_gaps` counts the holes in the peer's data that its acknowledgement
    /// passed.
    pub(super) fn segment(&mut self, segment: &Segment, role: Role, new_gaps: u32) {
        let (own, peer) = match &mut self.ends {
            [orig, resp] if role == Role::Originator => (orig, resp),
            [orig, resp] => (resp, orig),
        };
        let flags = segment.flags;
        let len = if flags.rst() { 0 } else { segment.wire_len() };
        let end = segment
            .seq
            .wrapping_add(len)
            .wrapping_add(u32::from(flags.syn()))
            .wrapping_add(u32::from(flags.fin()));
        initialise(own, segment, end);
        let letters = Letters {
            history: &mut self.history,
            role,
        };
        letters.flags(own, segment, segment.wire_len());
        if segment.window == 0
            && !flags.rst()
            && peer.state != State::Closed
            && own.state != State::Reset
            && own.zero_windows.reached()
        {
            push(&mut self.history, role, b'W');
        }
        if flags.ack() && peer.state == State::Inactive {
            peer.start = segment.ack.wrapping_sub(1);
            peer.last = peer.start;
        }
        if update_last(own, segment, end) && own.retransmissions.reached() {
            push(&mut self.history, role, b'T');
        }
        advance(own, peer, segment, role);
        if new_gaps > 0 && own.is_up_or_closing_cleanly() && peer.is_up_or_closing_cleanly() {
            let other = match role {
                Role::Originator => Role::Responder,
                Role::Responder => Role::Originator,
            };
            for _ in 0..new_gaps {
                if peer.gaps.reached() {
                    push(&mut self.history, other, b'G');
                }
            }
        }
    }

    /// Whether more letters were earned than most connections earn.
    #[inline]
    pub(super) const fn has_rest(&self) -> bool {
        self.history.rest.is_changed()
    }

    /// Memory beyond the struct itself, bytes.
    pub(super) fn memory(&self) -> usize {
        self.history.rest.memory() + self.history.rest.changed().map_or(0, Vec::capacity)
    }

    /// The letters, in the order of what happened.
    pub(super) fn history(&self) -> String {
        self.history.letters().map(char::from).collect()
    }

    /// The connection's state, by Zeek's decision order.
    pub(super) fn conn_state(&self, orig_bytes: u64, resp_bytes: u64) -> ConnState {
        use State::{Closed, Established, Inactive, Partial, Reset, SynAckSent, SynSent};
        let [orig, resp] = &self.ends;
        let absent = |state| matches!(state, Inactive | Partial);
        match (orig.state, resp.state) {
            (SynSent | SynAckSent, Reset) => ConnState::Rej,
            (Reset, Reset) if orig_bytes == 0 && resp_bytes == 0 => ConnState::Rej,
            (state, Reset) if absent(state) => ConnState::Rstrh,
            (_, Reset) => ConnState::Rstr,
            (Reset, state) if absent(state) => {
                if self.is_syn_then_reset() {
                    ConnState::Rstos0
                } else {
                    ConnState::Oth
                }
            }
            (Reset, _) => ConnState::Rsto,
            (Closed, Closed) => ConnState::Sf,
            (Closed, state) if absent(state) => ConnState::Sh,
            (Closed, _) => ConnState::S2,
            (state, Closed) if absent(state) => ConnState::Shr,
            (_, Closed) => ConnState::S3,
            (SynSent, Inactive) => ConnState::S0,
            (Established, Established) => ConnState::S1,
            _ => ConnState::Oth,
        }
    }

    /// Whether the history reads `S`, then none of `HAFGIQ`, then `R` (after an optional `^`).
    fn is_syn_then_reset(&self) -> bool {
        let history = self.history();
        let letters = history.strip_prefix('^').unwrap_or(&history);
        letters.strip_prefix('S').is_some_and(|rest| {
            rest.split_once('R')
                .is_some_and(|(between, _)| !between.contains(is_blocker))
        })
    }
}

fn is_blocker(letter: char) -> bool {
    matches!(letter, 'H' | 'A' | 'F' | 'G' | 'I' | 'Q')
}

fn push(history: &mut History, role: Role, letter: u8) {
    history.push(match role {
        Role::Originator => letter,
        Role::Responder => letter.to_ascii_lowercase(),
    });
}

struct Letters<'a> {
    history: &'a mut History,
    role: Role,
}

impl Letters<'_> {
    /// The letter of a segment's control flags, or of its being data or a pure ACK.
    fn flags(self, own: &mut Endpoint, segment: &Segment, len: u32) {
        let flags = segment.flags;
        let control = u8::from(flags.syn()) + u8::from(flags.fin()) + u8::from(flags.rst());
        match control {
            0 if len > 0 => self.once(own, b'D'),
            0 if flags.ack() => self.once(own, b'A'),
            0 => {}
            1 if flags.syn() => {
                let letter = if flags.ack() { b'H' } else { b'S' };
                let seq = segment.seq;
                self.per_number(own, letter, seq, |own| &mut own.last_syn);
            }
            1 if flags.fin() => {
                let seq = segment.seq.wrapping_add(len);
                self.per_number(own, b'F', seq, |own| &mut own.last_fin);
            }
            1 => self.per_number(own, b'R', segment.seq, |own| &mut own.last_rst),
            _ if flags.fin() && flags.rst() => self.once(own, b'I'),
            _ => self.once(own, b'Q'),
        }
    }

    fn once(self, own: &mut Endpoint, letter: u8) {
        let bit = bit(letter);
        if own.letters & bit == 0 {
            own.letters |= bit;
            push(self.history, self.role, letter);
        }
    }

    /// Once, and again for each new sequence number.
    fn per_number(
        self,
        own: &mut Endpoint,
        letter: u8,
        seq: u32,
        last: impl Fn(&mut Endpoint) -> &mut u32,
    ) {
        // SYN and SYN-ACK share one memory, as in Zeek.
        let bit = bit(if letter == b'H' { b'S' } else { letter });
        if own.letters & bit == 0 || *last(own) != seq {
            own.letters |= bit;
            push(self.history, self.role, letter);
        }
        *last(own) = seq;
    }
}

const fn bit(letter: u8) -> u16 {
    match letter {
        b'S' => 1,
        b'F' => 2,
        b'R' => 4,
        b'D' => 8,
        b'A' => 16,
        b'I' => 32,
        _ => 64,
    }
}

/// The sequence space of an endpoint begins with its SYN, or as if there had been one.
fn initialise(own: &mut Endpoint, segment: &Segment, end: u32) {
    let syn = segment.flags.syn();
    match own.state {
        State::Inactive if !syn => {
            own.start = segment.seq.wrapping_sub(1);
            own.last = segment.seq;
        }
        State::Inactive | State::Established | State::Partial if syn => {
            own.start = segment.seq;
            own.last = end;
        }
        // The same number again changes nothing.
        State::SynSent | State::SynAckSent if syn && segment.seq != own.start => {
            (own.start, own.last) = (segment.seq, end);
        }
        _ => {}
    }
}

/// Moves the highest sequence number on; true where the segment carries data that ends at or
/// below it.
fn update_last(own: &mut Endpoint, segment: &Segment, end: u32) -> bool {
    let flags = segment.flags;
    let ahead = distance(own.last, end);
    if (flags.syn() || flags.rst()) && !(-LARGE_JUMP..=LARGE_JUMP).contains(&ahead) {
        return false;
    }
    if flags.fin() && own.last == own.start.wrapping_add(1) {
        own.last = end;
        return false;
    }
    if own.state == State::Reset {
        return false;
    }
    if ahead > 0 {
        own.last = end;
        return false;
    }
    // An endpoint's first segment, SYN data included, starts the numbering and repeats nothing.
    segment.wire_len() > 0 && own.state != State::Inactive
}

fn advance(own: &mut Endpoint, peer: &mut Endpoint, segment: &Segment, role: Role) {
    let flags = segment.flags;
    match own.state {
        State::Inactive => from_inactive(own, peer, segment, role),
        State::SynSent | State::SynAckSent => {
            if flags.fin() {
                own.enter(State::Closed);
            }
            if flags.rst() {
                own.enter(State::Reset);
            }
        }
        State::Established | State::Partial => from_established(own, peer, flags),
        State::Closed => {
            if flags.rst() && peer.state != State::Closed {
                own.enter(State::Reset);
            }
        }
        State::Reset => {}
    }
}

fn from_inactive(own: &mut Endpoint, peer: &mut Endpoint, segment: &Segment, role: Role) {
    let flags = segment.flags;
    if flags.syn() {
        match role {
            Role::Originator if flags.ack() => own.enter(State::SynAckSent),
            // The SYN-ACK was captured before its SYN.
            Role::Originator if peer.state == State::Established => own.enter(State::Established),
            Role::Originator => own.enter(State::SynSent),
            Role::Responder => {
                if peer.state == State::SynSent {
                    peer.enter(State::Established);
                }
                own.enter(State::Established);
            }
        }
    }
    if flags.fin() {
        own.enter(State::Closed);
    }
    if flags.rst() {
        own.enter(State::Reset);
    }
    if own.state == State::Inactive {
        let early_ack =
            role == Role::Responder && segment.wire_len() == 0 && peer.state == State::SynSent;
        if early_ack {
            // Some stacks acknowledge a SYN before they answer it.
        } else if flags.ack() && peer.state == State::Established {
            own.enter(State::Established);
        } else {
            own.enter(State::Partial);
        }
    }
}

fn from_established(own: &mut Endpoint, peer: &mut Endpoint, flags: TcpFlags) {
    if flags.syn() && !flags.ack() && own.state == State::Partial && peer.state == State::Inactive {
        own.enter(State::SynSent);
    }
    if flags.fin() && !flags.rst() {
        own.enter(State::Closed);
        if peer.state == State::Reset && peer.previous == State::Closed {
            // FIN, then RST, then the peer's FIN: a normal end after all.
            peer.enter(State::Closed);
        }
    }
    if flags.rst() {
        own.enter(State::Reset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reassembly::testing::SegmentBuilder as B;

    fn follow(segments: Vec<(Role, B)>) -> (ConnState, String) {
        let mut tracker = ConnTracker::default();
        for (role, segment) in segments {
            tracker.segment(&segment.build(), role, 0);
        }
        (tracker.conn_state(0, 0), tracker.history())
    }

    const O: Role = Role::Originator;
    const R: Role = Role::Responder;

    fn handshake() -> Vec<(Role, B)> {
        vec![
            (O, B::client(99, 0).syn()),
            (R, B::server(499, 100).syn_ack()),
            (O, B::client(100, 500)),
        ]
    }

    fn after_handshake(more: Vec<(Role, B)>) -> (ConnState, String) {
        let mut all = handshake();
        all.extend(more);
        follow(all)
    }

    #[test]
    fn states_of_attempts() {
        assert_eq!(
            follow(vec![(O, B::client(99, 0).syn())]),
            (ConnState::S0, "S".into())
        );
        let rejected = vec![(O, B::client(99, 0).syn()), (R, B::server(0, 100).rst())];
        assert_eq!(follow(rejected), (ConnState::Rej, "Sr".into()));
        let gave_up = vec![(O, B::client(99, 0).syn()), (O, B::client(100, 0).rst())];
        assert_eq!(follow(gave_up), (ConnState::Rstos0, "SR".into()));
        let half = vec![(O, B::client(99, 0).syn()), (O, B::client(100, 0).fin())];
        assert_eq!(follow(half), (ConnState::Sh, "SF".into()));
    }

    #[test]
    fn states_of_connections() {
        assert_eq!(after_handshake(vec![]), (ConnState::S1, "ShA".into()));
        let data = || (O, B::client(100, 500).data(10));
        let fin = || (O, B::client(110, 500).fin());
        let fin_back = || (R, B::server(500, 111).fin());
        assert_eq!(
            after_handshake(vec![data(), fin()]),
            (ConnState::S2, "ShADF".into())
        );
        assert_eq!(
            after_handshake(vec![data(), fin_back()]),
            (ConnState::S3, "ShADf".into())
        );
        let both = vec![data(), fin(), fin_back()];
        assert_eq!(after_handshake(both), (ConnState::Sf, "ShADFf".into()));
        let reset = vec![data(), (R, B::server(500, 110).rst())];
        assert_eq!(after_handshake(reset), (ConnState::Rstr, "ShADr".into()));
        let aborted = vec![data(), (O, B::client(110, 500).rst())];
        assert_eq!(after_handshake(aborted), (ConnState::Rsto, "ShADR".into()));
    }

    #[test]
    fn midstream_is_other() {
        let seen = vec![(O, B::client(100, 500).data(5)), (R, B::server(500, 105))];
        assert_eq!(follow(seen), (ConnState::Oth, "Da".into()));
    }

    #[test]
    fn retransmissions_are_told_at_powers_of_ten() {
        let mut segments = vec![(O, B::client(100, 500).data(10))];
        segments.extend((0..10).map(|_| (O, B::client(100, 500).data(10))));
        assert_eq!(after_handshake(segments).1, "ShADTT");
    }

    #[test]
    fn letters_of_control_flags_repeat_only_for_a_new_number() {
        let fins = vec![
            (O, B::client(100, 500).fin()),
            (O, B::client(100, 500).fin()),
            (O, B::client(120, 500).fin()),
        ];
        assert_eq!(after_handshake(fins).1, "ShAFF");
        let odd = vec![(O, B::client(100, 500).flags(TcpFlags::FIN | TcpFlags::RST))];
        assert_eq!(after_handshake(odd).1, "ShAI");
    }
}

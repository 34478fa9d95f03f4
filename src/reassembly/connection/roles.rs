//! Who is the client.

use super::super::service_ports::is_service;
use super::super::syns::Syns;
use super::{Connection, Role};
use crate::model::{ClientBy, Segment, Side};

/// The client as a flow's first segment tells it: by its flags, by the ports where exactly one is that of a
/// service, or else its sender.
pub(super) fn at_first(segment: &Segment) -> (Side, ClientBy) {
    by_flags(segment).unwrap_or_else(|| {
        let serves = |side| is_service(segment.key.end(side).port);
        match (serves(Side::Lower), serves(Side::Upper)) {
            (true, false) => (Side::Upper, ClientBy::Port),
            (false, true) => (Side::Lower, ClientBy::Port),
            _ => (segment.from, ClientBy::FirstFrame),
        }
    })
}

/// The client that a SYN or SYN-ACK tells of; `None` for any other segment.
fn by_flags(segment: &Segment) -> Option<(Side, ClientBy)> {
    let flags = segment.flags;
    if !flags.syn() || flags.rst() {
        None
    } else if flags.ack() {
        Some((segment.from.other(), ClientBy::SynAck))
    } else {
        Some((segment.from, ClientBy::Syn))
    }
}

impl Connection {
    pub(super) fn role(&self, side: Side) -> Role {
        if side == self.client {
            Role::Originator
        } else {
            Role::Responder
        }
    }

    /// A flow that was picked up in the middle may still show its handshake (reordered frames);
    /// as long as nothing went out under the first guess, the SYN decides.
    pub(super) fn settle_roles(&mut self, segment: &Segment) {
        let Some((client, by)) = by_flags(segment) else {
            return;
        };
        match self.client_by {
            ClientBy::FirstFrame | ClientBy::Port if !self.named => self.set_roles(client, by),
            ClientBy::SynAck if by == ClientBy::SynAck => {}
            _ if client == self.client && self.client_by != ClientBy::Syn => self.client_by = by,
            // The SYN of the side that answers had another number: it was none of this connection.
            ClientBy::Syn
                if by == ClientBy::SynAck
                    && client != self.client
                    && !self.named
                    && is_contradicted(&self.half(segment.from).syns, segment.seq) =>
            {
                self.set_roles(client, ClientBy::Syn);
            }
            _ => {}
        }
    }

    fn set_roles(&mut self, client: Side, by: ClientBy) {
        if client != self.client {
            self.tracker.swap_roles();
        }
        (self.client, self.client_by) = (client, by);
    }
}

/// Whether a SYN-ACK with this number shows that none of a side's SYNs was of this connection.
fn is_contradicted(syns: &Syns, isn: u32) -> bool {
    !syns.is_settled() && !syns.has(isn)
}

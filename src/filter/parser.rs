//! The grammar, by recursive descent.
//!
//! ```text
//! chain    = step { (and | or) step }                 both bind alike, from left to right
//! step     = { not } ( "(" chain ")" | test | value )
//! test     = [ip | ip6 | tcp] kind values | ip | ip6 | tcp | vlan [id] | sum relation sum
//! kind     = [direction] (host | net | port | portrange) | direction | proto
//! values   = { not } ( "(" chain of values ")" | value )
//! sum      = product { "|" product },  product = operand { "&" operand }
//! operand  = number | flag | tcp "[" tcpflags | 13 "]" | "(" sum ")"
//! ```
//!
//! A value that stands alone takes the qualifiers of the test before it, as in `port 80 or 443`;
//! after a group those from before the group count again.

use super::FilterError;
use super::flags::Values;
use super::gather::gather;
use super::lexer::{Token, tokens};
use super::operand;
use super::predicate::{Ends, Join, Node, Step, Test};
use super::qualifiers::{Kind, Protocol, Qualifiers};

/// How deep parentheses may nest. People write three; the bound keeps a crafted expression from
/// exhausting the call stack.
const MAX_DEPTH: u8 = 50;

/// The greatest VLAN id, of 12 bits (IEEE 802.1Q, 9.6).
const MAX_VLAN: u32 = 4095;

/// What may stand behind the first operand of a comparison, or in it.
const ARITHMETIC: [&str; 10] = ["[", "&", "|", "=", "==", "!=", "<", "<=", ">", ">="];

type Parsed<T> = Result<T, FilterError>;

/// Parses an expression; also tells whether it tests flags.
pub(super) fn parse(text: &str) -> Parsed<(Vec<Step>, bool)> {
    let mut parser = Parser {
        text,
        tokens: tokens(text)?,
        next: 0,
        depth: 0,
        tests_flags: false,
    };
    let mut steps = Vec::new();
    if !parser.at_end() {
        steps = parser.chain(None, false)?;
    }
    if !parser.at_end() {
        return Err(parser.expected("'and', 'or' or the end"));
    }
    Ok((gather(steps), parser.tests_flags))
}

struct Parser<'a> {
    text: &'a str,
    /// The end last; `next` never passes it.
    tokens: Vec<Token<'a>>,
    next: usize,
    depth: u8,
    tests_flags: bool,
}

impl<'a> Parser<'a> {
    /// `values_only`: the chain stands in parentheses behind qualifiers, as in `port (80 or 443)`.
    fn chain(
        &mut self,
        mut qualifiers: Option<Qualifiers>,
        values_only: bool,
    ) -> Parsed<Vec<Step>> {
        let mut steps = Vec::new();
        let mut join = Join::Or;
        loop {
            let negated = self.negations();
            let (negated_inside, node) = match qualifiers {
                Some(known) if values_only => self.values(known)?,
                _ => self.test(&mut qualifiers)?,
            };
            steps.push(Step {
                join,
                negated: negated != negated_inside,
                node,
            });
            join = match self.peek() {
                "and" | "&&" => Join::And,
                "or" | "||" => Join::Or,
                _ => return Ok(steps),
            };
            self.advance();
        }
    }

    /// Any number of them; true if they come to one.
    fn negations(&mut self) -> bool {
        let mut negated = false;
        while self.take("not") || self.take("!") {
            negated = !negated;
        }
        negated
    }

    /// A test, a group, or a value that takes its qualifiers from before.
    fn test(&mut self, qualifiers: &mut Option<Qualifiers>) -> Parsed<(bool, Node)> {
        if self.begins_comparison() {
            *qualifiers = None;
            return Ok((false, Node::Test(self.comparison()?)));
        }
        let plain = |test| Ok((false, Node::Test(test)));
        match self.peek() {
            "(" => Ok((false, self.group(*qualifiers, false)?)),
            "ip" => self.protocol(Protocol::Ip, qualifiers),
            "ip6" => self.protocol(Protocol::Ip6, qualifiers),
            "tcp" => self.protocol(Protocol::Tcp, qualifiers),
            "vlan" => {
                self.advance();
                *qualifiers = None;
                plain(self.vlan()?)
            }
            _ if self.begins_kind() => self.qualified(Protocol::Any, qualifiers),
            word => match (*qualifiers, unsupported(word)) {
                (_, Some(why)) => Err(self.fail(why.to_owned())),
                (Some(known), None) => plain(self.value(known)?),
                (None, None) => Err(self.expected("a test, as in 'host 192.0.2.1' or 'port 80'")),
            },
        }
    }

    /// A protocol, alone or as a qualifier.
    fn protocol(
        &mut self,
        protocol: Protocol,
        qualifiers: &mut Option<Qualifiers>,
    ) -> Parsed<(bool, Node)> {
        self.advance();
        if self.begins_kind() {
            return self.qualified(protocol, qualifiers);
        }
        *qualifiers = None;
        Ok((false, Node::Test(protocol.test())))
    }

    fn begins_kind(&self) -> bool {
        matches!(
            self.peek(),
            "src" | "dst" | "host" | "net" | "port" | "portrange" | "proto"
        )
    }

    /// Direction and kind, and what follows them.
    fn qualified(
        &mut self,
        protocol: Protocol,
        qualifiers: &mut Option<Qualifiers>,
    ) -> Parsed<(bool, Node)> {
        let direction = self.direction();
        let kind = match self.peek() {
            "host" => Some(Kind::Host),
            "net" => Some(Kind::Net),
            "port" => Some(Kind::Port),
            "portrange" => Some(Kind::PortRange),
            "proto" if direction.is_none() => Some(Kind::Proto),
            _ => None,
        };
        let known = Qualifiers {
            protocol,
            ends: direction.unwrap_or(Ends::Either),
            kind: kind.unwrap_or(Kind::Host),
        };
        if let Some(mistake) = known.mistake() {
            return Err(self.fail(mistake.to_owned()));
        }
        if kind.is_some() {
            self.advance();
        }
        *qualifiers = Some(known);
        self.values(known)
    }

    fn direction(&mut self) -> Option<Ends> {
        let (ends, other) = match self.peek() {
            "src" => (Ends::Source, "dst"),
            "dst" => (Ends::Destination, "src"),
            _ => return None,
        };
        self.advance();
        let both = match self.peek() {
            "or" => Ends::Either,
            "and" => Ends::Both,
            _ => return Some(ends),
        };
        if self.tokens[self.next + 1].text != other {
            return Some(ends);
        }
        self.advance();
        self.advance();
        Some(both)
    }

    /// What stands behind qualifiers: a value, or several in parentheses.
    fn values(&mut self, known: Qualifiers) -> Parsed<(bool, Node)> {
        let negated = self.negations();
        let node = if self.peek() == "(" {
            self.group(Some(known), true)?
        } else {
            Node::Test(self.value(known)?)
        };
        Ok((negated, node))
    }

    fn value(&mut self, known: Qualifiers) -> Parsed<Test> {
        let Qualifiers {
            protocol,
            ends,
            kind,
        } = known;
        if !self.peek().starts_with(word_begin) {
            return Err(self.expected(kind.noun()));
        }
        match kind {
            Kind::Host => {
                let net = self.word(|text| protocol.allow(operand::host(text)?))?;
                if matches!(self.peek(), "/" | "mask") {
                    return Err(self.fail("a mask goes with 'net'".to_owned()));
                }
                Ok(Test::Net(ends, net))
            }
            Kind::Net => {
                let mut net = self.word(|text| protocol.allow(operand::net(text)?))?;
                if self.take("/") {
                    net = self.word(|length| operand::with_length(net, length))?;
                } else if self.take("mask") {
                    net = self.word(|mask| operand::with_mask(net, mask))?;
                }
                Ok(Test::Net(ends, net))
            }
            Kind::Port => self.word(|text| {
                let port = operand::port(text)?;
                Ok(Test::Ports(ends, port..=port))
            }),
            Kind::PortRange => self.word(|text| Ok(Test::Ports(ends, operand::ports(text)?))),
            Kind::Proto => {
                self.word(tcp_number)?;
                Ok(protocol.test())
            }
        }
    }

    fn vlan(&mut self) -> Parsed<Test> {
        if !self.peek().starts_with(|c: char| c.is_ascii_digit()) {
            return Ok(Test::Tagged);
        }
        self.word(|text| {
            let id = operand::number(text).filter(|id| *id <= MAX_VLAN);
            let id = id.and_then(|id| u16::try_from(id).ok()).map(Test::Vlan);
            id.ok_or_else(|| format!("expected a VLAN id from 0 to {MAX_VLAN}, found '{text}'"))
        })
    }

    /// A chain in parentheses.
    fn group(&mut self, qualifiers: Option<Qualifiers>, values_only: bool) -> Parsed<Node> {
        self.nested(|parser| Ok(Node::Group(parser.chain(qualifiers, values_only)?)))
    }

    /// What stands between `(` and `)`.
    fn nested<T>(&mut self, inside: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth == MAX_DEPTH {
            return Err(self.fail(format!("parentheses nest deeper than {MAX_DEPTH}")));
        }
        self.depth += 1;
        self.advance();
        let found = inside(self)?;
        self.expect(")")?;
        self.depth -= 1;
        Ok(found)
    }

    /// A comparison has a sign of arithmetic behind its first word or first parentheses.
    fn begins_comparison(&self) -> bool {
        let mut open = 0_usize;
        let mut behind = self.tokens[self.next..].iter().skip_while(|token| {
            match token.text {
                "(" => open += 1,
                ")" => open = open.saturating_sub(1),
                _ => {}
            }
            open > 0
        });
        behind
            .nth(1)
            .is_some_and(|token| ARITHMETIC.contains(&token.text))
    }

    fn comparison(&mut self) -> Parsed<Test> {
        let begin = self.next;
        let left = self.sum()?;
        let sign = self.peek();
        if left.compare(sign, &left).is_none() {
            return Err(self.expected("a comparison (=, !=, <, <=, >, >=)"));
        }
        self.advance();
        let right = self.sum()?;
        match left.compare(sign, &right) {
            Some(set) if set.tells_apart() => {
                self.tests_flags = true;
                Ok(Test::Flags(set))
            }
            _ => {
                let end = self.tokens[self.next - 1];
                let at = self.tokens[begin].at;
                let len = end.at + end.text.len() - at;
                let message = "this comparison comes out the same whatever the flags".to_owned();
                Err(FilterError::new(self.text, at, len, message))
            }
        }
    }

    fn sum(&mut self) -> Parsed<Values> {
        let mut values = self.product()?;
        while self.take("|") {
            values = values.combine(&self.product()?, |a, b| a | b);
        }
        Ok(values)
    }

    fn product(&mut self) -> Parsed<Values> {
        let mut values = self.operand()?;
        while self.take("&") {
            values = values.combine(&self.operand()?, |a, b| a & b);
        }
        Ok(values)
    }

    fn operand(&mut self) -> Parsed<Values> {
        const FLAGS: &str = "only the flags can be tested, as tcp[tcpflags] or tcp[13]";
        if self.peek() == "(" {
            return self.nested(Self::sum);
        }
        if self.take("tcp") {
            self.expect("[")?;
            if !matches!(self.peek(), "tcpflags" | "13" | "tcpflags:1" | "13:1") {
                return Err(self.fail(FLAGS.to_owned()));
            }
            self.advance();
            self.expect("]")?;
            return Ok(Values::flags());
        }
        let word = self.peek();
        if let Some(values) = Values::constant(word) {
            self.advance();
            return Ok(values);
        }
        Err(match unsupported(word) {
            Some(why) => self.fail(why.to_owned()),
            None => self.expected("tcp[tcpflags], a flag like tcp-syn, or a number"),
        })
    }

    /// The text of the next token; nothing at the end.
    fn peek(&self) -> &'a str {
        self.tokens[self.next].text
    }

    fn at_end(&self) -> bool {
        self.next + 1 == self.tokens.len()
    }

    fn advance(&mut self) {
        self.next = (self.next + 1).min(self.tokens.len() - 1);
    }

    fn take(&mut self, text: &str) -> bool {
        let there = self.peek() == text;
        if there {
            self.advance();
        }
        there
    }

    fn expect(&mut self, text: &str) -> Parsed<()> {
        if self.take(text) {
            return Ok(());
        }
        Err(self.expected(&format!("'{text}'")))
    }

    /// Reads the next token; what is wrong with it is marked there.
    fn word<T>(&mut self, read: impl FnOnce(&str) -> Result<T, String>) -> Parsed<T> {
        let value = read(self.peek()).map_err(|message| self.fail(message))?;
        self.advance();
        Ok(value)
    }

    fn expected(&self, what: &str) -> FilterError {
        let found = match self.peek() {
            "" => "the end".to_owned(),
            text => format!("'{text}'"),
        };
        self.fail(format!("expected {what}, found {found}"))
    }

    /// The next token is a mistake.
    fn fail(&self, message: String) -> FilterError {
        let Token { at, text } = self.tokens[self.next];
        FilterError::new(self.text, at, text.len(), message)
    }
}

fn word_begin(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == ':' || c == '\\'
}

/// `proto` has TCP's number, 6, or its name behind a backslash, since it is a keyword.
fn tcp_number(text: &str) -> Result<(), String> {
    match (text, operand::number(text)) {
        ("tcp" | "\\tcp", _) | (_, Some(6)) => Ok(()),
        _ => Err(format!(
            "only TCP is reassembled: expected 6 or \\tcp, found '{text}'"
        )),
    }
}

/// Why a word of pcap-filter(7) is not supported here.
fn unsupported(word: &str) -> Option<&'static str> {
    Some(match word {
        "udp" | "sctp" | "icmp" | "icmp6" | "igmp" | "arp" | "rarp" | "esp" | "ah" | "pim"
        | "vrrp" | "carp" => "only TCP is reassembled, so no other protocol can match",
        "ether" | "link" | "wlan" | "fddi" | "tr" => "link-layer fields are not looked at",
        "less" | "greater" | "len" | "length" => {
            "lengths of frames are not supported: they would cut flows into pieces"
        }
        "mpls" | "pppoed" | "pppoes" | "geneve" | "gateway" | "broadcast" | "multicast"
        | "inbound" | "outbound" | "ifindex" | "protochain" | "byte" | "iso" | "stp" | "ipx"
        | "decnet" | "atalk" | "llc" => "this test of pcap-filter(7) is not supported",
        _ => return None,
    })
}

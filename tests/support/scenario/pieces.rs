//! The little language of bytes: pieces that follow each other.
//!
//! - `'GET /\r\n'`: text, with the escapes `\r \n \t \0 \\ \' \xNN`;
//! - `xdeadbeef`: bytes in hexadecimal;
//! - `#100`: 100 bytes of the pattern, from the place where the piece stands; `#100@5000` from
//!   place 5000. The byte at a place never changes, so copies of a range agree, and its
//!   neighbours differ from it, so that misplaced bytes show;
//! - `~20`: 20 missing bytes, which read as zeros.

/// The pattern's byte at a place.
pub fn pattern(place: i64) -> u8 {
    const LETTERS: &[u8; 61] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ012345678";
    // The row number shifts the letters, so that no two stretches of 61 bytes look the same.
    let row = place.div_euclid(61);
    LETTERS[(place.rem_euclid(61) + 7 * row).rem_euclid(61) as usize]
}

/// Bytes, some of which are missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// The bytes; zeros where missing.
    pub bytes: Vec<u8>,
    /// How many are missing.
    pub missing: u64,
}

/// Whether a word begins a piece.
pub fn is_piece(word: &str) -> bool {
    word.starts_with(['\'', '#', '~']) || (word.starts_with('x') && word.len() > 1)
}

/// Splits a line into words; a quoted text is one word.
pub fn words(line: &str) -> Result<Vec<&str>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let end = if rest.starts_with('\'') {
            let mut escaped = false;
            let close = rest.char_indices().skip(1).find(|&(_, c)| {
                let closes = c == '\'' && !escaped;
                escaped = c == '\\' && !escaped;
                closes
            });
            close
                .ok_or_else(|| format!("no closing quote in {rest}"))?
                .0
                + 1
        } else {
            rest.find(char::is_whitespace).unwrap_or(rest.len())
        };
        words.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    Ok(words)
}

/// The bytes of pieces, the first of which stands at `place`.
pub fn parse(words: &[&str], place: i64) -> Result<Bytes, String> {
    let mut out = Bytes::default();
    for word in words {
        let number = |text: &str| {
            text.parse::<i64>()
                .map_err(|_| format!("{word}: not a piece of bytes"))
        };
        if let Some(text) = word.strip_prefix('\'') {
            unescape(text.strip_suffix('\'').unwrap_or(text), &mut out.bytes)?;
        } else if let Some(count) = word.strip_prefix('#') {
            let (count, from) = match count.split_once('@') {
                Some((count, from)) => (number(count)?, number(from)?),
                None => (number(count)?, place + out.bytes.len() as i64),
            };
            out.bytes.extend((from..from + count).map(pattern));
        } else if let Some(count) = word.strip_prefix('~') {
            let count = number(count)?;
            out.bytes.resize(out.bytes.len() + count as usize, 0);
            out.missing += count as u64;
        } else if let Some(digits) = word.strip_prefix('x') {
            out.bytes.extend(hex(digits)?);
        } else {
            return Err(format!("{word}: not a piece of bytes"));
        }
    }
    Ok(out)
}

/// The bytes of a text of pieces.
pub fn parse_text(text: &str) -> Result<Bytes, String> {
    parse(&words(text)?, 0)
}

fn hex(digits: &str) -> Result<Vec<u8>, String> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| {
            let pair = std::str::from_utf8(pair).ok().filter(|p| p.len() == 2);
            pair.and_then(|p| u8::from_str_radix(p, 16).ok())
                .ok_or_else(|| format!("x{digits}: not hexadecimal"))
        })
        .collect()
}

fn unescape(text: &str, out: &mut Vec<u8>) -> Result<(), String> {
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        out.push(match chars.next() {
            Some('r') => b'\r',
            Some('n') => b'\n',
            Some('t') => b'\t',
            Some('0') => 0,
            Some('\\') => b'\\',
            Some('\'') => b'\'',
            Some('x') => hex(&chars.by_ref().take(2).collect::<String>())?[0],
            other => return Err(format!("unknown escape {other:?} in '{text}'")),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_follow_each_other() {
        let parsed = parse_text(r"'a\'b \x41\n' x00ff ~2 #3").unwrap();
        let mut expected = b"a'b A\n\x00\xff\0\0".to_vec();
        expected.extend([pattern(10), pattern(11), pattern(12)]);
        assert_eq!(
            parsed,
            Bytes {
                bytes: expected,
                missing: 2
            }
        );
        assert_eq!(
            parse_text("#2@10").unwrap().bytes,
            [pattern(10), pattern(11)]
        );
    }

    #[test]
    fn mistakes_are_told() {
        for bad in ["'open", "#x", "hello", "x1", "'\\q'"] {
            assert!(parse_text(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_pattern_does_not_repeat_soon() {
        let row = |n: i64| (n * 61..n * 61 + 61).map(pattern).collect::<Vec<_>>();
        assert!((1..60).all(|n| row(n) != row(0)));
    }
}

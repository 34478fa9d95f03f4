//! Names of files as they may be shown: whoever names a file must not write to a terminal, forge a line
//! of a log, or turn text round.

use std::borrow::Cow;
use std::fmt::{self, Display, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A name whose control characters and bytes that are no UTF-8 are written out: `\n`, `\xNN`, `\u{…}`.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a>(&'a [u8]);

/// A path to be shown.
pub fn shown(path: &Path) -> Shown<'_> {
    Shown(path.as_os_str().as_bytes())
}

impl<'a> Shown<'a> {
    /// A name of these bytes.
    pub const fn bytes(bytes: &'a [u8]) -> Shown<'a> {
        Shown(bytes)
    }
}

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.0.utf8_chunks() {
            for letter in part.valid().chars() {
                match letter {
                    '\n' => f.write_str("\\n")?,
                    '\r' => f.write_str("\\r")?,
                    '\t' => f.write_str("\\t")?,
                    '\0'..=' ' | '\x7f' if letter != ' ' => {
                        write!(f, "\\x{:02x}", u32::from(letter))?;
                    }
                    letter if is_hidden(letter) => write!(f, "\\u{{{:x}}}", u32::from(letter))?,
                    letter => f.write_char(letter)?,
                }
            }
            for byte in part.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// Characters beyond ASCII that control a terminal (C1), break a line, or change the direction of text:
/// those with the property `Bidi_Control` (Unicode Standard Annex 9).
const fn is_hidden(letter: char) -> bool {
    matches!(
        letter,
        '\u{80}'..='\u{9f}'
            | '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
    )
}

/// JSON text that means the same and has none of those characters raw. They can stand in strings alone;
/// the controls below the space are written out by whoever made the text.
pub fn json(text: &str) -> Cow<'_, str> {
    let hidden = |letter: char| letter == '\x7f' || is_hidden(letter);
    if !text.contains(hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if hidden(letter) {
            // Writing to a string cannot fail; all of them have four hexadecimal digits.
            let _ = write!(shown, "\\u{:04x}", u32::from(letter));
        } else {
            shown.push(letter);
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_name_is_a_control() {
        for (name, wanted) in [
            (&b"plain name-1.pcap"[..], "plain name-1.pcap"),
            ("größe ∑.pcap".as_bytes(), "größe ∑.pcap"),
            (b"a\nb\r\tc", "a\\nb\\r\\tc"),
            (b"\x1b]0;x\x07\x00\x7f", "\\x1b]0;x\\x07\\x00\\x7f"),
            ("\u{9b}2J\u{80}".as_bytes(), "\\u{9b}2J\\u{80}"),
            ("\u{202e}gpj\u{2066}".as_bytes(), "\\u{202e}gpj\\u{2066}"),
            (b"\x9b\xff\xc3", "\\x9b\\xff\\xc3"),
        ] {
            assert_eq!(Shown::bytes(name).to_string(), wanted);
        }
    }

    #[test]
    fn no_control_passes_and_json_keeps_its_meaning() {
        let all: String = (0..=0x2fff).filter_map(char::from_u32).collect();
        let shown = Shown::bytes(all.as_bytes()).to_string();
        let encoded = serde_json::to_string(&all).unwrap();
        let escaped = json(&encoded);
        for text in [&shown, &*escaped] {
            assert!(!text.contains(|c: char| c.is_control() || is_hidden(c)));
        }
        assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), all);
        assert!(matches!(json("{}\n"), Cow::Borrowed(_)));
    }
}

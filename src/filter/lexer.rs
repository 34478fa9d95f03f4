//! Text to tokens.

use super::FilterError;

/// A word or a sign. The end of the expression is a token without text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'a> {
    /// Its first byte.
    pub(super) at: usize,
    pub(super) text: &'a str,
}

const LONG_SIGNS: [&str; 6] = ["&&", "||", "!=", "==", "<=", ">="];
const SIGNS: &str = "()[]/&|!=<>";

/// The tokens of an expression, the end last.
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, FilterError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    loop {
        let rest = text[at..].trim_start();
        at = text.len() - rest.len();
        let Some(first) = rest.chars().next() else {
            tokens.push(Token {
                at: text.trim_end().len(),
                text: "",
            });
            return Ok(tokens);
        };
        let len = if let Some(sign) = LONG_SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            sign.len()
        } else if SIGNS.contains(first) {
            1
        } else {
            word(rest)
        };
        if len == 0 {
            let message = format!("unexpected {first:?}");
            return Err(FilterError::new(text, at, first.len_utf8(), message));
        }
        tokens.push(Token {
            at,
            text: &rest[..len],
        });
        at += len;
    }
}

/// The length of the word that `text` begins with. Names, numbers, addresses and ranges are words;
/// a backslash may stand before a name that is a keyword otherwise.
fn word(text: &str) -> usize {
    let begin = usize::from(text.starts_with('\\'));
    let body = &text[begin..];
    let len = body
        .find(|c: char| !(c.is_ascii_alphanumeric() || "_.:-".contains(c)))
        .unwrap_or(body.len());
    if len == 0 { 0 } else { begin + len }
}

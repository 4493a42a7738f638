//! Refuses source text that would nest deeper than the native stack, before it is parsed.

use ruff_python_ast::token::TokenKind;
use ruff_python_parser::{Mode, lexer};

use crate::Limits;

/// Levels of indentation, as in CPython.
const MAX_INDENTATION: usize = 100;

/// Says what is too much, and on which line of the text, counted from 1; 0 means the whole text.
pub(crate) struct Excess {
    pub message: String,
    pub line: u32,
}

/// Checks the size of a text and bounds how deep its expressions can nest.
///
/// Operators, attributes and calls nest at most as often as they stand between two commas of one pair of brackets;
/// the counts of all brackets open at once add up.
pub(crate) fn check(text: &str, limits: &Limits) -> Result<(), Excess> {
    if text.len() > limits.source_bytes {
        let message = format!("source text of {} bytes is longer than {} bytes", text.len(), limits.source_bytes);
        return Err(Excess { message, line: 0 });
    }
    let mut lexer = lexer::lex(text, Mode::Module);
    // Nodes since the last comma, for each open bracket; the first is the statement itself.
    let mut open = vec![0_usize];
    let mut nested = 0_usize;
    let mut indentation = 0_usize;
    // Counts the ends of lines outside strings; a string that runs over lines makes this too small.
    let mut line = 1_u32;
    loop {
        let kind = lexer.next_token();
        line += u32::from(matches!(kind, TokenKind::Newline | TokenKind::NonLogicalNewline));
        match kind {
            TokenKind::EndOfFile => return Ok(()),
            TokenKind::Newline | TokenKind::Semi => {
                open.clear();
                open.push(0);
                nested = 0;
            }
            TokenKind::Comma => nested -= open.last_mut().map(std::mem::take).unwrap_or_default(),
            TokenKind::Indent => indentation += 1,
            TokenKind::Dedent => indentation = indentation.saturating_sub(1),
            _ => {
                if opens(kind) {
                    open.push(0);
                } else if closes(kind) && open.len() > 1 {
                    nested -= open.pop().unwrap_or_default();
                }
                if nests(kind) {
                    nested += 1;
                    if let Some(count) = open.last_mut() {
                        *count += 1;
                    }
                }
            }
        }
        let message = if open.len() > limits.bracket_depth {
            "too many nested parentheses".to_owned()
        } else if nested > limits.chain_length {
            format!("expression nests more than {} operators, attributes and calls", limits.chain_length)
        } else if indentation > MAX_INDENTATION {
            "too many levels of indentation".to_owned()
        } else {
            continue;
        };
        return Err(Excess { message, line });
    }
}

fn opens(kind: TokenKind) -> bool {
    matches!(
        kind,
        TokenKind::Lpar | TokenKind::Lsqb | TokenKind::Lbrace | TokenKind::FStringStart | TokenKind::TStringStart
    )
}

fn closes(kind: TokenKind) -> bool {
    matches!(
        kind,
        TokenKind::Rpar | TokenKind::Rsqb | TokenKind::Rbrace | TokenKind::FStringEnd | TokenKind::TStringEnd
    )
}

/// Says whether a token may put one expression inside another. What closes a bracket counts for what it closed:
/// `f()()()` nests three calls.
fn nests(kind: TokenKind) -> bool {
    closes(kind)
        || kind.is_operator()
            && !matches!(kind, TokenKind::Lpar | TokenKind::Lsqb | TokenKind::Lbrace | TokenKind::Colon)
        || matches!(
            kind,
            TokenKind::Not
                | TokenKind::And
                | TokenKind::Or
                | TokenKind::In
                | TokenKind::Is
                | TokenKind::If
                | TokenKind::Else
                | TokenKind::For
                | TokenKind::Lambda
                | TokenKind::Await
                | TokenKind::Yield
                | TokenKind::From
        )
}

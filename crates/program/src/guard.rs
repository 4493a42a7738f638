//! Refuses source text that would nest deeper than the native stack: by its tokens before it is parsed, and by its tree after.

use ruff_python_ast::token::TokenKind;
use ruff_python_ast::visitor::{Visitor, walk_expr, walk_pattern, walk_stmt};
use ruff_python_ast::{Expr, ModModule, Pattern, Stmt};
use ruff_python_parser::{Mode, lexer};
use ruff_text_size::{Ranged, TextRange};

use crate::Limits;

/// Levels of indentation, as in CPython.
const MAX_INDENTATION: usize = 100;

/// Says what is too much, and on which line of the text, counted from 1; 0 means the whole text.
pub(crate) struct Excess {
    pub message: String,
    pub line: u32,
}

/// Checks the size of a text and bounds what the parser has open at once.
///
/// Operators, attributes and calls nest at most as often as they stand between two commas of one pair of brackets;
/// the counts of all brackets open at once add up. The parameters of a lambda are such a pair: from `lambda` to its colon.
pub(crate) fn check(text: &str, limits: &Limits) -> Result<(), Excess> {
    if text.len() > limits.source_bytes {
        let message = format!("source text of {} bytes is longer than {} bytes", text.len(), limits.source_bytes);
        return Err(Excess { message, line: 0 });
    }
    let mut lexer = lexer::lex(text, Mode::Module);
    let mut open = Brackets::default();
    let mut indentation = 0_usize;
    // Counts the ends of lines outside strings; a string that runs over lines makes this too small.
    let mut line = 1_u32;
    loop {
        let kind = lexer.next_token();
        line += u32::from(matches!(kind, TokenKind::Newline | TokenKind::NonLogicalNewline));
        match kind {
            TokenKind::EndOfFile => return Ok(()),
            TokenKind::Indent => indentation += 1,
            TokenKind::Dedent => indentation = indentation.saturating_sub(1),
            kind => open.take(kind),
        }
        let message = if open.brackets > limits.bracket_depth {
            "too many nested parentheses".to_owned()
        } else if open.nested > limits.chain_length {
            too_long(limits)
        } else if indentation > MAX_INDENTATION {
            "too many levels of indentation".to_owned()
        } else {
            continue;
        };
        return Err(Excess { message, line });
    }
}

/// Finds where a tree nests deeper than what lowers, runs and drops it has stack for: its nodes are what these recurse over.
pub(crate) fn excess_depth(tree: &ModModule, limits: &Limits) -> Option<(String, TextRange)> {
    // Every token of a chain makes one node, a pair of brackets up to two (`a[b, c]`), a level of indentation one.
    let limit = limits.chain_length + 2 * limits.bracket_depth + MAX_INDENTATION;
    let mut depth = Depth { limit, depth: 0, excess: None };
    depth.visit_body(&tree.body);
    depth.excess.map(|range| (too_long(limits), range))
}

fn too_long(limits: &Limits) -> String {
    format!("expression nests more than {} operators, attributes and calls", limits.chain_length)
}

/// What is open at a place of a statement.
#[derive(Default)]
struct Brackets {
    /// Nodes since the last comma, for each open bracket, and whether that is a lambda's.
    open: Vec<(usize, bool)>,
    /// Nodes since the last comma outside of all brackets.
    outside: usize,
    /// All these together.
    nested: usize,
    /// Brackets open, lambdas apart.
    brackets: usize,
}

impl Brackets {
    fn take(&mut self, kind: TokenKind) {
        match kind {
            TokenKind::Newline | TokenKind::Semi => *self = Self::default(),
            TokenKind::Comma => {
                let ended = std::mem::take(self.innermost());
                self.nested -= ended;
            }
            TokenKind::Colon if self.open.last().is_some_and(|(_, lambda)| *lambda) => self.close(),
            kind if closes(kind) => {
                while self.open.last().is_some_and(|(_, lambda)| *lambda) {
                    self.close();
                }
                self.close();
                self.nest();
            }
            TokenKind::Lambda => {
                self.nest();
                self.open.push((0, true));
            }
            kind if opens(kind) => {
                self.open.push((0, false));
                self.brackets += 1;
            }
            kind if nests(kind) => self.nest(),
            _ => {}
        }
    }

    fn nest(&mut self) {
        *self.innermost() += 1;
        self.nested += 1;
    }

    fn close(&mut self) {
        if let Some((ended, lambda)) = self.open.pop() {
            self.nested -= ended;
            self.brackets -= usize::from(!lambda);
        }
    }

    fn innermost(&mut self) -> &mut usize {
        self.open.last_mut().map_or(&mut self.outside, |(count, _)| count)
    }
}

/// Counts the nodes around the one at hand.
struct Depth {
    limit: usize,
    depth: usize,
    excess: Option<TextRange>,
}

impl Depth {
    fn inside<N: Ranged>(&mut self, node: &N, walk: impl FnOnce(&mut Self)) {
        if self.excess.is_some() {
            return;
        }
        if self.depth >= self.limit {
            self.excess = Some(node.range());
            return;
        }
        self.depth += 1;
        walk(self);
        self.depth -= 1;
    }
}

impl<'a> Visitor<'a> for Depth {
    fn visit_stmt(&mut self, stmt: &'a Stmt) {
        self.inside(stmt, |depth| walk_stmt(depth, stmt));
    }

    fn visit_expr(&mut self, expr: &'a Expr) {
        self.inside(expr, |depth| walk_expr(depth, expr));
    }

    fn visit_pattern(&mut self, pattern: &'a Pattern) {
        self.inside(pattern, |depth| walk_pattern(depth, pattern));
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

/// Says whether a token may put one expression inside another. What closes a bracket counts too, for what it closed:
/// `f()()()` nests three calls.
fn nests(kind: TokenKind) -> bool {
    kind.is_operator() && kind != TokenKind::Colon
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
                | TokenKind::Await
                | TokenKind::Yield
                | TokenKind::From
        )
}

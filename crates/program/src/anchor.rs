//! Where in an expression a traceback points.

use ruff_python_ast::Expr;
use ruff_text_size::Ranged;

/// Returns the byte range of the operator of a binary operation, or of the brackets of a subscript; `None` for other
/// expressions. `source` is one line, as a traceback shows it.
#[must_use]
pub fn of(source: &str) -> Option<(usize, usize)> {
    crate::guard::check(source, &crate::Limits::default()).ok()?;
    let parsed = ruff_python_parser::parse_expression(source).ok()?;
    match parsed.expr() {
        Expr::BinOp(node) => {
            let between = source.get(node.left.end().to_usize()..node.right.start().to_usize())?;
            let offset = between.len() - between.trim_start().len();
            let start = node.left.end().to_usize() + offset;
            // Operators have one or two characters: `+`, `**`, `//`.
            let double = between.get(offset + 1..)?.chars().next().is_some_and(|letter| !letter.is_whitespace());
            Some((start, start + 1 + usize::from(double)))
        }
        Expr::Subscript(node) => Some((node.value.end().to_usize(), node.slice.end().to_usize() + 1)),
        _ => None,
    }
}

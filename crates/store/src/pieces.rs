//! What a job printed, in pieces that are worth a message, an entry or a frame each.

/// Cuts a text of many lines into pieces of so many bytes at most, at the ends of lines where there are any, which are left
/// out then. There is one piece at least, which may be empty.
///
/// A character that is longer than a piece is one of its own.
pub fn pieces(text: &str, most: usize) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let all = rest?;
        if all.len() <= most {
            rest = None;
            return Some(all);
        }
        let end = all.floor_char_boundary(most).max(all.ceil_char_boundary(1));
        let (piece, after) = match all[..end].rfind('\n') {
            Some(line) => (&all[..line], &all[line + 1..]),
            None => all.split_at(end),
        };
        rest = Some(after);
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_lines_is_few_pieces_and_loses_nothing_but_the_ends_between_them() {
        const MOST: usize = 16 << 10;
        let burst = "\n".repeat(1_000_000);
        assert!(pieces(&burst, MOST).count() <= 1_000_000 / MOST + 1);
        let lines: Vec<String> = (0..20_000).map(|number| format!("line {number} ä")).collect();
        let text = lines.join("\n");
        assert_eq!(pieces(&text, MOST).collect::<Vec<_>>().join("\n"), text);
        assert!(pieces(&text, MOST).all(|piece| piece.len() <= MOST));
        let long = "ä".repeat(MOST);
        assert_eq!(pieces(&long, MOST).collect::<String>(), long);
        assert_eq!(pieces(&long, 1).collect::<String>(), long);
        assert_eq!(pieces("", MOST).collect::<Vec<_>>(), [""]);
    }
}

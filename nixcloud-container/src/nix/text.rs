//! What Nix prints, made fit to be kept: control codes taken out, places in files found.

use super::position::Position;

/// Takes out terminal escapes and other control characters. A build's log may hold anything, and
/// what is shown must not be able to steer a terminal. Tabs and line ends stay.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => match chars.next() {
                // CSI: parameters up to one byte of 0x40 to 0x7e.
                Some('[') => while chars.next().is_some_and(|c| !('\u{40}'..='\u{7e}').contains(&c)) {},
                // OSC, DCS, SOS, PM, APC: text up to BEL or ESC \.
                Some(']' | 'P' | 'X' | '^' | '_') => {
                    while let Some(c) = chars.next() {
                        if c == '\u{7}' {
                            break;
                        }
                        if c == '\u{1b}' {
                            chars.next_if_eq(&'\\');
                            break;
                        }
                    }
                }
                // Two characters, or three when the second is an intermediate one.
                Some(c) if ('\u{20}'..='\u{2f}').contains(&c) => {
                    chars.next();
                }
                _ => {}
            },
            '\n' | '\t' => out.push(c),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

/// All of a message in one line of at most 400 characters.
pub(super) fn one_line(text: &str) -> String {
    let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match joined.char_indices().nth(400) {
        Some((end, _)) => format!("{} ...", &joined[..end]),
        None => joined,
    }
}

/// The places that a trace names in lines such as `at /path/file.nix:3:5:`.
pub(super) fn positions(trace: &str) -> Vec<Position> {
    trace.lines().filter_map(position).collect()
}

fn position(line: &str) -> Option<Position> {
    let place = line.trim().strip_prefix("at ")?.trim_end_matches(':');
    let mut parts = place.rsplitn(3, ':');
    let column = parts.next()?.parse().ok()?;
    let line = parts.next()?.parse().ok()?;
    Position::at(parts.next()?, line, Some(column))
}

/// The first store path in quotes, as Nix's messages have it.
pub(super) fn quoted_store_path(message: &str) -> Option<super::StorePath> {
    message.split('\'').find_map(|part| part.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_go_and_text_stays() {
        assert_eq!(plain("\u{1b}[31;1merror:\u{1b}[0m x\ty\nz\r"), "error: x\ty\nz");
        assert_eq!(plain("a\u{1b}]0;title\u{7}b\u{1b}]8;;u\u{1b}\\c"), "abc");
        assert_eq!(plain("a\u{1b}(Bb\u{1b}7c\u{9b}d"), "abcd");
        assert_eq!(plain("cut \u{1b}[3"), "cut ");
    }

    #[test]
    fn messages_become_one_line() {
        assert_eq!(one_line("\nFailed assertions:\n- one\n- two"), "Failed assertions: - one - two");
        assert_eq!(one_line(&"ä".repeat(500)).chars().count(), 404);
    }

    #[test]
    fn places_in_a_trace() {
        let trace = "error: boom\n\n       at /a b/c:d.nix:3:5:\n  1| x\n at (string):1:1:\n at /e:1\n";
        assert_eq!(positions(trace), [Position::at("/a b/c:d.nix", 3, Some(5)).unwrap()]);
    }
}

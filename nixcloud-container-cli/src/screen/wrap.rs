//! Lines for a terminal, broken between words: never inside one, nor inside a command that is quoted, where that fits.

/// The fewest columns in which sentences are still put together.
const NARROWEST: usize = 16;

/// `text` in lines of at most `columns`. The first stands behind something that is `first` columns wide, the others are
/// indented by `below`. What is wider than a line has one of its own.
pub(crate) fn wrapped(text: &str, first: usize, below: usize, columns: usize) -> Vec<String> {
    let below = if columns < below + NARROWEST { 0 } else { below };
    let mut lines = vec![String::new()];
    let mut width = first;
    let mut begins = true;
    for word in words(text, columns.saturating_sub(below)) {
        let wide = width_of(word);
        if !begins && width + 1 + wide > columns
            || begins && lines.len() == 1 && first > below && width + wide > columns
        {
            lines.push(" ".repeat(below));
            (width, begins) = (below, true);
        }
        if let Some(line) = lines.last_mut() {
            if !begins {
                line.push(' ');
                width += 1;
            }
            line.push_str(word);
        }
        width += wide;
        begins = false;
    }
    lines
}

/// A page whose lines are no wider than `columns`; each that was keeps its indentation.
pub(crate) fn page(text: &str, columns: usize) -> String {
    let mut page = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
        if width_of(line) <= columns {
            page.push_str(line);
        } else {
            let words = line.trim_start_matches(' ');
            let indent = line.len() - words.len();
            page.push_str(&line[..indent]);
            page.push_str(&wrapped(words.trim_end(), indent, indent + 2, columns).join("\n"));
        }
        page.push_str(end);
    }
    page
}

/// How wide a text is on a terminal, which shows nothing of what sets a colour.
fn width_of(text: &str) -> usize {
    let mut chars = text.chars();
    let mut width = 0;
    while let Some(c) = chars.next() {
        if c == '\x1b' {
            chars.find(char::is_ascii_alphabetic);
        } else {
            width += 1;
        }
    }
    width
}

/// The words of a text; what stands between backticks is one, if it is no wider than `room`.
fn words(text: &str, room: usize) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(' ').unwrap_or(rest.len());
        let end = quoted_end(rest, end).filter(|end| width_of(&rest[..*end]) <= room).unwrap_or(end);
        words.push(&rest[..end]);
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    words
}

/// The end of the word where a quotation begins in it that goes beyond `end`.
fn quoted_end(rest: &str, end: usize) -> Option<usize> {
    if rest[..end].matches('`').count().is_multiple_of(2) {
        return None;
    }
    let close = end + rest[end..].find('`')?;
    Some(rest[close..].find(' ').map_or(rest.len(), |blank| close + blank))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrapped("a sentence of some words", 7, 2, 20), ["a sentence of", "  some words"]);
        assert_eq!(wrapped("short", 7, 2, 20), ["short"]);
        assert_eq!(wrapped("", 7, 2, 20), [""]);
        assert_eq!(wrapped("one two", 0, 8, 4), ["one", "two"]);
    }

    #[test]
    fn a_command_is_not_broken_where_it_fits() {
        let text = "do it with `host up now`, then go on";
        assert_eq!(wrapped(text, 0, 2, 22), ["do it with", "  `host up now`, then", "  go on"]);
        assert_eq!(wrapped("`a b c d e f g h i j`", 0, 0, 16), ["`a b c d e f g h", "i j`"]);
    }

    #[test]
    fn a_page_keeps_its_indentation_and_its_colours() {
        let text = "\x1b[1mUsage:\x1b[0m \x1b[1mprogram\x1b[0m [OPTIONS] <COMMAND>\n\n  program start web  boot it\n";
        assert_eq!(page(text, 80), text);
        assert_eq!(
            page(text, 25),
            "\x1b[1mUsage:\x1b[0m \x1b[1mprogram\x1b[0m [OPTIONS]\n  <COMMAND>\n\n  program start web  boot\n    it\n"
        );
    }

    #[test]
    fn what_is_wider_than_a_line_has_one() {
        let path = "/a/path/that/is/wider/than/the/line";
        assert_eq!(
            wrapped(&format!("cannot read {path}"), 7, 2, 20),
            ["cannot read".to_owned(), format!("  {path}")]
        );
        assert_eq!(wrapped(path, 7, 2, 20), [String::new(), format!("  {path}")]);
    }
}

//! The words of a line that is still being typed, as a shell splits them.

/// A line up to the cursor.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// Its words without their quotes; the last one is being typed, and may be empty.
    pub(super) words: Vec<String>,
    /// So many bytes of the last word stay as they are: the shell replaces what is behind them.
    pub(super) cut: usize,
}

/// Splits what bash has in `COMP_LINE`, with its `COMP_WORDBREAKS`. Nothing is expanded.
pub(super) fn split(line: &str, breaks: &str) -> Line {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut cut = 0;
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        if c.is_ascii_whitespace() {
            words.extend(word.take());
            cut = 0;
            continue;
        }
        let word = word.get_or_insert_default();
        match c {
            '\\' => word.extend(rest.next()),
            '\'' | '"' => {
                let before = word.len();
                if !quoted(c, &mut rest, word) {
                    // The quote is open: bash completes what is behind it.
                    cut = before;
                }
            }
            c => {
                word.push(c);
                if matches!(c, '=' | ':') && breaks.contains(c) {
                    cut = word.len();
                }
            }
        }
    }
    words.push(word.unwrap_or_default());
    Line { words, cut }
}

/// Takes a quoted text up to its end; whether it has one.
fn quoted(quote: char, rest: &mut std::str::Chars<'_>, word: &mut String) -> bool {
    while let Some(c) = rest.next() {
        match c {
            c if c == quote => return true,
            '\\' if quote == '"' => match rest.next() {
                Some(escaped @ ('$' | '`' | '"' | '\\')) => word.push(escaped),
                Some(other) => word.extend(['\\', other]),
                None => word.push('\\'),
            },
            c => word.push(c),
        }
    }
    false
}

/// Words of which only the last one still has its quotes.
pub(super) fn with_raw_last(mut words: Vec<String>) -> Line {
    if let Some(last) = words.last_mut() {
        // What is quoted has no blanks at which it would be split; the rest has them escaped.
        *last = split(last, "").words.join(" ");
    }
    Line { words, cut: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What bash has by default.
    const BREAKS: &str = " \t\n\"'><=;|&(:";

    #[track_caller]
    fn check(line: &str, words: &[&str], cut: usize) {
        let words = words.iter().map(|&word| word.to_owned()).collect();
        assert_eq!(split(line, BREAKS), Line { words, cut }, "{line}");
    }

    #[test]
    fn a_line_is_split_as_bash_does() {
        check("x", &["x"], 0);
        check("x start ", &["x", "start", ""], 0);
        check(r#"x a\ b 'c d' "e\"f\g" h"#, &["x", "a b", "c d", "e\"f\\g", "h"], 0);
        check("x '' ", &["x", "", ""], 0);
    }

    #[test]
    fn what_bash_does_not_replace_is_known() {
        check("x --config=/et", &["x", "--config=/et"], 9);
        check("x --config=/et a", &["x", "--config=/et", "a"], 0);
        check("x a:b=c", &["x", "a:b=c"], 4);
        check("x \"my f", &["x", "my f"], 0);
        check("x --config='/my d", &["x", "--config=/my d"], 9);
        assert_eq!(split("x --config=/et", " \t\n").cut, 0);
    }

    #[test]
    fn the_word_under_the_cursor_loses_its_quotes() {
        let last = |word: &str| with_raw_last(vec!["x".into(), word.into()]).words.pop().unwrap();
        assert_eq!(last(""), "");
        assert_eq!(last(r"my\ fi"), "my fi");
        assert_eq!(last("'my fi"), "my fi");
    }
}

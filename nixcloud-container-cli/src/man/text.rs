//! What stands below the options in a command's help, taken apart: paragraphs, and lists of lines under a heading.

/// A piece of such a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// A paragraph, on one line.
    Prose(String),
    /// A heading that ended with a colon, and the lines below it, less the indentation that all have.
    Listing(String, Vec<String>),
}

impl Block {
    pub(super) fn prose(&self) -> Option<&str> {
        match self {
            Self::Prose(text) => Some(text),
            Self::Listing(..) => None,
        }
    }

    pub(super) fn listing(&self) -> Option<(&str, &[String])> {
        match self {
            Self::Prose(_) => None,
            Self::Listing(heading, lines) => Some((heading, lines)),
        }
    }
}

/// Takes a text apart.
pub(super) fn blocks(text: &str) -> Vec<Block> {
    let lines: Vec<&str> = text.lines().collect();
    let indented = |at: usize| lines.get(at).is_some_and(|line| line.starts_with("  "));
    let mut blocks = Vec::new();
    let mut paragraph: Vec<&str> = Vec::new();
    let mut at = 0;
    while let Some(&line) = lines.get(at) {
        at += 1;
        let heading = line.strip_suffix(':').filter(|_| indented(at));
        if line.is_empty() || heading.is_some() {
            if !paragraph.is_empty() {
                blocks.push(Block::Prose(paragraph.join(" ")));
                paragraph.clear();
            }
        } else {
            paragraph.push(line.trim());
        }
        if let Some(heading) = heading {
            let begin = at;
            // An empty line is one of the list where the list goes on behind it.
            while indented(at) || (lines.get(at) == Some(&"") && indented(at + 1)) {
                at += 1;
            }
            blocks.push(Block::Listing(heading.to_owned(), without_indent(&lines[begin..at])));
        }
    }
    if !paragraph.is_empty() {
        blocks.push(Block::Prose(paragraph.join(" ")));
    }
    blocks
}

fn without_indent(lines: &[&str]) -> Vec<String> {
    let indent = |line: &&&str| line.len() - line.trim_start().len();
    let least =
        lines.iter().filter(|line| !line.is_empty()).map(|line| indent(&line)).min().unwrap_or_default();
    lines.iter().map(|line| line.get(least..).unwrap_or_default().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_keep_their_lines_and_paragraphs_do_not() {
        let text = "One\ntwo: three.\n\nFour.\nExamples:\n  a  b\n    c\n\n  d\nFive:\nsix\n";
        let list = ["a  b", "  c", "", "d"].map(str::to_owned).to_vec();
        assert_eq!(
            blocks(text),
            [
                Block::Prose("One two: three.".into()),
                Block::Prose("Four.".into()),
                Block::Listing("Examples".into(), list),
                Block::Prose("Five: six".into()),
            ]
        );
        assert_eq!(blocks(""), []);
    }
}

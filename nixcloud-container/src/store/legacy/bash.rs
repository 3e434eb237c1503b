//! The lists that the shell original kept: what bash's `declare -p` prints of an associative array. The original read
//! them by running them; here they are data, and what `declare -p` would not print is refused.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A text that is not what `declare -p` prints.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is not what bash's `declare -p {name}` prints: {what} at byte {at}")]
pub struct BashError {
    name: &'static str,
    what: &'static str,
    at: usize,
}

/// An associative array.
pub(super) type Array = BTreeMap<String, String>;

/// Reads `declare -A NAME=([key]="value" ...)`. An empty text, or an array without a value, is an empty array.
pub(super) fn read(text: &str, name: &'static str) -> Result<Array, BashError> {
    let mut reader = Reader { text, at: 0, name };
    reader.blanks();
    if reader.rest().is_empty() {
        return Ok(Array::new());
    }
    reader.expect("declare -", "no `declare`")?;
    let flags = reader.take_while(|c| c.is_ascii_alphabetic());
    if !flags.contains('A') {
        return Err(reader.wrong("no associative array"));
    }
    reader.blanks();
    reader.expect(name, "another name")?;
    let array = if reader.skip("=(") {
        reader.entries()?
    } else if reader.skip("='") {
        // Bash before 4.4 quotes the whole.
        let start = reader.at;
        let inner = reader.single_quoted()?;
        let mut inner = Reader { text: &inner, at: 0, name };
        let shifted = |error: BashError| BashError { at: start + error.at, ..error };
        inner.expect("(", "no list").map_err(shifted)?;
        let array = inner.entries().map_err(shifted)?;
        inner.end().map_err(shifted)?;
        array
    } else {
        Array::new()
    };
    reader.end()?;
    Ok(array)
}

/// Writes an array as `declare -p` does.
pub(super) fn write(array: &Array, name: &str) -> String {
    let mut text = format!("declare -A {name}=(");
    for (key, value) in array {
        let plain =
            !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
        let key = if plain { key.clone() } else { quoted(key) };
        // Writing to a String cannot fail.
        let _ = write!(text, "[{key}]={} ", quoted(value));
    }
    text.push_str(")\n");
    text
}

fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    name: &'static str,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn wrong(&self, what: &'static str) -> BashError {
        BashError { name: self.name, what, at: self.at }
    }

    fn take_while(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !fits(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn blanks(&mut self) {
        self.take_while(|c| c.is_ascii_whitespace());
    }

    fn skip(&mut self, word: &str) -> bool {
        let there = self.rest().starts_with(word);
        if there {
            self.at += word.len();
        }
        there
    }

    fn expect(&mut self, word: &str, what: &'static str) -> Result<(), BashError> {
        if self.skip(word) { Ok(()) } else { Err(self.wrong(what)) }
    }

    fn next(&mut self) -> Result<char, BashError> {
        let c = self.rest().chars().next().ok_or_else(|| self.wrong("no end"))?;
        self.at += c.len_utf8();
        Ok(c)
    }

    fn end(&mut self) -> Result<(), BashError> {
        self.blanks();
        if self.rest().is_empty() { Ok(()) } else { Err(self.wrong("more than the array")) }
    }

    fn entries(&mut self) -> Result<Array, BashError> {
        let mut array = Array::new();
        loop {
            self.blanks();
            if self.skip(")") {
                return Ok(array);
            }
            self.expect("[", "no key")?;
            let key = self.word()?;
            self.expect("]=", "no value")?;
            let value = self.word()?;
            array.insert(key, value);
        }
    }

    fn word(&mut self) -> Result<String, BashError> {
        if self.skip("\"") {
            return self.double_quoted();
        }
        if self.skip("$'") {
            return self.ansi_quoted();
        }
        if self.skip("'") {
            return self.single_quoted();
        }
        // What could be anything but itself is quoted by bash.
        let plain = |c: char| c.is_alphanumeric() || "_-./:@%+,".contains(c);
        Ok(self.take_while(plain).to_owned())
    }

    fn double_quoted(&mut self) -> Result<String, BashError> {
        let mut text = String::new();
        loop {
            match self.next()? {
                '"' => return Ok(text),
                '\\' => match self.next()? {
                    c @ ('"' | '\\' | '$' | '`') => text.push(c),
                    '\n' => {}
                    c => text.extend(['\\', c]),
                },
                // Bash prints these with a backslash: without, somebody wants them run.
                '$' | '`' => return Err(self.wrong("a substitution")),
                c => text.push(c),
            }
        }
    }

    /// `'\''` stands for a quote.
    fn single_quoted(&mut self) -> Result<String, BashError> {
        let mut text = String::new();
        loop {
            match self.next()? {
                '\'' if self.skip("\\''") => text.push('\''),
                '\'' => return Ok(text),
                c => text.push(c),
            }
        }
    }

    fn ansi_quoted(&mut self) -> Result<String, BashError> {
        let mut text = String::new();
        loop {
            match self.next()? {
                '\'' => return Ok(text),
                '\\' => match self.next()? {
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    'r' => text.push('\r'),
                    c @ ('\\' | '\'' | '"') => text.push(c),
                    'a' => text.push('\x07'),
                    'b' => text.push('\x08'),
                    'E' | 'e' => text.push('\x1b'),
                    'f' => text.push('\x0c'),
                    'v' => text.push('\x0b'),
                    c @ '0'..='7' => {
                        let digits = format!("{c}{}", self.take_while(|c| ('0'..='7').contains(&c)));
                        let byte = u8::from_str_radix(&digits, 8).ok().filter(u8::is_ascii);
                        text.push(byte.map(char::from).ok_or_else(|| self.wrong("an odd character"))?);
                    }
                    _ => return Err(self.wrong("an odd character")),
                },
                c => text.push(c),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array<const N: usize>(entries: [(&str, &str); N]) -> Array {
        entries.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    }

    /// Each line as some bash printed it.
    #[test]
    fn what_bash_prints_is_read() {
        let read = |text| read(text, "a").unwrap();
        assert_eq!(read(""), Array::new());
        assert_eq!(read("declare -A a\n"), Array::new());
        assert_eq!(read("declare -A a=()\n"), Array::new());
        assert_eq!(read("declare -A a='()'\n"), Array::new());
        assert_eq!(read("declare -A a=([3]=\"a b\" [2]=\"web\" )\n"), array([("2", "web"), ("3", "a b")]));
        assert_eq!(read("declare -A a='([web]=\"2\" )'\n"), array([("web", "2")]));
        assert_eq!(read("declare -Ax a=([web]=\"\\\"10.10.1.2\\\"\" )"), array([("web", "\"10.10.1.2\"")]));
        let odd = "declare -A a=([\"we ird\"]=$'a\\nb\\'' [x]=\"\\$(touch /tmp/zz) \\`a\\` \\\\ \" )\n";
        assert_eq!(read(odd), array([("we ird", "a\nb'"), ("x", "$(touch /tmp/zz) `a` \\ ")]));
    }

    #[test]
    fn what_is_to_be_run_is_refused() {
        for text in [
            "ips[2]=web",
            "touch /tmp/x",
            "declare -a a=([0]=\"x\")",
            "declare -A b=([0]=\"x\")",
            "declare -A a=([0]=\"x\"); touch /tmp/x",
            "declare -A a=([0]=\"x\")\ntouch /tmp/x",
            "declare -A a=([0]=\"$(touch /tmp/x)\" )",
            "declare -A a=([0]=\"`touch /tmp/x`\" )",
            "declare -A a=([0]=$(touch /tmp/x) )",
            "declare -A a=([$(touch /tmp/x)]=\"1\" )",
            "declare -A a=([0]=\"x",
            "declare -A a=([0]=\"x\" ",
            "declare -A a='([0]=\"x\" ); touch /tmp/x'",
            "\u{0}\u{1}\u{fffd}",
        ] {
            assert!(read(text, "a").is_err(), "{text}");
        }
        let error = read("declare -A a=([0]=\"x\"); rm", "a").unwrap_err();
        assert_eq!(
            error.to_string(),
            "it is not what bash's `declare -p a` prints: more than the array at byte 22"
        );
    }

    #[test]
    fn what_is_written_is_read_again() {
        let all = array([("web", "2"), ("a b", "\"10.10.1.2\""), ("$x", "`\\ 'q' \u{e9}")]);
        assert_eq!(read(&write(&all, "a"), "a").unwrap(), all);
        assert_eq!(write(&array([("web", "2")]), "names"), "declare -A names=([web]=\"2\" )\n");
    }

    /// Bash itself reads what we write.
    #[test]
    fn bash_understands_it() {
        let all = array([("web", "2"), ("a b", "$(echo no) \"x\" \\ `y`")]);
        let script = format!("{}printf %s \"${{names[a b]}}\"; declare -p names", write(&all, "names"));
        let output = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let (value, printed) = said.split_once("declare").unwrap();
        assert_eq!(value, all["a b"]);
        assert_eq!(read(&format!("declare{printed}"), "names").unwrap(), all);
    }
}

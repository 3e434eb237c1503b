//! One option of an LXC tool, as data.

/// An option of an LXC tool.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Opt {
    /// Its letters; none or more.
    pub(super) short: &'static str,
    /// Its long name, by which it is known here.
    pub(super) long: &'static str,
    pub(super) value: Value,
    /// What it means to the tool.
    pub(super) means: &'static str,
    pub(super) here: Here,
    /// Not the tool's, but given it here.
    pub(super) extension: bool,
}

/// Whether an option takes a value, and what it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    No,
    Needed(&'static str),
    /// Only when attached: `-eCAP`, `--nesting=3`.
    Optional(&'static str),
}

/// What becomes of an option here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Here {
    /// What it does.
    Honoured(&'static str),
    /// Why it is refused, and what works instead.
    Refused { why: &'static str, instead: &'static str },
}

/// An option without a value.
pub(super) const fn flag(short: &'static str, long: &'static str, means: &'static str) -> Opt {
    Opt { short, long, value: Value::No, means, here: Here::Honoured(""), extension: false }
}

/// An option with one.
pub(super) const fn valued(
    short: &'static str,
    long: &'static str,
    value: &'static str,
    means: &'static str,
) -> Opt {
    Opt { value: Value::Needed(value), ..flag(short, long, means) }
}

impl Opt {
    pub(super) const fn optional(self, value: &'static str) -> Self {
        Self { value: Value::Optional(value), ..self }
    }

    pub(super) const fn extension(self) -> Self {
        Self { extension: true, ..self }
    }

    pub(super) const fn does(self, what: &'static str) -> Self {
        Self { here: Here::Honoured(what), ..self }
    }

    pub(super) const fn refused(self, why: &'static str, instead: &'static str) -> Self {
        Self { here: Here::Refused { why, instead }, ..self }
    }

    /// As it is typed, in its shortest form: `-t SECONDS`, `--nokill`.
    pub(super) fn typed(&self) -> String {
        match (self.short.chars().next(), self.value) {
            (Some(short), Value::No) => format!("-{short}"),
            (Some(short), Value::Needed(value)) => format!("-{short} {value}"),
            (Some(short), Value::Optional(value)) => format!("-{short}[{value}]"),
            (None, Value::No) => format!("--{}", self.long),
            (None, Value::Needed(value)) => format!("--{}={value}", self.long),
            (None, Value::Optional(value)) => format!("--{}[={value}]", self.long),
        }
    }
}

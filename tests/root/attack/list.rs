//! The list of attacks as values.

/// Where an attack is seen to come through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// On the same guest without our lock and our seccomp profile.
    Unlocked,
    /// As root of the host.
    Host,
    /// Nowhere, and why.
    Never(&'static str),
}

/// One attack.
pub struct Attack {
    pub name: &'static str,
    pub seen: Seen,
    /// A command that says whether this machine is one where it is seen.
    pub only_where: Option<&'static str>,
    /// Lines of shell, which succeed where it comes through.
    pub lines: &'static str,
}

/// All of them. The list's head says what they are made of.
pub fn all() -> Vec<Attack> {
    let (_, list) = include_str!("list.txt").split_once("\n\n").unwrap();
    let attacks: Vec<Attack> = list.split("\n\n").map(|block| parse(block.trim_end())).collect();
    for (index, attack) in attacks.iter().enumerate() {
        assert!(
            attacks[..index].iter().all(|other| other.name != attack.name),
            "two are called {:?}",
            attack.name
        );
    }
    attacks
}

fn parse(block: &'static str) -> Attack {
    let mut parts = block.splitn(3, '\n');
    let mut next = |word: &str| {
        let part = parts.next().and_then(|line| line.strip_prefix(word));
        part.unwrap_or_else(|| panic!("no `{word}` in {block:?}"))
    };
    let name = next("attack ");
    let seen = next("seen ");
    let (seen, only_where) = match seen.split_once(", where ") {
        Some((seen, command)) => (seen, Some(command)),
        None => (seen, None),
    };
    let seen = match seen {
        "unlocked" => Seen::Unlocked,
        "host" => Seen::Host,
        other => {
            Seen::Never(other.strip_prefix("never: ").unwrap_or_else(|| panic!("{other:?} in {block:?}")))
        }
    };
    Attack { name, seen, only_where, lines: next("") }
}

//! How to go on after an evaluation that failed, where Nix's words tell which mistake it was.

/// What a container file knows beside `configuration`, and what it is called with.
const KEYS: [&str; 5] = ["autostart", "idmap", "lxcExtraConfig", "name", "network"];
const ARGUMENTS: [&str; 6] = ["config", "ip", "lib", "name", "options", "pkgs"];

/// How to mend what `message` complains of, where that is known.
pub(super) fn of(message: &str) -> Option<String> {
    let quoted = || message.split(['\'', '`']).nth(1);
    if message.contains("was not found in the Nix search path") {
        let name = quoted()?.split('/').next()?;
        let more = if name == "nixpkgs" { ", or set `nix.nixpkgs` in the host configuration" } else { "" };
        return Some(format!("say where `<{name}>` is with `-n \"-I {name}=PATH\"`{more}"));
    }
    if message.starts_with("undefined variable") {
        let name = quoted().filter(|name| ARGUMENTS.contains(name))?;
        return Some(format!("a module that uses `{name}` asks for it: `{{ {name}, ... }}: {{ ... }}`"));
    }
    if message.starts_with("syntax error") && message.contains("expecting ';'") {
        return Some("most likely the line before lacks its `;`".to_owned());
    }
    if message.starts_with("infinite recursion") {
        return Some(
            "a value needs itself: look for a name or a `config.` option in its own definition".to_owned(),
        );
    }
    if message.starts_with("container '") && message.contains("unknown key `") {
        return unknown_key(message);
    }
    if message.starts_with("The option `") && message.contains("' does not exist") {
        let option = quoted()?;
        let key = KEYS
            .iter()
            .find(|key| option.split('.').next().is_some_and(|first| first.eq_ignore_ascii_case(key)))?;
        return Some(format!(
            "`{key}` stands beside `configuration = ...;` in a container file, not in a NixOS module"
        ));
    }
    if message.contains("'/nix/var/nix/") && message.contains("Operation not permitted") {
        return Some("without a Nix daemon only root can evaluate here".to_owned());
    }
    if message.contains("requires lock file changes") {
        return Some(
            "the flake has no flake.lock, or an old one: `nix flake lock` in its folder writes it".to_owned(),
        );
    }
    if message.contains("specified in 'build-users-group' does not exist") {
        let debian = "Debian's `nix-setup-systemd` makes it";
        return Some(format!("{debian}; with `build-users-group =` in /etc/nix/nix.conf root builds itself"));
    }
    None
}

/// `... unknown key `autostrat'; the keys of a container file are: autostart, configuration`.
fn unknown_key(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("unknown key `")?;
    let (key, rest) = rest.split_once('\'')?;
    let (_, known) = rest.rsplit_once(": ")?;
    let (path, last) = key.rsplit_once('.').map_or(("", key), |(path, last)| (path, last));
    let known = known.split(", ").map(|name| name.rsplit('.').next().unwrap_or(name));
    let (distance, nearest) = known.map(|name| (distance(last, name), name)).min()?;
    let dot = if path.is_empty() { "" } else { "." };
    (distance <= 2.min(last.chars().count() / 2)).then(|| format!("did you mean `{path}{dot}{nearest}`?"))
}

/// How many letters must be put in, left out, replaced or swapped with the next to get from one to the other.
fn distance(from: &str, to: &str) -> usize {
    let lower = |text: &str| text.chars().flat_map(char::to_lowercase).collect::<Vec<char>>();
    let (from, to) = (lower(from), lower(to));
    let mut rows = vec![(0..=to.len()).collect::<Vec<usize>>()];
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let same = from[i - 1] == to[j - 1];
            let mut best =
                (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + usize::from(!same));
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistyped_keys_have_a_nearest_one() {
        let hint = |key: &str, known: &str| {
            of(&format!("container 'm' (/m.nix): unknown key `{key}'; its keys are: {known}"))
        };
        let top = "autostart, configuration, idmap, lxcExtraConfig, name, network";
        assert_eq!(hint("autoStrat", top).unwrap(), "did you mean `autostart`?");
        assert_eq!(hint("networks", top).unwrap(), "did you mean `network`?");
        assert_eq!(hint("network.bridg", "bridge, enableNat, ip").unwrap(), "did you mean `network.bridge`?");
        assert_eq!(hint("memory", top), None);
        assert_eq!(hint("x", top), None);
    }

    #[test]
    fn what_nix_misses_has_a_way_to_give_it() {
        let lost = |name: &str| {
            of(&format!("file '{name}' was not found in the Nix search path (add it using $NIX_PATH or -I)"))
                .unwrap()
        };
        assert!(
            lost("nixpkgs")
                .ends_with("`-n \"-I nixpkgs=PATH\"`, or set `nix.nixpkgs` in the host configuration")
        );
        assert_eq!(lost("probe/version.nix"), "say where `<probe>` is with `-n \"-I probe=PATH\"`");
        assert!(of("undefined variable 'pkgs'").unwrap().contains("`{ pkgs, ... }: { ... }`"));
        assert_eq!(of("undefined variable 'x'"), None);
    }

    #[test]
    fn without_a_daemon_root_is_needed() {
        let said = of(
            "could not set permissions on '/nix/var/nix/profiles/per-user' to 755: Operation not permitted",
        );
        assert!(said.unwrap().contains("only root"));
    }

    #[test]
    fn a_flake_can_be_locked() {
        let said = of(
            "flake 'path:/x' requires lock file changes but they're not allowed due to '--no-update-lock-file'",
        );
        assert!(said.unwrap().contains("nix flake lock"));
    }

    #[test]
    fn a_nix_without_build_users_can_be_set_up() {
        let said = of("the group 'nixbld' specified in 'build-users-group' does not exist").unwrap();
        assert!(said.contains("nix-setup-systemd"), "{said}");
    }

    #[test]
    fn keys_in_the_wrong_place_are_known() {
        let said =
            of("The option `autoStart' does not exist. Definition values:\n- In `/m.nix': true").unwrap();
        assert!(said.starts_with("`autostart` stands beside"), "{said}");
        assert_eq!(of("The option `services.x' does not exist."), None);
    }

    #[test]
    fn distances() {
        let of = |from, to| distance(from, to);
        assert_eq!([of("", "ab"), of("ab", "ba"), of("abc", "abd"), of("Abc", "abc")], [2, 1, 1, 0]);
    }
}

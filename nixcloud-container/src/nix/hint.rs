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
    // As the shell original's examples have it, `networking.hostName = ip`.
    if message.contains("`networking.hostName'") && message.contains("is not of type") && has_address(message)
    {
        return Some(
            "since NixOS 20.09 a host name has no dots; without this line the guest is called as its container"
                .to_owned(),
        );
    }
    if message.contains("'/nix/var/nix/") && message.contains("Operation not permitted") {
        return Some("without a Nix daemon only root can evaluate here".to_owned());
    }
    if message.contains("unable to start any build") {
        return Some(
            "Nix may build nothing here: set `max-jobs` in nix.conf above 0, or name `builders`".to_owned(),
        );
    }
    if let Some(hint) = git(message) {
        return Some(hint);
    }
    if message.contains("is forbidden in restricted mode") {
        return Some(
            "`restrict-eval` of nix.conf allows only what is on the search path: `-n \"-I PATH\"` adds to it"
                .to_owned(),
        );
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

fn has_address(text: &str) -> bool {
    text.split([' ', '"', '\'', '\n']).any(|word| word.parse::<std::net::Ipv4Addr>().is_ok())
}

/// What a build fails with when what was built is there, and what is run after it fails.
pub(super) fn of_a_hook(stderr: &[String]) -> Option<String> {
    let failed =
        |line: &&String| line.contains("error: program '") && line.contains("' failed with exit code");
    let hook = stderr.iter().find(failed)?.split('\'').nth(1)?;
    Some(format!(
        "{hook} is most likely the `post-build-hook` of nix.conf: the build itself succeeded; mend the hook or take it out"
    ))
}

/// A flake in a repository of Git's goes through the program `git`.
fn git(message: &str) -> Option<String> {
    let lower = message.to_lowercase();
    if message.contains("executing 'git'") {
        return Some("a flake in a Git repository needs the program `git` on PATH: install it".to_owned());
    }
    if lower.contains("not a git repository")
        || lower.contains("dubious ownership")
        || message.contains("is not owned by current user")
        || message.contains("program 'git' failed with exit code 12")
    {
        return Some(
            "Git takes no repository of another user: `git config --global --add safe.directory FOLDER` as the user who \
             runs this allows it, or `chown` the folder"
                .to_owned(),
        );
    }
    // The copy in the store has what Git knows of.
    let copy = message.split(['\'', '"', '`']).find(|part| part.starts_with("/nix/store/"))?;
    let missing = message.contains("No such file") || message.contains("does not exist");
    let (_, file) = copy.split_once("-source/").filter(|_| missing)?;
    Some(format!(
        "of a flake in a Git repository only files that Git knows are seen: `git add -N {file}`, if the file is there"
    ))
}

/// `... unknown key `autostrat'; the keys of a container file are: autostart, configuration`.
fn unknown_key(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("unknown key `")?;
    let (key, rest) = rest.split_once('\'')?;
    let (_, known) = rest.rsplit_once(": ")?;
    if key == "ephemeral" {
        return Some(
            "the module of the host says that of a container that it declares \
             (`nixcloud.container.containers.NAME.ephemeral`); whoever creates one by hand destroys it"
                .to_owned(),
        );
    }
    let (path, last) = key.rsplit_once('.').map_or(("", key), |(path, last)| (path, last));
    let known = known.split(", ").map(|name| name.rsplit('.').next().unwrap_or(name));
    let (distance, nearest) = known.map(|name| (distance(last, name), name)).min()?;
    let dot = if path.is_empty() { "" } else { "." };
    (distance <= 2.min(last.chars().count() / 2)).then(|| format!("did you mean `{path}{dot}{nearest}`?"))
}

/// How many letters must be put in, left out, replaced or swapped with the next to get from one to the other.
fn distance(from: &str, to: &str) -> usize {
    strsim::osa_distance(&from.to_lowercase(), &to.to_lowercase())
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
    fn git_stands_between_a_flake_and_its_files() {
        let untracked = "getting status of '/nix/store/cgvcl25lk63cqqvmq42nqpz0afspyiim-source/new.nix': No such file or directory";
        assert!(of(untracked).unwrap().contains("`git add -N new.nix`"));
        assert_eq!(of("getting status of '/etc/new.nix': No such file or directory"), None);
        assert!(of("program 'git' failed with exit code 129").unwrap().contains("safe.directory"));
        assert!(of("repository path '/x' is not owned by current user").unwrap().contains("safe.directory"));
        let lacks = "getting the HEAD of the Git tree '/x' failed with exit code 1: executing 'git': No such file or directory";
        assert!(of(lacks).unwrap().contains("on PATH"));
        let jobs = "error: unable to start any build; either increase '--max-jobs' or enable remote builds.";
        assert!(of(jobs).unwrap().contains("max-jobs"));
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
    fn what_only_a_declared_container_has_is_told() {
        let said = of("container 'web' (/w.nix): unknown key `ephemeral'; the keys of a container file are: autostart, name").unwrap();
        assert!(said.contains("the module of the host"), "{said}");
    }

    #[test]
    fn distances() {
        let of = |from, to| distance(from, to);
        assert_eq!([of("", "ab"), of("ab", "ba"), of("abc", "abd"), of("Abc", "abc")], [2, 1, 1, 0]);
    }
}

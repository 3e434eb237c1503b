//! The variables that a command in a guest begins with.

use std::ffi::{OsStr, OsString};

use super::{Environment, RunRequest};
use crate::model::namespace::Side;
use crate::worker::Identity;

/// The folders of a NixOS guest's programs, and those of others, behind those of the user.
const PATH: &str = "/nix/var/nix/profiles/default/bin:/run/current-system/sw/bin:\
                    /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What of the caller's environment is another thing in the guest, so that it is not kept.
const THEIRS: [&str; 10] =
    ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "PWD", "OLDPWD", "SHLVL", "XDG_RUNTIME_DIR", "_"];

/// The home of who has none.
const NO_HOME: &str = "/";

/// A terminal of which nothing is known.
const NO_TERM: &str = "dumb";

/// The whole environment of a command. `identity` is the user's that was asked for, none for root.
pub(super) fn of(request: &RunRequest, identity: Option<&Identity>, side: Side) -> Vec<(OsString, OsString)> {
    let mut all: Vec<(OsString, OsString)> = Vec::new();
    let mut put = |name: &OsStr, value: &OsStr| {
        all.retain(|(there, _)| there != name);
        all.push((name.to_owned(), value.to_owned()));
    };
    if request.environment == Environment::Keep {
        for (name, value) in std::env::vars_os() {
            if !name.to_str().is_some_and(|name| THEIRS.contains(&name)) {
                put(&name, &value);
            }
        }
    }
    let mut set = |name: &str, value: &str| put(name.as_ref(), value.as_ref());
    let (name, home) = match identity {
        None => (Some("root"), Some("/root")),
        Some(identity) => (identity.name.as_deref(), identity.home.as_deref()),
    };
    set("PATH", &path(name, home, side));
    for (variable, value) in [("HOME", home.or(Some(NO_HOME))), ("USER", name)] {
        value.iter().for_each(|value| set(variable, value));
    }
    if let Some(identity) = identity {
        for (variable, value) in [("LOGNAME", &identity.name), ("SHELL", &identity.shell)] {
            value.iter().for_each(|value| set(variable, value));
        }
    }
    for (name, value) in &request.env {
        put(name, value);
    }
    if request.terminal && !all.iter().any(|(name, value)| name == "TERM" && !value.is_empty()) {
        all.retain(|(name, _)| name != "TERM");
        all.push(("TERM".into(), NO_TERM.into()));
    }
    all
}

/// As NixOS sets it: the wrappers, the user's own profiles, the system's.
fn path(name: Option<&str>, home: Option<&str>, side: Side) -> String {
    if side == Side::Host {
        return PATH.to_owned();
    }
    let mut path = "/run/wrappers/bin:".to_owned();
    // A colon would begin another folder.
    if let Some(home) = home.filter(|home| !home.contains(':')) {
        path.push_str(&format!("{home}/.nix-profile/bin:{home}/.local/state/nix/profile/bin:"));
    }
    if let Some(name) = name.filter(|name| !name.contains([':', '/'])) {
        path.push_str(&format!("/etc/profiles/per-user/{name}/bin:"));
    }
    path + PATH
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alice() -> Identity {
        Identity {
            uid: 1000,
            gid: 100,
            groups: Vec::new(),
            name: Some("alice".to_owned()),
            home: Some("/home/alice".to_owned()),
            shell: Some("/bin/zsh".to_owned()),
        }
    }

    fn names(all: &[(OsString, OsString)]) -> Vec<&str> {
        let mut names: Vec<&str> = all.iter().map(|(name, _)| name.to_str().unwrap()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn root_has_little_and_a_user_what_is_known_of_him() {
        let request = RunRequest::new(["true"]);
        assert_eq!(names(&of(&request, None, Side::Guest)), ["HOME", "PATH", "USER"]);
        let all = of(&request, Some(&alice()), Side::Guest);
        assert_eq!(names(&all), ["HOME", "LOGNAME", "PATH", "SHELL", "USER"]);
        let path = all.iter().find(|(name, _)| name == "PATH").unwrap().1.to_str().unwrap();
        let begin = "/run/wrappers/bin:/home/alice/.nix-profile/bin:/home/alice/.local/state/nix/profile/bin:\
                     /etc/profiles/per-user/alice/bin:/nix/var/nix/profiles/default/bin:";
        assert!(path.starts_with(begin), "{path}");
        let nobody = Identity { name: None, home: None, shell: None, ..alice() };
        let all = of(&request, Some(&nobody), Side::Guest);
        assert_eq!(names(&all), ["HOME", "PATH"]);
        assert!(all.contains(&("HOME".into(), "/".into())));
        assert!(!all.iter().any(|(_, value)| value.to_string_lossy().contains("/.nix-profile")), "{all:?}");
    }

    #[test]
    fn what_was_asked_for_wins_and_is_there_once() {
        let env = [("HOME", "/srv"), ("A", "1"), ("A", "2")];
        let env = env.map(|(name, value)| (name.into(), value.into())).to_vec();
        let all = of(&RunRequest { env, ..RunRequest::new(["true"]) }, None, Side::Guest);
        assert_eq!(names(&all), ["A", "HOME", "PATH", "USER"]);
        assert!(all.contains(&("HOME".into(), "/srv".into())));
        assert!(all.contains(&("A".into(), "2".into())));
    }

    #[test]
    fn a_terminal_always_has_a_name() {
        let term = |env: &[(&str, &str)]| {
            let env = env.iter().map(|(name, value)| (name.into(), value.into())).collect();
            let request = RunRequest { env, terminal: true, ..RunRequest::new(["true"]) };
            let all = of(&request, None, Side::Guest);
            let mut terms = all.into_iter().filter(|(name, _)| name == "TERM").map(|(_, value)| value);
            (terms.next(), terms.next())
        };
        assert_eq!(term(&[]), (Some("dumb".into()), None));
        assert_eq!(term(&[("TERM", "")]), (Some("dumb".into()), None));
        assert_eq!(term(&[("TERM", "tmux-256color")]), (Some("tmux-256color".into()), None));
    }

    #[test]
    fn a_home_with_a_colon_adds_no_folder() {
        let home = Identity { home: Some("/tmp:.".to_owned()), name: None, ..alice() };
        let all = of(&RunRequest::new(["true"]), Some(&home), Side::Guest);
        assert!(
            all.iter().all(|(name, value)| name != "PATH" || !value.to_string_lossy().contains(":.")),
            "{all:?}"
        );
    }
}

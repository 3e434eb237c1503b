//! What manual pages say that the grammar does not know: exit codes, variables, files, other pages.

use nixcloud_container::HostConfig;
use nixcloud_container::config::DEFAULT_PATH;

/// A term, and what it means.
pub(super) type Entry = (String, String);

fn entry(term: impl Into<String>, text: impl Into<String>) -> Entry {
    (term.into(), text.into())
}

/// The command that the words of a page name; empty for the overview.
fn command(words: &[String]) -> &str {
    words.first().map(String::as_str).unwrap_or_default()
}

/// What the exit code says.
pub(super) fn exit_status(words: &[String]) -> Vec<Entry> {
    let usage = entry("2", "The command line is wrong; nothing was done.");
    let interrupted = entry("130", "It was interrupted, and what it had begun was undone.");
    match command(words) {
        "" => vec![
            entry("0", "Done, or yes."),
            entry("1", "Refused, failed, or no; stderr says why and how to go on."),
            usage,
            interrupted,
            entry("4, 124", "Of `start --wait`: units of the guest have failed; it was not ready in time."),
            entry("other", "That of the command in the guest: `run` and `login` pass it on."),
        ],
        "run" | "login" => vec![
            entry("0..125", "The exit code of the command in the guest."),
            entry("1", "Also: the container does not run, or cannot be entered; stderr says why."),
            usage,
            entry("124", "The command took longer than `--timeout`, and was ended."),
            entry("126", "The command cannot be executed."),
            entry("127", "The command is not found."),
            entry("128+N", "Signal N ended the command."),
        ],
        "start" => vec![
            entry("0", "Done."),
            entry(
                "1",
                "Refused or failed; stderr says why and how to go on. With `--wait` also: the guest ended meanwhile.",
            ),
            usage,
            entry("4", "With `--wait`: the guest's systemd has started all units, and some have failed."),
            entry("124", "With `--wait`: the guest runs, and was not ready in time."),
            entry(
                "130",
                "It was interrupted, and what it had begun was undone; a guest that ran and was waited for runs on.",
            ),
        ],
        "exists" => vec![
            entry("0", "It exists."),
            entry("1", "It does not, or that cannot be told; then stderr says why."),
            usage,
        ],
        "list" | "list-generations" | "state" | "show-ip" | "completions" | "man" => {
            vec![entry("0", "Done."), entry("1", "Failed; stderr says why."), usage]
        }
        _ => vec![
            entry("0", "Done."),
            entry("1", "Refused or failed; stderr says why and how to go on."),
            usage,
            interrupted,
        ],
    }
}

/// The variables that are read.
pub(super) fn environment(words: &[String]) -> Vec<Entry> {
    let command = command(words);
    if matches!(command, "completions" | "man") {
        return Vec::new();
    }
    let mut variables = vec![
        entry("NIXCLOUD_CONTAINER_CONFIG", "The host configuration, where `--config` is not given."),
        entry(
            "NIXCLOUD_CONTAINER_LOG",
            "What is traced to stderr, as targets and levels: `nixcloud_container=debug`. It wins over `-v`.",
        ),
    ];
    if matches!(command, "" | "create" | "update" | "plan") {
        let text = "Where Nix finds `<nixpkgs>`, unless the host configuration or `-n` says it.";
        variables.push(entry("NIX_PATH", text));
    }
    if matches!(command, "" | "run" | "login") {
        variables.push(entry("TERM", "The user's terminal, told to a session on a terminal of the guest."));
    }
    variables.push(entry("NO_COLOR", "Where it is set and not empty, nothing is coloured."));
    variables
}

/// The files that are read and written, with the paths that a host has by default.
pub(super) fn files(words: &[String]) -> Vec<Entry> {
    let command = command(words);
    if matches!(command, "completions" | "man") {
        return Vec::new();
    }
    let mut files = vec![entry(DEFAULT_PATH, "The host configuration.")];
    if command.is_empty() {
        let paths = HostConfig::default().paths;
        let path = |path: &std::path::Path, rest: &str| path.join(rest).display().to_string();
        files.extend([
            entry(
                path(&paths.lxc, "NAME/config"),
                "The LXC configuration of a container; it is rendered anew.",
            ),
            entry(path(&paths.lxc, "NAME/rootfs"), "Its root file system."),
            entry(path(&paths.lxc, "NAME/lxc.log"), "What LXC said at its last start."),
            entry(path(&paths.profiles, "NAME/profile"), "The Nix profile of its generations."),
            entry(path(&paths.state, ""), "Records, leases and locks."),
        ]);
    }
    files
}

/// Pages of others that belong to a command.
pub(super) fn elsewhere(words: &[String]) -> Vec<(&'static str, &'static str)> {
    match command(words) {
        "" => vec![("lxc", "7"), ("nix", "1")],
        "create" | "update" | "plan" => vec![("lxc.container.conf", "5")],
        "completions" => vec![("bash", "1"), ("zsh", "1"), ("fish", "1")],
        "man" => vec![("man", "1")],
        "login" | "run" => vec![("lxc-attach", "1")],
        _ => Vec::new(),
    }
}

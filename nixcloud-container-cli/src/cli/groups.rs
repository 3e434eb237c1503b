//! The commands by what they are for: in the program's own help, and in its manual page.

use clap::builder::Styles;
use clap::{Command, Subcommand};

use crate::screen::wrap::wrapped;

/// The fewest columns in which what a command does stands beside its name.
const NARROWEST: usize = 30;

/// What a command is for, and the commands.
pub(crate) const GROUPS: [(&str, &[&str]); 6] = [
    ("Containers", &["create", "update", "plan", "apply", "eval", "set", "destroy", "repair"]),
    ("Generations", &["list-generations", "switch-generation", "rollback", "delete-generations", "gc"]),
    (
        "Power",
        &["start", "stop", "restart", "terminate", "kill", "freeze", "unfreeze", "autostart", "autostop"],
    ),
    ("Inside", &["login", "run"]),
    ("Look", &["list", "events", "state", "exists", "show-ip"]),
    ("This host", &["host", "completions", "man"]),
];

fn heading(text: &str) -> String {
    let style = *Styles::styled().get_header();
    format!("{style}{text}:{style:#}")
}

/// The order of the program's own help; what is `{before-help}` depends on whether it is the short or the long one.
pub(super) fn template() -> String {
    let options = heading(super::GLOBAL);
    format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{{before-help}}{options}\n{{options}}{{after-help}}"
    )
}

/// The commands with what each does, within so many columns.
pub(super) fn commands(columns: usize) -> String {
    let commands = super::Command::augment_subcommands(Command::new("commands"));
    let about = |name: &str| {
        let command = commands.find_subcommand(name);
        command.and_then(Command::get_about).map(ToString::to_string).unwrap_or_default()
    };
    let style = *Styles::styled().get_literal();
    let width =
        GROUPS.iter().flat_map(|(_, names)| names.iter()).map(|name| name.len()).max().unwrap_or_default();
    let command = |name: &str| {
        let about = about(name);
        // In a narrow terminal it stands below the name.
        if columns < width + 4 + NARROWEST {
            let lines = wrapped(&about, 0, 0, columns.saturating_sub(6));
            return format!("\n  {style}{name}{style:#}\n      {}", lines.join("\n      "));
        }
        let lines = wrapped(&about, width + 4, width + 4, columns);
        format!("\n  {style}{name:width$}{style:#}  {}", lines.join("\n"))
    };
    let groups = GROUPS.map(|(title, names)| {
        format!("{}{}", heading(title), names.iter().map(|name| command(name)).collect::<String>())
    });
    groups.join("\n\n")
}

//! The commands by what they are for: in the program's own help, and in its manual page.

use clap::builder::Styles;
use clap::{Command, Subcommand};

/// What a command is for, and the commands.
pub(crate) const GROUPS: [(&str, &[&str]); 6] = [
    ("Containers", &["create", "update", "apply", "eval", "destroy"]),
    ("Generations", &["list-generations", "switch-generation", "rollback", "delete-generations"]),
    ("Power", &["start", "stop", "restart", "terminate", "freeze", "unfreeze", "autostart", "autostop"]),
    ("Inside", &["login", "run"]),
    ("Look", &["list", "state", "exists", "show-ip"]),
    ("This host", &["host", "completions", "man"]),
];

/// What stands before commands and options in the help of a terminal of 80 columns.
const WIDTH: usize = 80;

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

/// The commands in few lines.
pub(super) fn short() -> String {
    let style = *Styles::styled().get_literal();
    let indent = GROUPS.iter().map(|(title, _)| title.len()).max().unwrap_or_default() + 4;
    let mut lines = vec![heading("Commands")];
    for (title, names) in GROUPS {
        let mut line = format!("  {title:width$}", width = indent - 2);
        let mut column = indent;
        for (index, name) in names.iter().enumerate() {
            let comma = if index + 1 < names.len() { ", " } else { "" };
            if column + name.len() + comma.len() > WIDTH {
                lines.push(line.trim_end().to_owned());
                line = " ".repeat(indent);
                column = indent;
            }
            line.push_str(&format!("{style}{name}{style:#}{comma}"));
            column += name.len() + comma.len();
        }
        lines.push(line);
    }
    lines.join("\n")
}

/// The commands with what each does.
pub(super) fn long() -> String {
    let commands = super::Command::augment_subcommands(Command::new("commands"));
    let about = |name: &str| {
        let command = commands.find_subcommand(name);
        command.and_then(Command::get_about).map(ToString::to_string).unwrap_or_default()
    };
    let style = *Styles::styled().get_literal();
    let width =
        GROUPS.iter().flat_map(|(_, names)| names.iter()).map(|name| name.len()).max().unwrap_or_default();
    let groups = GROUPS.map(|(title, names)| {
        let lines = names.iter().map(|name| format!("\n  {style}{name:width$}{style:#}  {}", about(name)));
        format!("{}{}", heading(title), lines.collect::<String>())
    });
    groups.join("\n\n")
}

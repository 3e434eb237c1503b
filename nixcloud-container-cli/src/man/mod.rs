//! Manual pages: an overview, one for each command, and one for the host configuration. All but the last come from
//! the grammar, so they say what `--help` says; what the grammar does not know is in `man/sections.rs`.
//!
//! Nothing of the time or place of a build gets in: the same program prints the same pages.

mod sections;
mod text;
mod toml;

use clap::{Arg, Command, CommandFactory};
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use crate::cli::Cli;
use crate::cli::groups::GROUPS;
use crate::lxc_args::{self, OptionRow, Tool};
use sections::Entry;

/// A page in the format of man(7).
#[derive(Debug)]
pub(crate) struct Page {
    /// The folder that it belongs to: `man1`.
    pub(crate) section: &'static str,
    /// Its file: `nixcloud-container.1`.
    pub(crate) file: String,
    /// Its text.
    pub(crate) text: String,
}

/// All pages, the overview first.
pub(crate) fn pages() -> Vec<Page> {
    let mut pages = Vec::new();
    collect(&grammar(), &mut pages);
    pages.push(toml::page());
    pages
}

/// The page of a command, given by its words; without any the overview.
pub(crate) fn page(words: &[String]) -> Option<Page> {
    if words == ["toml"] {
        return Some(toml::page());
    }
    let grammar = grammar();
    words.iter().try_fold(&grammar, |command, word| command.find_subcommand(word)).map(of)
}

fn grammar() -> Command {
    // `help` has no page: this is one.
    let mut grammar = Cli::command().disable_help_subcommand(true);
    grammar.build();
    grammar
}

fn collect(command: &Command, pages: &mut Vec<Page>) {
    pages.push(of(command));
    for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        collect(command, pages);
    }
}

/// The name of a command's page: `nixcloud-container-host-up`.
fn name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

fn of(command: &Command) -> Page {
    let mut roff = Roff::new();
    title(&mut roff, name(command), "1");
    roff.control("SH", ["NAME"]);
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    roff.text([roman(format!("{} - {about}", name(command)))]);
    roff.control("SH", ["SYNOPSIS"]);
    synopsis(&mut roff, command);
    let extra = text::blocks(&long_after_help(command));
    description(&mut roff, command, &extra);
    commands(&mut roff, command);
    arguments(&mut roff, command);
    lxc_arguments(&mut roff, &words(command));
    for (heading, lines) in extra.iter().filter_map(text::Block::listing) {
        let heading = heading.to_uppercase();
        // One example is a section of examples all the same.
        roff.control("SH", [if heading == "EXAMPLE" { "EXAMPLES" } else { &heading }]);
        listing(&mut roff, lines);
    }
    let words = words(command);
    entries(&mut roff, "EXIT STATUS", &sections::exit_status(&words));
    entries(&mut roff, "ENVIRONMENT", &sections::environment(&words));
    entries(&mut roff, "FILES", &sections::files(&words));
    see_also(&mut roff, command, &words);
    Page { section: "man1", file: format!("{}.1", name(command)), text: roff.render() }
}

/// The words of a command behind the program's name: `["host", "up"]`.
fn words(command: &Command) -> Vec<String> {
    let call = command.get_bin_name().unwrap_or_else(|| command.get_name());
    call.split(' ').skip(1).map(str::to_owned).collect()
}

fn title(roff: &mut Roff, name: &str, section: &str) {
    let source = format!("nixcloud-container {}", env!("CARGO_PKG_VERSION"));
    // Twice in a line of 80 columns, with the section.
    let short = name.strip_prefix("nixcloud-container-").filter(|_| name.len() > 35).unwrap_or(name);
    // The date is left out: it would be that of the build.
    roff.control("TH", [&short.to_uppercase(), section, "\"\"", &source, "\"\""]);
    // Names of commands and files are never broken, nor are lines stretched around them.
    roff.control("nh", []).control("ad", ["l"]);
}

/// The usage as clap tells it, with what is to be typed in bold.
fn synopsis(roff: &mut Roff, command: &Command) {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim();
    let call = command.get_bin_name().unwrap_or_else(|| command.get_name());
    match usage.strip_prefix(call) {
        Some(rest) => roff.text([bold(call), italic(rest)]),
        None => roff.text([roman(usage)]),
    };
    for alias in command.get_visible_aliases() {
        let call = call.rsplit_once(' ').map_or(alias.to_owned(), |(before, _)| format!("{before} {alias}"));
        let rest = usage.strip_prefix(command.get_bin_name().unwrap_or_default()).unwrap_or_default();
        roff.control("br", []).text([bold(call), italic(rest)]);
    }
}

fn description(roff: &mut Roff, command: &Command, extra: &[text::Block]) {
    roff.control("SH", ["DESCRIPTION"]);
    let long = command.get_long_about().or_else(|| command.get_about());
    let long = long.map(ToString::to_string).unwrap_or_default();
    // What the program's own help says at its end has sections of its own here.
    let prose = extra.iter().filter_map(text::Block::prose).filter(|_| !words(command).is_empty());
    for (index, paragraph) in long.split("\n\n").chain(prose).enumerate() {
        if index > 0 {
            roff.control("PP", []);
        }
        roff.text(inline(&sentence(paragraph)));
    }
}

/// The commands of a command, those of the program by what they are for.
fn commands(roff: &mut Roff, command: &Command) {
    if !command.has_subcommands() {
        return;
    }
    roff.control("SH", ["COMMANDS"]);
    if words(command).is_empty() {
        for (title, names) in GROUPS {
            roff.control("SS", [title]);
            for command in names.iter().filter_map(|name| command.find_subcommand(name)) {
                entry(roff, command);
            }
        }
    } else {
        command.get_subcommands().for_each(|command| entry(roff, command));
    }
}

fn entry(roff: &mut Roff, command: &Command) {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    roff.control("TP", []).text([bold(name(command)), roman("(1)")]).text(inline(&about));
}

/// Arguments, options of the command, and options of all commands, each in a section.
fn arguments(roff: &mut Roff, command: &Command) {
    let mut shown: Vec<&Arg> = command.get_arguments().filter(|arg| !arg.is_hide_set()).collect();
    shown.sort_by_key(|arg| arg.get_display_order());
    let positional = |arg: &&&Arg| arg.is_positional();
    let global = |arg: &&&Arg| arg.get_help_heading() == Some(crate::cli::GLOBAL);
    let own = |arg: &&&Arg| !positional(arg) && !global(arg);
    for (heading, args) in [
        ("ARGUMENTS", shown.iter().filter(positional).collect::<Vec<_>>()),
        ("OPTIONS", shown.iter().filter(own).collect()),
        ("OPTIONS OF ALL COMMANDS", shown.iter().filter(global).collect()),
    ] {
        if !args.is_empty() {
            roff.control("SH", [heading]);
            args.into_iter().for_each(|arg| argument(roff, arg));
        }
    }
}

/// What `-l` takes, from the tables that it is read by.
fn lxc_arguments(roff: &mut Roff, words: &[String]) {
    let [command] = words else { return };
    let Some(tool) = Tool::of(command) else { return };
    let (honoured, refused) = lxc_args::listed(tool);
    roff.control("SH", ["LXC ARGUMENTS"]);
    let text = format!("`-l` takes the words of {}(1), as of LXC 5 and 6. These do something:", tool.name());
    roff.text(inline(&text));
    listed(roff, &honoured);
    roff.control("PP", []).text([roman("These are refused, before anything is done:")]);
    listed(roff, &refused);
}

fn listed(roff: &mut Roff, options: &[OptionRow]) {
    for option in options {
        roff.control("TP", []).text(inline(&option.spelled)).text(inline(&option.text));
    }
}

fn argument(roff: &mut Roff, arg: &Arg) {
    roff.control("TP", []).text(header(arg));
    let help = arg.get_long_help().or_else(|| arg.get_help()).map(ToString::to_string).unwrap_or_default();
    for (index, paragraph) in help.split("\n\n").enumerate() {
        if index > 0 {
            roff.control("IP", []);
        }
        roff.text(inline(paragraph));
    }
    let values = arg.get_possible_values();
    if !values.is_empty() && arg.get_action().takes_values() {
        for value in values.iter().filter(|value| !value.is_hide_set()) {
            let help = value.get_help().map(ToString::to_string).unwrap_or_default();
            roff.control("br", []).text([bold(value.get_name()), roman(format!(": {help}"))]);
        }
    }
}

/// How an argument is spelled: `-n, --nix-args <ARGS>`.
fn header(arg: &Arg) -> Vec<Inline> {
    let spelled = arg.to_string();
    if arg.is_positional() {
        return vec![italic(spelled)];
    }
    let mut header = Vec::new();
    if let Some(short) = arg.get_short() {
        header.push(bold(format!("-{short}")));
        if arg.get_long().is_some() {
            header.push(roman(", "));
        }
    }
    // clap spells the long name where there is one, and the value behind it.
    let name = arg.get_long().map_or_else(
        || arg.get_short().map(|short| format!("-{short}")).unwrap_or_default(),
        |long| format!("--{long}"),
    );
    if arg.get_long().is_some() {
        header.push(bold(name.as_str()));
    }
    header.push(italic(spelled.strip_prefix(&name).unwrap_or_default()));
    header
}

/// Lines as they are.
fn listing(roff: &mut Roff, lines: &[String]) {
    roff.control("nf", []);
    for line in lines {
        // An empty line of the source would be told by groff as one.
        if line.is_empty() {
            roff.control("sp", []);
        } else {
            roff.text([roman(line.as_str())]);
        }
    }
    roff.control("fi", []);
}

fn entries(roff: &mut Roff, heading: &str, entries: &[Entry]) {
    if entries.is_empty() {
        return;
    }
    roff.control("SH", [heading]);
    for (term, text) in entries {
        roff.control("TP", []).text([bold(term.as_str())]).text(inline(text));
    }
}

fn see_also(roff: &mut Roff, command: &Command, words: &[String]) {
    let mut names = Vec::new();
    // The overview has named all of them.
    if let Some((first, rest)) = words.split_first() {
        names.push("nixcloud-container".to_owned());
        names.extend(command.get_subcommands().map(|command| name(command).to_owned()));
        if rest.is_empty() {
            let group = GROUPS.iter().find(|(_, names)| names.contains(&first.as_str()));
            let others = group.map(|(_, names)| *names).unwrap_or_default();
            let others = others.iter().filter(|name| *name != first);
            names.extend(others.map(|name| format!("nixcloud-container-{name}")));
        } else {
            names.push(format!("nixcloud-container-{first}"));
        }
    }
    let mut pages: Vec<(String, &str)> = names.into_iter().map(|name| (name, "1")).collect();
    pages.push(("nixcloud-container.toml".to_owned(), "5"));
    pages.extend(sections::elsewhere(words).into_iter().map(|(name, section)| (name.to_owned(), section)));
    references(roff, &pages);
}

fn references(roff: &mut Roff, pages: &[(String, &str)]) {
    roff.control("SH", ["SEE ALSO"]);
    let mut line = Vec::new();
    for (index, (name, section)) in pages.iter().enumerate() {
        let comma = if index + 1 < pages.len() { ", " } else { "" };
        line.extend([bold(name.as_str()), roman(format!("({section}){comma}"))]);
    }
    roff.text(line);
}

/// A text with the full stop that clap takes from the end of an about.
fn sentence(text: &str) -> String {
    if text.ends_with(['.', ':', '!', '?']) { text.to_owned() } else { format!("{text}.") }
}

/// A paragraph; what stands in backquotes is set in bold.
fn inline(paragraph: &str) -> Vec<Inline> {
    let paragraph = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    let parts = paragraph.split('`').enumerate();
    parts.map(|(index, part)| if index % 2 == 1 { bold(part) } else { roman(part) }).collect()
}

fn long_after_help(command: &Command) -> String {
    command.get_after_long_help().map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests;

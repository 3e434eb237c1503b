//! run, login.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use nixcloud_container::{ContainerName, User};

use super::{LxcArgs, seconds};

/// What `run` and `login` have in common.
#[derive(Debug, Args)]
pub(crate) struct SessionArgs {
    /// The container's user, and another group than the user's own; names or numbers [default: root]
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<User>,
    /// The folder it starts in [default: `/`, for `login` the user's home]
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<PathBuf>,
    /// A variable of its environment; repeatable
    #[arg(short = 'e', long = "env", value_name = "VAR=VAL", value_parser = OsStringValueParser::new().try_map(|text| variable(&text)))]
    pub(crate) variables: Vec<(OsString, OsString)>,
    #[command(flatten)]
    pub(crate) lxc: LxcArgs,
}

#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// The container
    pub(crate) name: ContainerName,
    #[command(flatten)]
    pub(crate) session: SessionArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Give the command a terminal of the container
    #[arg(short = 't', long)]
    pub(crate) terminal: bool,
    /// How long the command may take: then it is told to end (SIGTERM), and later killed, with all that it has started
    #[arg(long, value_name = "SECONDS", value_parser = limit, allow_negative_numbers = true)]
    pub(crate) timeout: Option<u32>,
    /// How long the command may take to end once it was told, by the time limit or by Ctrl-C, until all of it is killed
    /// [default: 10 after a time limit]
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) kill_after: Option<u32>,
    #[command(flatten)]
    pub(crate) session: SessionArgs,
    /// The container, and the command with its arguments
    // One list: behind the container's name no word is taken for an option of ours.
    #[arg(required = true, num_args = 1.., trailing_var_arg = true, value_names = ["NAME", "COMMAND"])]
    words: Vec<OsString>,
}

impl RunArgs {
    /// The container and the command.
    ///
    /// # Errors
    /// When the name is none, or no command follows it.
    pub(crate) fn target(&self) -> Result<(ContainerName, &[OsString]), String> {
        let Some((name, command)) = self.words.split_first() else {
            return Err("no container is named".into());
        };
        // What is no text is no name either.
        let name = name.to_string_lossy();
        let name = name.parse().map_err(|error| format!("invalid value '{name}' for 'NAME': {error}"))?;
        let command = command.strip_prefix(&[OsString::from("--")][..]).unwrap_or(command);
        if command.is_empty() {
            return Err(format!("no command is given to run in `{name}`"));
        }
        Ok((name, command))
    }
}

fn limit(text: &str) -> Result<u32, &'static str> {
    match seconds(text)? {
        0 => Err("a command needs a second at least"),
        limit => Ok(limit),
    }
}

fn variable(text: &OsStr) -> Result<(OsString, OsString), &'static str> {
    let mut parts = text.as_bytes().splitn(2, |byte| *byte == b'=').map(OsStr::from_bytes);
    match (parts.next(), parts.next()) {
        (Some(name), Some(value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("VAR=VAL is wanted"),
    }
}

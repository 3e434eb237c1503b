//! completions, man: what belongs to an installation. Neither root nor a host is needed.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Failure;
use crate::cli::{CompletionsArgs, ManArgs};
use crate::completion;
use crate::exit::ExitStatus;
use crate::man;
use crate::screen::printer::Printer;

pub(super) fn completions(printer: &Printer, args: &CompletionsArgs) -> ExitStatus {
    printer.raw(completion::script(args.shell));
    ExitStatus::Done
}

pub(super) fn man(printer: &Printer, args: &ManArgs) -> Result<ExitStatus, Failure> {
    match &args.output {
        Some(folder) => write_all(folder)?,
        None => {
            let page = man::page(&args.command).ok_or_else(|| {
                Failure::usage("man", format!("there is no command `{}`", args.command.join(" ")))
            })?;
            if !printer.for_people() || !shown(&page.text) {
                printer.raw(&page.text);
            }
        }
    }
    Ok(ExitStatus::Done)
}

/// Shows a page as `man` does; whether there is one. To people its source says little.
fn shown(text: &str) -> bool {
    let Ok(mut man) = Command::new("man").args(["-l", "-"]).stdin(Stdio::piped()).spawn() else {
        return false;
    };
    if let Some(mut stdin) = man.stdin.take() {
        // A reader who has seen enough leaves the rest.
        let _ = stdin.write_all(text.as_bytes());
    }
    man.wait().is_ok_and(|status| status.success())
}

fn write_all(folder: &Path) -> Result<(), Failure> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        |source| Failure::Write { path, source }
    };
    for page in man::pages() {
        let section = folder.join(page.section);
        fs::create_dir_all(&section).map_err(failed(&section))?;
        let path = section.join(&page.file);
        fs::write(&path, page.text).map_err(failed(&path))?;
    }
    Ok(())
}

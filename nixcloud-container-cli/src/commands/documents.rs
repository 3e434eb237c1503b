//! completions, man: what belongs to an installation. Neither root nor a host is needed.

use std::fs;
use std::path::Path;

use super::Failure;
use crate::cli::{CompletionsArgs, ManArgs};
use crate::exit::Status;
use crate::man;
use crate::printer::Printer;

pub(super) fn completions(printer: &Printer, args: &CompletionsArgs) -> Status {
    printer.raw(args.shell.script());
    Status::Done
}

pub(super) fn man(printer: &Printer, args: &ManArgs) -> Result<Status, Failure> {
    match &args.output {
        Some(folder) => write_all(folder)?,
        None => {
            let page = man::page(&args.command).ok_or_else(|| {
                Failure::usage("man", format!("there is no command `{}`", args.command.join(" ")))
            })?;
            printer.raw(&page.text);
        }
    }
    Ok(Status::Done)
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

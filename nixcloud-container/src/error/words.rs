//! Parts of the errors' texts.

use super::Error;
use crate::model::config::Above;
use crate::model::host_report::Part;
use crate::model::name::ContainerName;
use crate::model::occurrence::End;
use crate::model::ready::{Missing, Ready, Unready};
use crate::model::resources::Unheld;

pub(super) fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

pub(super) fn parts(failures: &[(Part, Error)]) -> String {
    let all: Vec<String> = failures.iter().map(|(part, error)| format!("{part}: {}", chain(error))).collect();
    format!("not all of the host's network could be changed: {}", all.join("; "))
}

/// An error and all that it came from, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// Errors, each with all that it came from.
pub(super) fn list(failures: &[Error]) -> String {
    failures.iter().map(|error| chain(error)).collect::<Vec<_>>().join("; ")
}

pub(super) fn list_unheld(unheld: &[Unheld]) -> String {
    let each = unheld.iter().map(|Unheld { key, why }| format!("`resources.{key}` ({why})"));
    each.collect::<Vec<_>>().join(", ")
}

pub(super) fn list_above(above: &[Above]) -> String {
    let each =
        above.iter().map(|Above { key, asked, most }| format!("`resources.{key}` {asked}, at most {most}"));
    each.collect::<Vec<_>>().join("; ")
}

pub(super) fn unready(name: &ContainerName, wanted: &Ready, missing: &Missing, why: Unready) -> String {
    match why {
        Unready::Late { limit } => {
            format!("container `{name}` is not ready (`{wanted}`) after {} s: {missing}", limit.as_secs())
        }
        Unready::Ended { how } => {
            let how = match how {
                End::ByItself => "ended by itself",
                End::Rebooted => "ended to boot again, and did not,",
                End::Stopped => "was shut down",
                End::Killed => "was killed",
                End::Unknown => "has ended",
            };
            format!("container `{name}` {how} before it was ready (`{wanted}`)")
        }
        Unready::Cancelled => {
            format!("container `{name}` was not waited for until it is ready (`{wanted}`): {missing}")
        }
    }
}

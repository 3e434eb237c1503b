//! What the commands answer: shapes with stable field names for `--json`, each of which also tells itself in words.
//!
//! The library's types do not reach JSON: a field may be renamed there, here it is only ever added.
//! `docs/json.md` and the schemas beside it are made from these types, by a test.

mod addresses;
mod autostart;
mod change;
mod container;
mod declared;
mod destroyed;
mod event;
mod failure;
mod gc;
mod generations;
mod hint;
mod host;
mod kill;
pub(crate) mod ls;
mod pending;
mod plan;
mod power;
mod repair;
mod session;
mod set;
mod table;
mod usage;

use crate::screen::printer::View;

pub(crate) use addresses::Addresses;
pub(crate) use autostart::{AutostartView, AutostopView};
pub(crate) use change::ChangeView;
pub(crate) use container::{ContainerView, Exists, ListView};
pub(crate) use declared::{ApplyView, EvalView, plan};
pub(crate) use destroyed::{Destroyed, DestroyedAll};
pub(crate) use event::EventView;
pub(crate) use failure::{FailureView, all_details};
pub(crate) use gc::GcView;
pub(crate) use generations::{Deleted, GenerationsView};
pub(crate) use hint::spelled;
pub(crate) use host::{CheckView, HostView};
pub(crate) use kill::KillView;
pub(crate) use ls::{LsView, NamesView};
pub(crate) use pending::Pending;
pub(crate) use plan::PlanView;
pub(crate) use power::{Outcome, PowerView};
pub(crate) use repair::RepairView;
#[cfg(test)]
use session::Captured;
pub(crate) use session::RunView;
pub(crate) use set::SetView;
pub(crate) use table::Table;

/// What stands where there is nothing to say.
const NOTHING: &str = "-";

fn or_nothing(value: Option<impl ToString>) -> String {
    value.map_or_else(|| NOTHING.to_owned(), |value| value.to_string())
}

/// Bytes, for people.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut unit = "B";
    let mut rest = (bytes, 0);
    for next in UNITS {
        if rest.0 < 1024 {
            break;
        }
        rest = (rest.0 / 1024, rest.0 % 1024 * 10 / 1024);
        unit = next;
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{}.{} {unit}", rest.0, rest.1) }
}

#[cfg(test)]
mod schema_tests;
#[cfg(test)]
mod snapshot_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_unit_that_fits() {
        assert_eq!(
            [0, 1023, 1536, 5 << 20, 3 << 40].map(size),
            ["0 B", "1023 B", "1.5 KiB", "5.0 MiB", "3.0 TiB"]
        );
    }
}

//! host up, host down.

use nixcloud_container::{BridgeChange, Change};
use serde::Serialize;

use super::View;
use crate::printer::Printer;

/// What was done to the host.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct HostView {
    /// Its bridges.
    bridges: Vec<BridgeView>,
}

/// What was done to a bridge.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct BridgeView {
    /// Its name.
    bridge: String,
    /// `made`, `mended`, `kept`, `foreign` (left alone), `removed` or `absent`.
    change: &'static str,
}

impl HostView {
    pub(crate) fn of(changes: &[BridgeChange]) -> Self {
        let view = |change: &BridgeChange| BridgeView {
            bridge: change.bridge.to_string(),
            change: match change.change {
                Change::Made => "made",
                Change::Mended => "mended",
                Change::Kept => "kept",
                Change::Foreign => "foreign",
                Change::Removed => "removed",
                Change::Absent => "absent",
                _ => "unknown",
            },
        };
        Self { bridges: changes.iter().map(view).collect() }
    }
}

impl View for HostView {
    fn tell(&self, printer: &Printer) {
        for BridgeView { bridge, change } in &self.bridges {
            printer.result(match *change {
                "kept" => format!("bridge {bridge} is there already"),
                "foreign" => format!("bridge {bridge} is not ours: left alone"),
                "absent" => format!("bridge {bridge} is not there"),
                change => format!("{change} bridge {bridge}"),
            });
        }
    }
}

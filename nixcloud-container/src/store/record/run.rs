//! What is known of a running guest: a note of one boot.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::file::{RecordError, Text, read, remove, write};
use crate::fs::atomic::Durability;
use crate::model::devices::DeviceNode;
use crate::model::generation::GenerationId;
use crate::model::layout::Layout;
use crate::model::name::ContainerName;
use crate::model::signal::Signal;
use crate::model::store_view::StoreView;
use crate::render::{self, PendingRestart, Rendered};
use crate::store::boot_notes::{self, BootNotes};
use crate::store::shown::Shown;
use crate::sys::cgroup;
use crate::sys::proc::{FileId, Process};

/// What is known of a running guest. Of one boot only, and so never synced to disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// The boot that it belongs to.
    pub boot_id: String,
    /// Its init; unknown where the one that started it was killed on the way.
    pub init: Option<Process>,
    /// LXC's monitor of it.
    pub monitor: Option<Process>,
    /// The network namespace that it was started from: LXC's command socket is seen only there.
    pub netns: FileId,
    /// When it was started.
    pub started: Timestamp,
    /// The generation that it was booted from.
    pub generation: Option<GenerationId>,
    /// Whether the current generation has changed since: a guest that reboots from inside boots the current one.
    #[serde(default)]
    pub switched: bool,
    /// The cgroups that LXC makes for it, noted before it does. LXC removes them, unless its monitor is killed.
    #[serde(default)]
    pub cgroups: Vec<PathBuf>,
    /// The signals that it was booted with.
    #[serde(default)]
    pub signals: Signals,
    /// What else it was booted with.
    pub notes: BootNotes,
    /// What it sees of the store, where that is not all of it.
    #[serde(default)]
    pub shown: Option<Shown>,
    /// Its devices; `None` where they cannot be changed while it runs, since it was booted without a table of them.
    #[serde(default)]
    pub devices: Option<GuestDevices>,
}

/// The devices of a running guest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuestDevices {
    /// Whether a change was cut off: then it may lack some of these.
    pub unsure: bool,
    /// Whether its cgroup was booted with rules that open these alone.
    pub rules: bool,
    /// Those that it has.
    pub nodes: Vec<DeviceNode>,
    /// Those that it is itself in the way of: it gets them when it boots again.
    #[serde(default)]
    pub waiting: Vec<DeviceNode>,
}

/// What a guest's init takes for a wish, where its LXC configuration says so (`lxc.signal.halt`, `lxc.signal.reboot`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signals {
    /// To shut down.
    pub halt: Option<Signal>,
    /// To reboot.
    pub reboot: Option<Signal>,
}

impl Signals {
    /// Those of items of an LXC configuration, of which the last counts. An empty one is LXC's own choice.
    #[must_use]
    pub fn of<'a>(items: impl IntoIterator<Item = &'a (String, String)>) -> Self {
        let mut signals = Self::default();
        for (key, value) in items {
            match key.as_str() {
                "lxc.signal.halt" => signals.halt = value.parse().ok(),
                "lxc.signal.reboot" => signals.reboot = value.parse().ok(),
                _ => {}
            }
        }
        signals
    }
}

impl Run {
    /// Reads what is known of a container's guest in this boot; `None` where nothing is, or where the file is of
    /// an earlier boot or torn: it is of no use then.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn load(layout: &Layout, name: &ContainerName, boot_id: &str) -> Result<Option<Self>, RecordError> {
        let Some(Text { text, .. }) = read(&layout.run(name))? else { return Ok(None) };
        let run = toml::from_str(&text).ok().or_else(|| boot_notes::upgraded(&text));
        Ok(run.filter(|run: &Self| run.boot_id == boot_id))
    }

    /// What waits for a restart, where it would boot with `next` and see as much of the store.
    #[must_use]
    pub fn pending_restart(&self, view: StoreView, next: &Rendered) -> Vec<PendingRestart> {
        let running = if self.shown.is_some() { StoreView::Closure } else { StoreView::Full };
        render::compare((running, &self.notes.items), (view, &next.items))
    }

    /// Whether its guest lives: one that rebooted from inside has another init, and still that monitor.
    #[must_use]
    pub fn lives(&self) -> bool {
        [self.init, self.monitor].into_iter().flatten().any(Process::is_alive)
    }

    /// Notes the init of its guest, and with it LXC's monitor and the cgroups that they are in as the kernel names them.
    pub fn booted(&mut self, init: Process) {
        (self.init, self.monitor) = (Some(init), init.parent());
        if let Some(shown) = &mut self.shown {
            shown.seen(init);
        }
        for cgroup in cgroup::of(&self.init.into_iter().chain(self.monitor).collect::<Vec<_>>()) {
            if !self.cgroups.contains(&cgroup) {
                self.cgroups.push(cgroup);
            }
        }
    }

    /// Writes it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, layout: &Layout, name: &ContainerName) -> Result<(), RecordError> {
        write(&layout.run(name), self, Durability::Volatile)
    }

    /// Removes it.
    ///
    /// # Errors
    /// When it cannot be removed; a missing one is no error.
    pub fn delete(layout: &Layout, name: &ContainerName) -> Result<(), RecordError> {
        remove(&layout.run(name))
    }
}

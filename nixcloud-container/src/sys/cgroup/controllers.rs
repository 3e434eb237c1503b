//! Which controllers this host's kernel has, and the limits that are written into a guest's cgroups.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{folders_in, hierarchies, write_there};
use crate::model::resources::{CgroupVersion, Controllers, Limit, processors};

/// Looks at the host.
#[must_use]
pub fn controllers() -> Controllers {
    let mut found = Controllers::default();
    let mut weights = PathBuf::new();
    // No controller of that name: LXC has the kernel run a program there, where all is on v2.
    let mut all_v2 = true;
    for (controllers, place) in hierarchies() {
        all_v2 &= controllers.is_empty();
        let (version, names) = if controllers.is_empty() {
            found.unified = true;
            let text = fs::read_to_string(place.join("cgroup.controllers")).unwrap_or_default();
            (CgroupVersion::V2, text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        } else {
            (CgroupVersion::V1, controllers.split(',').map(str::to_owned).collect())
        };
        for name in names {
            let slot = match name.as_str() {
                "memory" => {
                    found.swap = match version {
                        CgroupVersion::V1 => place.join("memory.memsw.limit_in_bytes").exists(),
                        // The root has no limits, and so no such file.
                        CgroupVersion::V2 => below(&place, "memory.swap.max"),
                    };
                    &mut found.memory
                }
                "cpu" => &mut found.cpu,
                "cpuset" => &mut found.cpuset,
                "pids" => &mut found.pids,
                "hugetlb" => &mut found.hugetlb,
                "devices" => &mut found.devices,
                "io" | "blkio" => {
                    weights.clone_from(&place);
                    &mut found.io
                }
                _ => continue,
            };
            *slot = Some(version);
        }
    }
    if found.unified && all_v2 {
        found.devices = Some(CgroupVersion::V2);
    }
    let online = fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    found.processors = processors(online.trim()).unwrap_or_default();
    let files = ["io.weight", "io.bfq.weight", "blkio.weight", "blkio.bfq.weight"];
    found.io_weight = files.into_iter().find(|file| below(&weights, file)).map(str::to_owned);
    found
}

/// Whether a cgroup below has such a file: the root of a hierarchy has no limits.
fn below(place: &Path, file: &str) -> bool {
    folders_in(place).iter().any(|folder| folder.join(file).exists())
}

/// Writes a limit into the one among a guest's cgroups that has such a file.
///
/// # Errors
/// The kernel's refusal; `ENOENT` where no cgroup has the file.
pub fn hold(cgroups: &[PathBuf], limit: &Limit) -> io::Result<()> {
    let file = cgroups.iter().map(|cgroup| cgroup.join(&limit.file)).find(|file| file.exists());
    write_there(&file.ok_or(io::ErrorKind::NotFound)?, &limit.value)
}

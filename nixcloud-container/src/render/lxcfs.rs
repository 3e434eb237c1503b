//! A guest's view of its own size: files of lxcfs over those of the kernel's, which tell of the whole host.
//!
//! They are items of a start and no lines of the configuration: whether lxcfs runs and what it offers is found by each start
//! anew, and a guest that was started without it waits for nothing.

use std::path::Path;

use super::{LockedSource, mount_entry};

/// What lxcfs shows is called like this in the folder of locked sources.
const NAME: &str = "lxcfs";

/// What the worker locks for it.
#[must_use]
pub fn source(lxcfs: &Path) -> LockedSource {
    LockedSource {
        source: lxcfs.to_owned(),
        name: NAME.to_owned(),
        recursive: false,
        optional: true,
        only_files: false,
    }
}

/// The mounts of `paths`: each is the same below lxcfs and below the guest's root. Where the guest's kernel has no such file, as
/// without pressure figures, nothing is mounted.
#[must_use]
pub fn items(locked: &Path, paths: &[String]) -> Vec<(String, String)> {
    let item = |path: &String| {
        let source = mount_entry::encode(&locked.join(NAME).join(path).to_string_lossy());
        let value = format!("{source} {} none bind,ro,optional 0 0", mount_entry::encode(path));
        ("lxc.mount.entry".to_owned(), value)
    };
    paths.iter().map(item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_is_mounted_over_the_kernels() {
        let paths = ["proc/meminfo".to_owned(), "sys/devices/system/cpu".to_owned()];
        let entry = |value: &str| ("lxc.mount.entry".to_owned(), value.to_owned());
        assert_eq!(
            items(Path::new("/a b/locked"), &paths),
            [
                entry("/a\\040b/locked/lxcfs/proc/meminfo proc/meminfo none bind,ro,optional 0 0"),
                entry(
                    "/a\\040b/locked/lxcfs/sys/devices/system/cpu sys/devices/system/cpu none bind,ro,optional 0 0"
                ),
            ]
        );
    }
}

//! What lxcfs offers, found by asking it: whoever does may hang, so that it is a worker with a deadline.

use std::fs::FileType;
use std::io;
use std::path::Path;

/// Of processors lxcfs has the whole folder, or (before 5.0) a part of it.
const PROCESSORS: &str = "sys/devices/system/cpu";

/// The paths below `lxcfs` that stand for the same ones below a guest's root. One of them has been read.
///
/// # Errors
/// What lxcfs, or the kernel in its place, refuses.
pub(super) fn paths(lxcfs: &Path) -> io::Result<Vec<String>> {
    // Its folders are the kernel's to remember: that it answers is seen by what is in a file.
    std::fs::read(lxcfs.join("proc/meminfo"))?;
    let mut paths = Vec::new();
    for (name, kind) in entries(&lxcfs.join("proc"))? {
        if kind.is_dir() {
            // `pressure`.
            let below = entries(&lxcfs.join("proc").join(&name))?;
            paths.extend(
                below
                    .into_iter()
                    .filter(|(_, kind)| kind.is_file())
                    .map(|(file, _)| format!("proc/{name}/{file}")),
            );
        } else {
            paths.push(format!("proc/{name}"));
        }
    }
    paths.sort();
    let processors = lxcfs.join(PROCESSORS);
    if processors.join("uevent").exists() {
        paths.push(PROCESSORS.to_owned());
    } else if processors.join("online").exists() {
        paths.push(format!("{PROCESSORS}/online"));
    }
    Ok(paths)
}

fn entries(folder: &Path) -> io::Result<Vec<(String, FileType)>> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string() {
            entries.push((name, entry.file_type()?));
        }
    }
    Ok(entries)
}

//! Who else has bound the name of a container's command socket: any user of the host can, and then it cannot start.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::running::SOCKETS;
use crate::lxc::address::Address;
use crate::sys::proc;

/// A process that is not root's and has a container's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The process.
    pub pid: i32,
    /// Whose it is.
    pub uid: u32,
    /// What it calls itself.
    pub program: String,
}

/// The process that holds the name of a container's socket, if it is not one of root's, as LXC's monitor is.
///
/// Whoever listens is not believed ([`super::Error::Foreign`]); this finds as well who has only bound the name. It looks
/// through all open files of the host: for when a start has failed.
#[must_use]
pub fn holder(lxc_path: &Path, name: &str) -> Option<Holder> {
    let socket = Address::new(lxc_path, name).ok()?.socket_name();
    let list = std::fs::read(SOCKETS).ok()?;
    let inodes: Vec<String> =
        list.split(|byte| *byte == b'\n').filter_map(|line| inode_of(line, &socket)).collect();
    if inodes.is_empty() {
        return None;
    }
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find_map(|pid: i32| {
        let uid = proc::Process::now(pid)?.user().filter(|uid| *uid != 0)?;
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
        let holds = |link: &Path| inodes.iter().any(|inode| link.as_os_str().as_bytes() == inode.as_bytes());
        let found = files.filter_map(|file| std::fs::read_link(file.path()).ok()).any(|link| holds(&link));
        let program = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        // The name is the process's own choice.
        let program = program.trim_end().chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        found.then_some(Holder { pid, uid, program })
    })
}

/// What `/proc/PID/fd` calls the socket of a line, if it has this name.
fn inode_of(line: &[u8], socket: &[u8]) -> Option<String> {
    let named = line.strip_suffix(socket)?.strip_suffix(b" @")?;
    let inode = str::from_utf8(named).ok()?.split_ascii_whitespace().nth(6)?;
    Some(format!("socket:[{inode}]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_matched_whole_whether_it_listens_or_not() {
        let line = b"0000000000000000: 00000002 00000000 00000000 0001 01 12345 @/var/lib/lxc/web/command";
        assert_eq!(inode_of(line, b"/var/lib/lxc/web/command").unwrap(), "socket:[12345]");
        assert_eq!(inode_of(line, b"/lib/lxc/web/command"), None);
        assert_eq!(inode_of(b"", b"/var/lib/lxc/web/command"), None);
    }
}

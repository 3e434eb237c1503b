//! Which containers run, from the kernel's list of sockets.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::Error;
use crate::lxc::address::{Address, InvalidAddress, is_canonical};

/// `/proc/net/unix` would be that of the thread group's leader, which may be in another network namespace.
pub(super) const SOCKETS: &str = "/proc/thread-self/net/unix";

/// `__SO_ACCEPTCON` in the flags: the socket listens.
const LISTENS: u32 = 1 << 16;

/// Which containers have a monitor, by the kernel's list of sockets.
///
/// The list is made of names that any local user may have bound: who matters is asked of [`super::Client`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Running {
    /// Names under the LXC path that was asked for, sorted.
    pub names: Vec<String>,
    /// The hashes, sorted, of sockets whose path and name are too long to be told; [`Address::socket_hash`] tells whether a
    /// container is one of them. They may be of any LXC path.
    pub hashed: Vec<String>,
}

impl Running {
    /// Whether a container is among them.
    #[must_use]
    pub fn contains(&self, address: &Address) -> bool {
        match address.socket_hash() {
            Some(hash) => self.hashed.binary_search(&hash).is_ok(),
            None => self.names.binary_search_by(|name| name.as_str().cmp(address.name())).is_ok(),
        }
    }
}

/// The containers under `lxc_path` (and no other path that begins with it) that have a monitor in this network
/// namespace: one read, nobody is asked.
///
/// # Errors
/// When the list cannot be read, or the path is not canonical.
pub fn running(lxc_path: &Path) -> Result<Running, Error> {
    if !is_canonical(lxc_path) {
        return Err(InvalidAddress::Path { path: lxc_path.to_owned() }.into());
    }
    Ok(pick(&std::fs::read(SOCKETS).map_err(Error::List)?, lxc_path))
}

/// Whether a container of this name under another LXC path has a monitor in this network namespace.
#[must_use]
pub fn others_listen(lxc_path: &Path, name: &str) -> bool {
    let list = std::fs::read(SOCKETS).unwrap_or_default();
    others(&list, lxc_path, name)
}

fn others(list: &[u8], lxc_path: &Path, name: &str) -> bool {
    let is_other = |socket: &[u8]| {
        let path = socket.strip_suffix(format!("/{name}/command").as_bytes());
        path.is_some_and(|path| path != lxc_path.as_os_str().as_bytes())
    };
    list.split(|byte| *byte == b'\n').filter_map(listening_name).any(is_other)
}

fn pick(list: &[u8], lxc_path: &Path) -> Running {
    let mut running = Running::default();
    for line in list.split(|byte| *byte == b'\n') {
        let Some(socket) = listening_name(line) else { continue };
        let Some(rest) = socket.strip_suffix(b"/command") else { continue };
        if let Some(name) =
            rest.strip_prefix(lxc_path.as_os_str().as_bytes()).and_then(|r| r.strip_prefix(b"/"))
        {
            if let Some(name) = str::from_utf8(name).ok().filter(|name| Address::new(lxc_path, name).is_ok())
            {
                running.names.push(name.to_owned());
            }
        } else if let Some(hash) = rest.strip_prefix(b"lxc/")
            && hash.len() == 16
            && hash.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'))
        {
            running.hashed.push(String::from_utf8_lossy(hash).into_owned());
        }
    }
    for list in [&mut running.names, &mut running.hashed] {
        list.sort_unstable();
        list.dedup();
    }
    running
}

/// The abstract name of a socket that listens, from `Num: RefCount Protocol Flags Type St Inode Path`.
fn listening_name(line: &[u8]) -> Option<&[u8]> {
    let mut rest = line;
    let mut flags = None;
    for column in 0..7 {
        rest = rest.trim_ascii_start();
        let end = rest.iter().position(|byte| *byte == b' ')?;
        let (word, after) = rest.split_at(end);
        if column == 3 {
            flags = u32::from_str_radix(str::from_utf8(word).ok()?, 16).ok();
        }
        rest = after;
    }
    (flags? & LISTENS != 0).then_some(())?;
    rest.strip_prefix(b" @")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &[u8] = b"\
Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 12345 @/var/lib/lxc/web/command
0000000000000000: 00000003 00000000 00000000 0001 03 12346 @/var/lib/lxc/client/command
0000000000000000: 00000002 00000000 00010000 0001 01 12347 @/var/lib/lxc-other/db/command
0000000000000000: 00000002 00000000 00010000 0001 01 12348 @/var/lib/lxc/a b/command
0000000000000000: 00000002 00000000 00010000 0001 01 12349 @/var/lib/lxc/deep/er/command
0000000000000000: 00000002 00000000 00010000 0001 01 12350 @lxc/0123456789abcdef/command
0000000000000000: 00000002 00000000 00010000 0001 01 12351 /var/lib/lxc/file/command
0000000000000000: 00000002 00000000 00010000 0005 01 12352
0000000000000000: 00000002 00000000 00010000 0001 01 12353 @/var/lib/lxc/web/command
";

    #[test]
    fn only_listening_abstract_names_of_this_very_path_count() {
        let running = pick(LIST, Path::new("/var/lib/lxc"));
        assert_eq!(running.names, ["a b", "web"]);
        assert_eq!(running.hashed, ["0123456789abcdef"]);
        assert_eq!(pick(LIST, Path::new("/var/lib/lxc-other")).names, ["db"]);
        assert_eq!(pick(LIST, Path::new("/var/lib")).names, [] as [&str; 0]);
        assert!(!others(LIST, Path::new("/var/lib/lxc"), "web"));
        assert!(others(LIST, Path::new("/var/lib/lxc"), "db") && others(LIST, Path::new("/srv"), "web"));
        assert!(!others(LIST, Path::new("/srv"), "client"), "it does not listen");
    }
}

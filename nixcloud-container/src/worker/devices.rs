//! The device nodes that a guest gets: nodes of ours, which are the guest's, and never the host's.
//!
//! ```text
//! LXCPATH/NAME/locked/     in the mount namespace of LXC's monitor
//!   devices/               tmpfs    net%2Ftun    a node that belongs to the guest's root
//!   fstab                  "LXCPATH/NAME/locked/devices/net%2Ftun dev/net/tun none bind,create=file 0 0"
//! ```
//!
//! LXC binds them into the guest's `/dev` at each boot, also when it reboots from inside, since it reads the table anew. A guest
//! that runs gets a node bound by a process that has gone into its mount namespace, and into none of its others: out of the
//! guest's sight, with the rights of the guest's root over files, so that whatever the guest has made of its `/dev`, nothing is
//! reached there that its root could not reach. What is taken away is shut, too: the guest may have bound it elsewhere.

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use ::nix::mount::{MsFlags, mount};
use ::nix::sched::{CloneFlags, setns};
use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags, move_mount, open_tree, unmount};

use super::mounts::{MountError, failed};
use super::store;
use crate::fs::beneath::{self, RESOLVE, THROUGH_MOUNTS};
use crate::model::devices::DeviceNode;
use crate::render::devices::{NODES, TABLE, file_name, table};
use crate::sys::proc::Process;
use crate::sys::process::Root;

/// Makes them in `locked`, for a guest whose root the host knows as `root`, and the table, which is there without any, too.
pub(super) fn make(locked: &Path, nodes: &[DeviceNode], root: u32) -> Result<(), MountError> {
    if !nodes.is_empty() {
        let folder = folder(locked)?;
        nodes.iter().try_for_each(|node| make_node(&folder, node, root))?;
    }
    write_table(locked, nodes)
}

/// The folder of the nodes, which is made where there is none. Of all that is locked it alone may have devices.
fn folder(locked: &Path) -> Result<PathBuf, MountError> {
    let folder = locked.join(NODES);
    match std::fs::create_dir(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(failed("make", &folder)(error));
        }
        _ => {}
    }
    let on = |path: &Path| path.metadata().map(|found| found.dev()).map_err(failed("look at", path));
    if on(&folder)? == on(locked)? {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
        mount(Some("devices"), &folder, Some("tmpfs"), flags, Some("mode=711,size=64k"))
            .map_err(failed("mount a folder on", &folder))?;
    }
    Ok(folder)
}

fn make_node(folder: &Path, node: &DeviceNode, root: u32) -> Result<(), MountError> {
    let place = folder.join(file_name(node));
    let (kind, number) = device(node);
    rustix::fs::mknodat(CWD, &place, kind, Mode::empty(), number)
        .map_err(failed("make the device node", &place))?;
    give(&place, node, root)
}

/// What the kernel knows it by.
fn device(node: &DeviceNode) -> (FileType, rustix::fs::Dev) {
    let kind = if node.block { FileType::BlockDevice } else { FileType::CharacterDevice };
    (kind, rustix::fs::makedev(node.major, node.minor))
}

/// Makes it the guest's, with the mode that it is to have.
fn give(place: &Path, node: &DeviceNode, root: u32) -> Result<(), MountError> {
    let give = || {
        lchown(place, Some(root + u32::from(node.owner)), Some(root + u32::from(node.group)))?;
        std::fs::set_permissions(place, Permissions::from_mode(node.mode.bits().into()))
    };
    give().map_err(failed("give away", place))
}

/// In one step: LXC may read it now.
fn write_table(locked: &Path, nodes: &[DeviceNode]) -> Result<(), MountError> {
    let (place, new) = (locked.join(TABLE), locked.join("fstab.new"));
    let write = || {
        std::fs::write(&new, table(locked, nodes))?;
        std::fs::set_permissions(&new, Permissions::from_mode(0o644))?;
        std::fs::rename(&new, &place)
    };
    write().map_err(failed("write", &place))
}

/// A file, wherever it is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    number: u64,
}

impl Identity {
    fn of(found: &Stat) -> Self {
        Self { device: found.st_dev, number: found.st_ino }
    }
}

/// Makes these the devices of a running guest, whose root the host knows as `root`. Those that it is itself in the way of are
/// told by their place, with why. Without an init the guest is between two boots, and finds them at the next.
pub(super) fn change(
    init: Option<Process>,
    monitor: Process,
    locked: &Path,
    nodes: &[DeviceNode],
    root: u32,
) -> Result<Vec<(usize, String)>, MountError> {
    let guest = match init.map(Guest::of) {
        // It may boot again.
        Some(Err(failure)) if !init.is_some_and(Process::is_alive) => return Err(failure),
        // One that is in its own way keeps nothing by that: what goes is shut first.
        guest => guest,
    };
    store::enter(monitor)?;
    let folder = folder(locked)?;
    // Somebody who was killed may still be at it.
    let held = File::open(&folder).map_err(failed("open", &folder))?;
    rustix::io::retry_on_intr(|| rustix::fs::flock(&held, FlockOperation::LockExclusive))
        .map_err(failed("take hold of", &folder))?;
    let gone = take_away(&folder, nodes)?;
    let there = list(&folder)?;
    let mut shown = Vec::new();
    for node in nodes {
        let place = folder.join(file_name(node));
        if there.contains_key(&file_name(node)) {
            give(&place, node, root)?;
        } else {
            make_node(&folder, node, root)?;
        }
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let mount = open_tree(CWD, &place, flags).map_err(failed("show", &place))?;
        let found = rustix::fs::fstat(&mount).map_err(failed("look at", &place))?;
        shown.push((mount, Identity::of(&found)));
    }
    // Before anything is bound: what the guest sees now it sees after a reboot from inside, too.
    write_table(locked, nodes)?;
    let dev = match guest {
        None => return Ok(Vec::new()),
        Some(Err(failure)) => Err(failure.to_string()),
        Some(Ok(guest)) => guest.enter()?,
    };
    let dev = match dev {
        Ok(dev) => dev,
        Err(why) => return Ok((0..nodes.len()).map(|number| (number, why.clone())).collect()),
    };
    for (path, identity) in gone {
        // What it bound elsewhere, or over it, is shut, and no matter of ours.
        if let Err(why) = unbind(dev.as_fd(), &path, identity) {
            tracing::debug!(path, why, "a device that was taken away stays in sight");
        }
    }
    let mut left = Vec::new();
    for (number, (node, (mount, identity))) in nodes.iter().zip(&shown).enumerate() {
        if let Err(why) = bind(dev.as_fd(), &node.path, mount, *identity) {
            left.push((number, why));
        }
    }
    Ok(left)
}

/// A guest that is about to be entered.
struct Guest {
    namespace: File,
    root: Root,
}

impl Guest {
    /// The one with this init: found before the host's `/proc` is left.
    fn of(init: Process) -> Result<Self, MountError> {
        let path = PathBuf::from(format!("/proc/{}/ns/mnt", init.pid));
        let namespace = File::open(&path).map_err(failed("open", &path))?;
        let root = Root::of(init.pid).map_err(failed("find the guest's root by", &path))?;
        if init.is_alive() {
            Ok(Self { namespace, root })
        } else {
            Err(failed("open", &path)(io::Error::from(io::ErrorKind::NotFound)))
        }
    }

    /// Its `/dev`, or why that is not what it was booted with. From here on files are reached as its root reaches them.
    fn enter(self) -> Result<Result<OwnedFd, String>, MountError> {
        let dev = Path::new("/dev");
        setns(self.namespace, CloneFlags::CLONE_NEWNS).map_err(failed("enter the guest's", dev))?;
        self.root.reach_files().map_err(failed("look as the guest's root at", dev))?;
        Ok(open_dev())
    }
}

/// Shuts and removes what is not to be there, or is another device by now. Returns where the guest had it.
fn take_away(folder: &Path, nodes: &[DeviceNode]) -> Result<Vec<(String, Identity)>, MountError> {
    let mut gone = Vec::new();
    for (name, found) in list(folder)? {
        let stays = nodes.iter().any(|node| {
            file_name(node) == name && (FileType::from_raw_mode(found.st_mode), found.st_rdev) == device(node)
        });
        if stays {
            continue;
        }
        let place = folder.join(&name);
        let shut = || {
            // Whose owner has no number in the guest, that the guest's root does not open.
            lchown(&place, Some(0), Some(0))?;
            std::fs::set_permissions(&place, Permissions::from_mode(0o000))?;
            std::fs::remove_file(&place)
        };
        shut().map_err(failed("take away", &place))?;
        gone.push((format!("/dev/{}", name.replace("%2F", "/").replace("%25", "%")), Identity::of(&found)));
    }
    Ok(gone)
}

/// The nodes in a folder, by their names.
fn list(folder: &Path) -> Result<BTreeMap<String, Stat>, MountError> {
    let list = || {
        let mut found = BTreeMap::new();
        for entry in std::fs::read_dir(folder)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let stat = rustix::fs::statat(CWD, folder.join(&name), AtFlags::SYMLINK_NOFOLLOW)?;
            found.insert(name, stat);
        }
        Ok::<_, io::Error>(found)
    };
    list().map_err(failed("list", folder))
}

/// Finds what has that name in the guest, where its own files cannot lead out of the folder, or through links.
fn find(folder: BorrowedFd<'_>, path: &str, flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
    // With O_NOFOLLOW a link in the last place would be "not a directory" instead of "a link".
    beneath::resolve(folder, Path::new(path), flags | OFlags::PATH | OFlags::CLOEXEC, resolve)
}

/// The guest's `/dev`, if it is still in memory, as it was booted.
fn open_dev() -> Result<OwnedFd, String> {
    let root = rustix::fs::openat(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let dev = root.and_then(|root| find(root.as_fd(), "dev", OFlags::DIRECTORY, THROUGH_MOUNTS));
    let dev = dev.map_err(|errno| format!("the guest's /dev: {}", io::Error::from(errno)))?;
    let kind =
        rustix::fs::fstatfs(&dev).map_err(|errno| format!("the guest's /dev: {}", io::Error::from(errno)))?;
    if kind.f_type == libc::TMPFS_MAGIC {
        Ok(dev)
    } else {
        Err("the guest has put something over its /dev".to_owned())
    }
}

/// The folder of a device in the guest, and its name there.
fn place<'p>(dev: BorrowedFd<'_>, path: &'p str, make: bool) -> Result<(OwnedFd, &'p str), Errno> {
    let inside = path.strip_prefix("/dev/").unwrap_or(path);
    let (folders, name) = inside.rsplit_once('/').unwrap_or(("", inside));
    let mut folder = dev.try_clone_to_owned().map_err(|_| Errno::MFILE)?;
    for part in folders.split('/').filter(|part| !part.is_empty()) {
        if make {
            match rustix::fs::mkdirat(&folder, part, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
        // What the guest has mounted there is another's file system.
        folder = find(folder.as_fd(), part, OFlags::DIRECTORY, RESOLVE)?;
    }
    Ok((folder, name))
}

/// Binds a node where the guest is to have it.
fn bind(dev: BorrowedFd<'_>, path: &str, mount: &OwnedFd, identity: Identity) -> Result<(), String> {
    let said = |errno: Errno| match errno {
        Errno::LOOP => "a link of the guest's is in the way".to_owned(),
        Errno::XDEV => "a mount of the guest's is in the way".to_owned(),
        Errno::NOTDIR | Errno::ISDIR => "something else of the guest's has its name".to_owned(),
        errno => io::Error::from(errno).to_string(),
    };
    let (folder, name) = place(dev, path, true).map_err(said)?;
    let seen = || rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW);
    match seen() {
        Ok(found) if Identity::of(&found) == identity => return Ok(()),
        Err(Errno::NOENT) => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(&folder, name, flags, Mode::empty()).map_err(said)?;
        }
        Err(errno) => return Err(said(errno)),
        Ok(_) => {}
    }
    let target = find(folder.as_fd(), name, OFlags::empty(), THROUGH_MOUNTS).map_err(said)?;
    match FileType::from_raw_mode(rustix::fs::fstat(&target).map_err(said)?.st_mode) {
        FileType::Symlink => return Err(said(Errno::LOOP)),
        FileType::Directory => return Err(said(Errno::ISDIR)),
        _ => {}
    }
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", &target, "", flags).map_err(said)?;
    match seen() {
        Ok(found) if Identity::of(&found) == identity => Ok(()),
        _ => Err("the guest has put something else in its place".to_owned()),
    }
}

/// Takes a node out of the guest's sight, and the empty file that it was bound on.
fn unbind(dev: BorrowedFd<'_>, path: &str, identity: Identity) -> Result<(), String> {
    let said = |errno: Errno| io::Error::from(errno).to_string();
    let (folder, name) = place(dev, path, false).map_err(said)?;
    let seen = || rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW);
    if Identity::of(&seen().map_err(said)?) != identity {
        return Err("it is not in its place".to_owned());
    }
    // By name, since the kernel takes no descriptor. Whatever the guest puts there meanwhile is a mount of its own.
    rustix::process::fchdir(&folder).map_err(said)?;
    let done = unmount(name, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
    let left = seen();
    rustix::process::chdir("/").map_err(said)?;
    done.map_err(said)?;
    let left = left.map_err(said)?;
    if FileType::from_raw_mode(left.st_mode) == FileType::RegularFile && left.st_size == 0 {
        rustix::fs::unlinkat(&folder, name, AtFlags::empty()).map_err(said)?;
    }
    Ok(())
}

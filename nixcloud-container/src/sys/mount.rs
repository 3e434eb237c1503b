//! Mounts that are not attached anywhere yet.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// Makes a detached mount one that nobody writes through, without devices and set-uid programs; and with `user_namespace`
/// one whose files belong to that namespace's users where they are the host's: its root owns what the host's root owns.
///
/// # Errors
/// When the kernel (before 5.12) or the file system cannot.
pub fn restrict(tree: impl AsFd, user_namespace: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let flags = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
    let idmap = if user_namespace.is_some() { libc::MOUNT_ATTR_IDMAP } else { 0 };
    let attributes = libc::mount_attr {
        attr_set: flags | idmap,
        attr_clr: 0,
        propagation: libc::MS_PRIVATE,
        userns_fd: user_namespace.map_or(0, |fd| u64::from(fd.as_raw_fd().unsigned_abs())),
    };
    // SAFETY: both descriptors are open for as long as they are borrowed; the kernel reads an empty path and as many bytes
    // of the attributes as it is told, and keeps neither.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

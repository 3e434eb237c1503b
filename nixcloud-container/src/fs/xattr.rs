//! What of a file's attributes carries ids, or is lost when its owner changes.

use rustix::fs::{Mode, XattrFlags};
use rustix::io::Errno;

use super::shift::Shift;

/// File capabilities. Those of a guest (revision 3) name the user that is root in it.
const CAPS: &str = "security.capability";
/// Access control lists, which name users and groups.
const ACLS: [&str; 2] = ["system.posix_acl_access", "system.posix_acl_default"];
/// The privileges of a file whose owner is being changed, noted in its own inode: who is killed between the change, which
/// takes them away, and the giving back leaves the note to the next run. No guest can write an attribute of this kind.
const NOTE: &str = "trusted.nixcloud-moving";

/// The most that the kernel lets an attribute, or the list of all, have.
const LARGEST: usize = 64 * 1024;

/// The names of a file's attributes, each ended by a NUL.
pub(super) struct Attributes(Vec<u8>);

/// What a change of owner takes away.
pub(super) struct Privileges {
    pub(super) mode: u32,
    /// The value of [`CAPS`], with the new owner as root.
    pub(super) caps: Option<Vec<u8>>,
    /// Whether the file does not have them now: they come from a note, or name a root of the old range.
    pub(super) stale: bool,
}

impl Attributes {
    pub(super) fn of(path: &str) -> Result<Self, Errno> {
        // Nearly all files have none: then nothing is allocated.
        let length = match rustix::fs::listxattr_query(path) {
            Ok(length) => length,
            Err(Errno::OPNOTSUPP) => 0,
            Err(errno) => return Err(errno),
        };
        if length == 0 {
            return Ok(Self(Vec::new()));
        }
        let mut names = vec![0; LARGEST];
        let length = rustix::fs::listxattr(path, &mut names[..])?;
        names.truncate(length);
        Ok(Self(names))
    }

    fn has(&self, name: &str) -> bool {
        self.0.split(|byte| *byte == 0).any(|have| have == name.as_bytes())
    }

    fn read(&self, path: &str, name: &str) -> Result<Option<Vec<u8>>, Errno> {
        if !self.has(name) {
            return Ok(None);
        }
        let mut value = vec![0; LARGEST];
        let length = rustix::fs::getxattr(path, name, &mut value[..])?;
        value.truncate(length);
        Ok(Some(value))
    }

    /// Moves the ids in access control lists.
    pub(super) fn move_acls(&self, path: &str, shift: Shift) -> Result<(), Errno> {
        for name in ACLS {
            if let Some(mut value) = self.read(path, name)?
                && move_acl(&mut value, shift)
            {
                rustix::fs::setxattr(path, name, &value, XattrFlags::empty())?;
            }
        }
        Ok(())
    }

    /// The privileges that the file has, or had before a run that was killed.
    pub(super) fn privileges(&self, path: &str, mode: u32, shift: Shift) -> Result<Privileges, Errno> {
        let noted = self.read(path, NOTE)?;
        if let Some((mode, caps)) = noted.as_deref().and_then(<[u8]>::split_first_chunk::<4>) {
            let caps = (!caps.is_empty()).then(|| moved_caps(caps, shift));
            let mode = u32::from_le_bytes(*mode) & 0o7777;
            return Ok(Privileges { mode, caps, stale: true });
        }
        let found = self.read(path, CAPS)?;
        let caps = found.as_deref().map(|caps| moved_caps(caps, shift));
        Ok(Privileges { mode, stale: caps != found, caps })
    }
}

impl Privileges {
    /// Notes them. Where the file system cannot, a kill in the next moment loses them.
    pub(super) fn note(&self, path: &str) -> Result<(), Errno> {
        let mut value = self.mode.to_le_bytes().to_vec();
        value.extend(self.caps.iter().flatten());
        match rustix::fs::setxattr(path, NOTE, &value, XattrFlags::empty()) {
            Err(Errno::OPNOTSUPP) => Ok(()),
            other => other,
        }
    }

    /// Gives them back, and forgets the note.
    pub(super) fn restore(&self, path: &str) -> Result<(), Errno> {
        rustix::fs::chmod(path, Mode::from_raw_mode(self.mode))?;
        if let Some(caps) = &self.caps {
            rustix::fs::setxattr(path, CAPS, caps, XattrFlags::empty())?;
        }
        match rustix::fs::removexattr(path, NOTE) {
            Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
            other => other,
        }
    }
}

/// Moves the ids of a POSIX access control list as the kernel hands it out (acl(5), `posix_acl_xattr.h`): a version, then
/// a tag, permissions and an id for each entry. Says whether any was moved.
fn move_acl(value: &mut [u8], shift: Shift) -> bool {
    const USER: u16 = 0x02;
    const GROUP: u16 = 0x08;
    let mut any = false;
    for entry in value.get_mut(4..).unwrap_or_default().chunks_exact_mut(8) {
        let tag = u16::from_le_bytes([entry[0], entry[1]]);
        let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
        if matches!(tag, USER | GROUP)
            && let Some(id) = shift.moved(id)
        {
            entry[4..].copy_from_slice(&id.to_le_bytes());
            any = true;
        }
    }
    any
}

/// File capabilities with the root of the new range, where they had that of the old one.
fn moved_caps(caps: &[u8], shift: Shift) -> Vec<u8> {
    const REVISION_3: u8 = 3;
    let mut caps = caps.to_vec();
    // The revision is the last byte of the little-endian magic number, the root user the last four of all.
    if caps.len() == 24 && caps[3] == REVISION_3 {
        let root = u32::from_le_bytes([caps[20], caps[21], caps[22], caps[23]]);
        if let Some(root) = shift.moved(root) {
            caps[20..].copy_from_slice(&root.to_le_bytes());
        }
    }
    caps
}

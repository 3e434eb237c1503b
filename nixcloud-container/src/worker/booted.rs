//! Whether a guest has booted: stage 2 of NixOS has written what it writes last, `/run/current-system` and
//! `/run/booted-system`, and systemd answers. Whether something is there is asked, not what: nothing of the guest is opened.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::protocol::Answer;
use super::users::{UsersError, root};
use crate::fs::guest;
use crate::sys::pidfd::PidFd;
use crate::sys::proc::Process;
use crate::sys::process;

/// Stage 2 writes them in this order or the other.
const LINKS: [&str; 2] = ["run/booted-system", "run/current-system"];

/// A system with this one has systemd as its init, which listens at [`SYSTEMD`] as soon as it can be asked for anything.
const UNITS: &str = "run/booted-system/etc/systemd/system";
const SYSTEMD: &str = "run/systemd/private";

/// How often a booting guest is looked at.
const TICK: Duration = Duration::from_millis(5);

/// Whether it has, as far as the kernel knows without asking a file system: one of the guest's own (FUSE) may never answer.
/// `false` is a guest that boots, that hides what is looked for, or of which the kernel has forgotten it.
pub(crate) fn has_booted(init: Process) -> bool {
    matches!(root(init), Ok(Some(root)) if has(&root, true).unwrap_or(false))
}

/// Whether its activation has ended: what is written last is on a file system in memory, of which the kernel forgets nothing that
/// is there. `false` is a guest that boots, or that hides it.
pub(crate) fn has_activated(init: Process) -> bool {
    let there =
        |root: &File| LINKS.iter().all(|path| guest::is_there(root, path.as_ref(), true).unwrap_or(false));
    matches!(root(init), Ok(Some(root)) if there(&root))
}

/// The guest's folder in which those links appear, to be watched: the guest may have laid anything there, so that it is neither
/// opened nor asked. `None` where there is none, or the kernel does not have it in memory.
pub(crate) fn links_folder(init: Process) -> Option<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::CACHED;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = root(init).ok()??;
    rustix::fs::openat2(root, "run", flags, Mode::empty(), resolve).ok()
}

fn has(root: &File, at_once: bool) -> io::Result<bool> {
    let there = |path: &str| guest::is_there(root, path.as_ref(), at_once);
    Ok(there(LINKS[0])? && there(LINKS[1])? && (there(SYSTEMD).unwrap_or(false) || !there(UNITS)?))
}

/// Answers when it has booted or ended. It looks as the guest's root, and may hang: somebody watches the clock.
pub(super) fn wait(init: Process) -> Result<Answer, UsersError> {
    let file = |source| UsersError::File { path: "/", source };
    let ids = process::Root::of(init.pid);
    let Some(pidfd) = PidFd::open(init).map_err(file)? else { return Ok(Answer::Done) };
    let root = self::root(init).map_err(file)?.ok_or(UsersError::Gone)?;
    ids.and_then(process::Root::become_it).map_err(UsersError::Root)?;
    while !has(&root, false).unwrap_or(false) && !pidfd.wait(TICK, &|| false).map_err(file)? {}
    Ok(Answer::Done)
}

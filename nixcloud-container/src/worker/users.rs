//! Who a user of a running guest is, by the files that the guest calls its own.
//!
//! They are read as the guest's root, for good: which file stands at `/etc/passwd` is the guest's to say, and one of the
//! host's that it sees and cannot read must not come back to it as somebody's home.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::passwd::{Entry, groups, users};
use super::protocol::{Answer, Identity, NoAccount};
use crate::fs::guest;
use crate::model::user::{Account, User};
use crate::sys::proc::Process;
use crate::sys::process;

/// The most that is read of a file.
const LIMIT: usize = 4 << 20;

/// How many groups a process can have; the kernel refuses more.
const MOST_GROUPS: usize = 65536;

/// How many accounts are named where the wanted one is not there.
const NAMED: usize = 8;

/// The shell of who has none, as login(1) has it.
const SHELL: &str = "/bin/sh";

/// The files could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum UsersError {
    /// The guest ended meanwhile.
    #[error("the container has just stopped")]
    Gone,
    /// This process could not become the guest's root.
    #[error("cannot look as the guest's root looks")]
    Root(#[source] io::Error),
    /// One of them.
    #[error("cannot read {path} of the guest")]
    File {
        /// Its name in the guest.
        path: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Reads who `user` is for the guest with this init.
pub(super) fn identify(init: Process, user: &User) -> Result<Answer, UsersError> {
    // Before its root folder, after which init is known to have been that process all the time.
    let ids = process::Root::of(init.pid);
    let root = root(init).map_err(|source| UsersError::File { path: "/", source })?;
    let root = root.ok_or(UsersError::Gone)?;
    ids.and_then(process::Root::become_it).map_err(UsersError::Root)?;
    let name = |account: &Account| matches!(account, Account::Name(_));
    let wanted = name(&user.user) || user.group.as_ref().is_some_and(name);
    // Numbers work all the same.
    let read = |path| match read(&root, path) {
        Err(_) if !wanted => Ok(Vec::new()),
        other => other,
    };
    let (passwd, group) = (read("/etc/passwd")?, read("/etc/group")?);
    Ok(match find(&passwd, &group, user) {
        Ok(identity) => Answer::Identified(identity),
        Err(missing) => Answer::NoAccount(missing),
    })
}

/// The root folder of a process; `None` when it has ended.
pub(super) fn root(process: Process) -> io::Result<Option<File>> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::open(format!("/proc/{}/root", process.pid), flags, Mode::empty()) {
        // Its pid may have been given out again before; if it lives now, it was not.
        Ok(root) => Ok(process.is_alive().then_some(root.into())),
        Err(Errno::NOENT | Errno::SRCH) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A guest without the file has no users.
fn read(root: &File, path: &'static str) -> Result<Vec<u8>, UsersError> {
    match guest::read(root, Path::new(path), LIMIT) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(|source| UsersError::File { path, source }),
    }
}

fn find(passwd: &[u8], group: &[u8], user: &User) -> Result<Identity, NoAccount> {
    let entry = match &user.user {
        Account::Id(uid) => users(passwd).find(|entry| entry.uid == *uid),
        Account::Name(name) => users(passwd).find(|entry| entry.name == name),
    };
    let uid = match (&entry, &user.user) {
        (Some(entry), _) => entry.uid,
        (None, Account::Id(uid)) => *uid,
        (None, wanted @ Account::Name(_)) => {
            return Err(missing(false, wanted, users(passwd).map(|entry| (entry.name, entry.uid))));
        }
    };
    let gid = match &user.group {
        Some(Account::Id(gid)) => *gid,
        Some(wanted @ Account::Name(name)) => {
            let found = groups(group).find(|group| group.name == name);
            let all = || groups(group).map(|group| (group.name, group.gid));
            found.ok_or_else(|| missing(true, wanted, all()))?.gid
        }
        None => entry.as_ref().map_or(0, |entry| entry.gid),
    };
    Ok(Identity {
        uid,
        gid,
        groups: entry.as_ref().map(|entry| all_groups(group, entry, gid)).unwrap_or_default(),
        name: entry.as_ref().map(|entry| entry.name.to_owned()),
        home: entry.as_ref().and_then(|entry| entry.home).map(str::to_owned),
        shell: entry.as_ref().map(|entry| entry.shell.unwrap_or(SHELL).to_owned()),
    })
}

/// As initgroups(3): the primary one and those that list the user.
fn all_groups(group: &[u8], entry: &Entry<'_>, gid: u32) -> Vec<u32> {
    let mut all = vec![gid];
    for group in groups(group).filter(|group| group.has(entry.name)) {
        if !all.contains(&group.gid) && all.len() < MOST_GROUPS {
            all.push(group.gid);
        }
    }
    all
}

/// People first, then those of the system: who mistypes means one of the former.
fn missing<'t>(group: bool, wanted: &Account, all: impl Iterator<Item = (&'t str, u32)>) -> NoAccount {
    let plain = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    let mut known: Vec<(bool, &str)> = all
        .filter(|(name, _)| name.len() <= 32 && plain(name))
        .map(|(name, id)| (!(id == 0 || (1000..65534).contains(&id)), name))
        .collect();
    known.sort_by_key(|(system, _)| *system);
    let mut seen = BTreeSet::new();
    known.retain(|(_, name)| seen.insert(*name));
    known.truncate(NAMED);
    let known = known.into_iter().map(|(_, name)| name.to_owned()).collect();
    NoAccount { group, wanted: wanted.clone(), known }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0::/root:/bin/bash\ndaemon:x:2:2::/:/bin/false\n\
        alice:x:1000:100::/home/alice:/bin/zsh\nalice:x:0:0::/root:/bin/bash\nnone:x:1001:100:::\n";
    const GROUP: &[u8] =
        b"root:x:0:\nusers:x:100:alice\nwheel:x:1:root,alice\nmore:x:1:alice\nalicex:x:9:alicex\n";

    fn found(user: &str) -> Identity {
        find(PASSWD, GROUP, &user.parse().unwrap()).unwrap()
    }

    #[test]
    fn a_process_that_has_ended_has_no_root() {
        let me = Process::now(std::process::id().cast_signed()).unwrap();
        assert!(root(me).unwrap().is_some());
        assert!(root(Process { start: me.start + 1, ..me }).unwrap().is_none());
        assert!(root(Process { pid: i32::MAX, start: 1 }).unwrap().is_none());
    }

    #[test]
    fn the_first_line_of_a_name_counts() {
        let alice = found("alice");
        assert_eq!((alice.uid, alice.gid, &alice.groups[..]), (1000, 100, &[100, 1][..]));
        assert_eq!((alice.home.as_deref(), alice.shell.as_deref()), (Some("/home/alice"), Some("/bin/zsh")));
        assert_eq!(found("1000"), alice);
    }

    #[test]
    fn a_group_that_is_asked_for_is_the_primary_one_beside_the_others() {
        let alice = found("alice:wheel");
        assert_eq!((alice.gid, &alice.groups[..]), (1, &[1, 100][..]));
        assert_eq!(found("alice:7").groups, [7, 100, 1]);
    }

    #[test]
    fn a_number_needs_no_line() {
        let unknown = found("4000");
        assert_eq!((unknown.uid, unknown.gid, unknown.name, unknown.shell), (4000, 0, None, None));
        assert_eq!(unknown.groups, [0; 0]);
        assert_eq!(found("4000:users").gid, 100);
        let empty = find(b"", b"", &User::ids(1000, Some(100))).unwrap();
        assert_eq!((empty.uid, empty.gid), (1000, 100));
    }

    #[test]
    fn who_has_no_home_and_no_shell_gets_sh() {
        let none = found("none");
        assert_eq!((none.home, none.shell.as_deref()), (None, Some("/bin/sh")));
    }

    #[test]
    fn who_is_missing_is_told_with_those_that_are_there() {
        let missing = find(PASSWD, GROUP, &"bob".parse().unwrap()).unwrap_err();
        assert_eq!((missing.group, missing.wanted.to_string()), (false, "bob".to_owned()));
        assert_eq!(missing.known, ["root", "alice", "none", "daemon"]);
        let missing = find(PASSWD, GROUP, &"alice:bob".parse().unwrap()).unwrap_err();
        assert!(missing.group && missing.known.contains(&"wheel".to_owned()));
        let hostile = b"\"; rm -rf:x:1000:1::/:/bin/sh\n$(x):x:1001:1::/:/bin/sh\n";
        assert_eq!(find(hostile, b"", &User::named("bob")).unwrap_err().known, [""; 0]);
    }
}

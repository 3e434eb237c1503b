//! What a parent hands to a process that it makes: one socket over exec, and by that socket all else.
//!
//! A number is no proof. Whatever has it may be of a part of this program that opened it before it was asked what it is, and
//! two owners close each other's files. So the parent lets nothing but the socket through ([`nothing_else`]: in the child that it
//! has forked, where nobody owns anything), and the process takes the socket only when it can be nobody's own: its other end was
//! made in the parent ([`channel`]).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use ::nix::sys::socket::{getsockopt, sockopt};
use ::nix::unistd::getppid;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

use super::process;

/// The descriptor is not the socket of the parent's, or was taken before.
#[derive(Debug, thiserror::Error)]
#[error("file descriptor {fd} was not handed over by the parent process")]
pub struct NotHanded {
    fd: RawFd,
}

/// Lets the process of `command` have its three streams and what is mapped to it by a later `pre_exec`, and nothing else: also
/// not what a careless part of this program, or its own parent, has left open for all.
pub fn nothing_else(command: &mut Command) {
    // SAFETY: between fork and exec, one call of the kernel: nothing is allocated and no lock is taken. It marks what this child
    // has copies of; in this process nothing changes.
    unsafe { command.pre_exec(|| Ok(process::cloexec_all()?)) };
}

/// Takes the socket that the parent has handed over as `fd`, and marks it close-on-exec.
///
/// It has no owner here. A socket whose other end was made in the parent has come through exec; nobody learns of such a one but
/// by what the program was called with, and this gives it out once.
///
/// # Errors
/// When the descriptor is anything else, the parent is gone, or it was taken already.
pub fn channel(fd: RawFd) -> Result<UnixStream, NotHanded> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let is_the_parents = || {
        // SAFETY: borrowed for two questions to the kernel, which answers that it is not open if it is not; nobody else is
        // running who might close it (a worker's first act), and were it another one's then, it would be refused all the same.
        let socket = unsafe { BorrowedFd::borrow_raw(fd) };
        getsockopt(&socket, sockopt::PeerCredentials).is_ok_and(|peer| peer.pid() == getppid().as_raw())
    };
    if fd <= 2 || !is_inherited(fd) || !is_the_parents() || TAKEN.swap(true, Ordering::Relaxed) {
        return Err(NotHanded { fd });
    }
    // SAFETY: it is open, and has no owner: see above.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    rustix::io::fcntl_setfd(&owned, rustix::io::FdFlags::CLOEXEC).map_err(|_| NotHanded { fd })?;
    Ok(owned.into())
}

fn is_inherited(fd: RawFd) -> bool {
    // SAFETY: reads the flags of a number; one that is not open gives EBADF.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    flags >= 0 && flags & libc::FD_CLOEXEC == 0
}

/// Sends bytes, and with them a copy of a file.
///
/// # Errors
/// When the other end is gone, or reads nothing for as long as the socket waits.
pub fn send(mut channel: &UnixStream, bytes: &[u8], file: BorrowedFd<'_>) -> io::Result<()> {
    let files = [file];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&files));
    let sent = sendmsg(channel, &[io::IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)?;
    io::Write::write_all(&mut channel, &bytes[sent..])
}

/// Reads all that the other end sends, and the file that may come with it.
///
/// # Errors
/// When the socket fails.
pub fn receive(mut channel: &UnixStream) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    let mut bytes = vec![0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut room = [io::IoSliceMut::new(&mut bytes)];
        match recvmsg(channel.as_fd(), &mut room, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?.bytes,
        }
    };
    bytes.truncate(received);
    let file = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    });
    io::Read::read_to_end(&mut channel, &mut bytes)?;
    Ok((bytes, file))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsRawFd;
    use std::process::Stdio;

    use super::*;

    /// A socket of a part of this program that leaves its files open for all, as C does.
    #[test]
    fn what_this_process_made_is_not_taken() {
        let (ours, mut other) = UnixStream::pair().unwrap();
        rustix::io::fcntl_setfd(&ours, rustix::io::FdFlags::empty()).unwrap();
        assert!(channel(ours.as_raw_fd()).is_err(), "it has an owner here");
        let file = File::open("/dev/null").unwrap();
        rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).unwrap();
        assert!(channel(file.as_raw_fd()).is_err(), "no socket");
        assert!(channel(1).is_err() && channel(-1).is_err() && channel(99_999).is_err());
        io::Write::write_all(&mut other, b"still there").unwrap();
        drop(other);
        assert_eq!(io::read_to_string(&ours).unwrap(), "still there");
    }

    #[test]
    fn a_file_arrives_with_what_is_sent_however_long() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut read_end, write_end) = io::pipe().unwrap();
        let long = vec![7; 1 << 20];
        let sender = std::thread::spawn({
            let long = long.clone();
            move || send(&ours, &long, write_end.as_fd()).unwrap()
        });
        let (bytes, file) = receive(&theirs).unwrap();
        sender.join().unwrap();
        assert!(bytes == long);
        io::Write::write_all(&mut File::from(file.unwrap()), b"by the copy").unwrap();
        assert_eq!(io::read_to_string(&mut read_end).unwrap(), "by the copy");
        let (ours, theirs) = UnixStream::pair().unwrap();
        io::Write::write_all(&mut &ours, b"no file").unwrap();
        drop(ours);
        assert!(matches!(receive(&theirs).unwrap(), (bytes, None) if bytes == b"no file"));
    }

    #[test]
    fn nothing_else_goes_through() {
        let leak = File::open("/dev/null").unwrap();
        rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
        let open = |handed: bool| {
            let mut list = Command::new("ls");
            list.arg("/proc/self/fd").stderr(Stdio::null());
            if handed {
                nothing_else(&mut list);
            }
            String::from_utf8(list.output().unwrap().stdout).unwrap()
        };
        let number = leak.as_raw_fd().to_string();
        assert!(open(false).lines().any(|line| line == number), "the test leaks nothing");
        // 3 is the folder that `ls` reads.
        assert_eq!(open(true), "0\n1\n2\n3\n");
        let flags = rustix::io::fcntl_getfd(&leak).unwrap();
        assert_eq!(flags, rustix::io::FdFlags::empty(), "the caller's own is as it was");
    }
}

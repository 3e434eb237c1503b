//! Running a command in a running container from a worker.

use std::ffi::{CString, OsString, c_char, c_int};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::ptr;

use ::nix::errno::Errno;
use ::nix::fcntl::{FcntlArg, OFlag, fcntl};
use ::nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, send, socketpair};
use ::nix::sys::stat::{SFlag, fstat};
use ::nix::sys::wait::{WaitStatus, waitpid};
use ::nix::unistd::{Pid, isatty, pipe2};

use super::begin::{self, NotBegun, Payload};
use super::error::{Error, ExecFailure, LxcAction};
use super::handle::{Handle, call};
use super::log::{Log, Mark};
use super::pty::Slave;
use super::token::Worker;
pub use crate::model::exit::Exit;
use crate::model::namespace::{Elevated, Namespace};
use crate::sys::process;

/// What liblxc logs last in a process that it could not set up; that process then exits with 1, as a command may.
const SETUP_FAILED: &str = "Failed to attach to container";

/// A command to run in a container.
///
/// The command starts in the container's cgroups, namespaces, capabilities and profiles. Its environment is empty but for
/// `PATH`, `container=lxc`, the configuration's `lxc.environment` and `env`; nothing of the host's leaks in. Of this
/// process's files it has the three streams alone.
#[derive(Debug)]
pub struct Attach<'a> {
    /// The program, searched in the guest's `PATH`, and its arguments.
    pub argv: Vec<OsString>,
    /// What the program is told that it is called, if not `argv[0]`.
    pub arg0: Option<OsString>,
    /// Variables to add.
    pub env: Vec<(OsString, OsString)>,
    /// The directory to start in, `/` if `None`.
    pub cwd: Option<PathBuf>,
    /// Start in `/` where the guest has no such directory, or the command's user may not enter it. Else that is an error.
    pub cwd_or_root: bool,
    /// The user id in the guest, root if `None`.
    pub uid: Option<u32>,
    /// The group id in the guest, root's if `None`.
    pub gid: Option<u32>,
    /// The additional groups, none if empty.
    pub groups: Vec<u32>,
    /// What it reads and writes.
    pub streams: LxcStreams<'a>,
    /// The namespaces that it enters, all of the container's if `None`.
    pub namespaces: Option<Vec<Namespace>>,
    /// What of the container's confinement it is spared.
    pub elevated: Elevated,
    /// Mount `/proc` and `/sys` anew, in mounts of its own, where it does not enter the container's.
    pub remount: bool,
    /// Have its process wait, before it becomes the command, until [`Attached::release`] is called.
    pub held: bool,
}

/// What a command in a container reads and writes.
#[derive(Debug)]
pub enum LxcStreams<'a> {
    /// Standard input, output and error: no terminals.
    Files([BorrowedFd<'a>; 3]),
    /// The slave's side of a terminal, which becomes the controlling one of a session of its own.
    Terminal(&'a Slave),
}

/// A command that runs in a container. A child of this process: [`Attached::wait`] for it.
#[derive(Debug)]
#[must_use = "the command stays a zombie unless it is waited for"]
pub struct Attached<'w> {
    worker: &'w Worker,
    pid: Pid,
    name: String,
    program: OsString,
    log: &'static Log,
    mark: Mark,
    cwd: PathBuf,
    fault: OwnedFd,
    gate: Option<OwnedFd>,
}

impl<'w> Handle<'w> {
    /// Runs a command in the container.
    ///
    /// Every other file of this process is marked close-on-exec, and [`process::shield`] is up. From here on SIGINT,
    /// SIGQUIT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH and SIGCONT are blocked in this process: those that its process
    /// group gets are the command's.
    ///
    /// # Errors
    /// [`Error::Busy`] while another command was not waited for, [`Error::Unclean`] when this one would inherit this process's state, [`Error::Unshielded`] when the guest could
    /// take over what enters it, [`Error::HostTerminal`] when it would get
    /// a terminal or a folder of this process's, [`Error::NotRunning`], else liblxc's text. What fails later, in the process that is to
    /// become the command, is an error of [`Attached::wait`].
    pub fn attach(&mut self, command: &Attach<'_>) -> Result<Attached<'w>, Error> {
        process::check_clean()?;
        if !process::shield_lasts() {
            return Err(Error::Unshielded);
        }
        process::shield().map_err(|source| Error::System { what: "shielding this process", source })?;
        let prepared = Prepared::new(command)?;
        self.expect_running()?;
        process::cloexec_all()
            .map_err(|source| Error::System { what: "marking files close-on-exec", source })?;
        // A command on the host, or one that is to be spared the profile, has not the profile either.
        let within = command.namespaces.as_ref().is_none_or(|entered| entered.contains(&Namespace::Mount));
        if within && !command.elevated.lsm {
            self.filter_sockets()?;
        }

        let mut environment = pointers(&prepared.environment);
        let mut argv = pointers(&prepared.argv);
        if let Some(arg0) = &prepared.arg0 {
            argv[0] = arg0.as_ptr().cast_mut();
        }
        let (read_end, write_end) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
            .map_err(|source| Error::System { what: "making a pipe", source })?;
        let gate = if command.held {
            let pair = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC);
            Some(pair.map_err(|source| Error::System { what: "making a pair of sockets", source })?)
        } else {
            None
        };
        let mut payload = Payload {
            program: &prepared.argv[0],
            argv: &argv,
            directory: &prepared.cwd,
            or_root: command.cwd_or_root,
            terminal: matches!(command.streams, LxcStreams::Terminal(_)),
            fault: write_end.as_fd(),
            gate: gate.as_ref().map(|(wait, open)| (wait.as_fd(), open.as_raw_fd())),
        };
        // A struct per call: liblxc writes into it.
        let mut options = lxc_sys::lxc_attach_options_default();
        options.env_policy = lxc_sys::LXC_ATTACH_CLEAR_ENV;
        options.extra_env_vars = environment.as_mut_ptr();
        // The command's own it enters itself, with no more privileges than it has.
        options.initial_cwd = c"/".as_ptr().cast_mut();
        options.uid = command.uid.unwrap_or(u32::MAX);
        options.gid = command.gid.unwrap_or(u32::MAX);
        options.attach_flags = flags(options.attach_flags, command);
        if let Some(namespaces) = &command.namespaces {
            options.namespaces = namespaces.iter().fold(0, |all, namespace| all | clone_flag(*namespace));
        }
        // It only reads them.
        options.groups.list = prepared.groups.as_ptr().cast_mut();
        options.groups.size = prepared.groups.len();
        [options.stdin_fd, options.stdout_fd, options.stderr_fd] = prepared.streams();

        if self.worker().attaches() {
            return Err(Error::Busy);
        }
        begin::block_its_signals()
            .map_err(|source| Error::System { what: "blocking the command's signals", source })?;
        let mark = self.log().mark();
        let mut pid: libc::pid_t = -1;
        let result = call!(
            self,
            attach,
            Some(begin::begin),
            (&raw mut payload).cast(),
            &raw mut options,
            &raw mut pid
        );
        if result != 0 || pid <= 0 {
            let _ = begin::unblock_its_signals();
            self.worker().attached_no_more();
            if result == -libc::ECONNREFUSED {
                return Err(Error::NotRunning { name: self.name() });
            }
            return Err(self.failed(LxcAction::Attach, mark));
        }
        Ok(Attached {
            worker: self.worker(),
            pid: Pid::from_raw(pid),
            name: self.name(),
            program: command.argv[0].clone(),
            log: self.log(),
            mark,
            cwd: command.cwd.clone().unwrap_or_default(),
            fault: read_end,
            gate: gate.map(|(_, open)| open),
        })
    }
}

impl Attached<'_> {
    /// The command's pid as this process sees it.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Whether it waits to be let go.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.gate.is_some()
    }

    /// Lets a held process become the command.
    ///
    /// # Errors
    /// When it is gone.
    pub fn release(&mut self) -> Result<(), Error> {
        let Some(gate) = self.gate.take() else { return Ok(()) };
        // No pipe, which would be a signal to this process where the other is gone.
        send(gate.as_raw_fd(), &[1], MsgFlags::MSG_NOSIGNAL)
            .map(drop)
            .map_err(|source| Error::System { what: "letting the command begin", source })
    }

    /// Waits until the command ends, for that process alone, however many signals arrive.
    ///
    /// The log tells a command's own exit code from one that liblxc gave: so a worker runs one command at a time.
    ///
    /// # Errors
    /// [`Error::Setup`] and [`Error::Directory`] where the command was never run, [`Error::Exec`] where its program could not be executed.
    pub fn wait(self) -> Result<Exit, Error> {
        let status = loop {
            match waitpid(self.pid, None) {
                Err(Errno::EINTR) | Ok(WaitStatus::StillAlive) => {}
                Err(source) => return Err(Error::System { what: "waiting for the command", source }),
                Ok(status) => break status,
            }
        };
        self.worker.attached_no_more();
        match status {
            WaitStatus::Exited(_, code) => self.judge(code),
            WaitStatus::Signaled(_, signal, _) => Ok(Exit::Signal(signal as i32)),
            _ => Err(Error::System { what: "waiting for the command", source: Errno::EINVAL }),
        }
    }

    fn judge(self, code: i32) -> Result<Exit, Error> {
        match begin::why_not_begun(&self.fault) {
            Some(NotBegun::Directory(source)) => {
                return Err(Error::Directory { name: self.name, directory: self.cwd, source });
            }
            Some(NotBegun::Exec(source)) => {
                let failure =
                    if source == Errno::ENOENT { ExecFailure::NotFound } else { ExecFailure::NotExecutable };
                return Err(Error::Exec { name: self.name, program: self.program, failure, source });
            }
            Some(NotBegun::Before(source)) => {
                return Err(Error::System { what: "preparing the command's process", source });
            }
            None => {}
        }
        let reason = self.log.reason_since(self.mark);
        if code == 1 && reason.says(SETUP_FAILED) {
            return Err(Error::Setup { name: self.name, reason });
        }
        Ok(Exit::Code(code))
    }
}

/// A command in the form that C takes, checked.
struct Prepared {
    argv: Vec<CString>,
    arg0: Option<CString>,
    environment: Vec<CString>,
    cwd: CString,
    groups: Vec<libc::gid_t>,
    streams: [OwnedFd; 3],
}

impl Prepared {
    fn new(command: &Attach<'_>) -> Result<Self, Error> {
        let argv = command
            .argv
            .iter()
            .map(|argument| CString::new(argument.as_bytes()).map_err(|_| Error::Nul { what: "an argument" }))
            .collect::<Result<Vec<_>, _>>()?;
        if argv.first().is_none_or(|program| program.is_empty()) {
            return Err(Error::NoProgram);
        }
        let environment = command
            .env
            .iter()
            .map(|(name, value)| {
                if name.is_empty() || name.as_bytes().contains(&b'=') {
                    return Err(Error::Environment { name: name.to_string_lossy().into_owned() });
                }
                let variable = [name.as_bytes(), b"=", value.as_bytes()].concat();
                CString::new(variable).map_err(|_| Error::Nul { what: "a variable" })
            })
            .collect::<Result<_, _>>()?;
        let cwd = command.cwd.as_deref().map_or(b"/".as_slice(), |path| path.as_os_str().as_bytes());
        let cwd = CString::new(cwd).map_err(|_| Error::Nul { what: "the directory" })?;
        let arg0 = command.arg0.as_ref().map(|arg0| CString::new(arg0.as_bytes())).transpose();
        let arg0 = arg0.map_err(|_| Error::Nul { what: "the program's name" })?;
        let streams = match &command.streams {
            LxcStreams::Files([stdin, stdout, stderr]) => [
                harmless(*stdin, "standard input")?,
                harmless(*stdout, "standard output")?,
                harmless(*stderr, "standard error")?,
            ],
            // liblxc makes a terminal on its `stdin_fd` the controlling one of a new session.
            LxcStreams::Terminal(slave) => {
                [duplicate(slave.as_fd())?, duplicate(slave.as_fd())?, duplicate(slave.as_fd())?]
            }
        };
        Ok(Self { argv, arg0, environment, cwd, groups: command.groups.clone(), streams })
    }

    fn streams(&self) -> [c_int; 3] {
        self.streams.each_ref().map(AsRawFd::as_raw_fd)
    }
}

/// A terminal is refused: whoever has it can type into the host's shell. So is a folder: it leads to all of the host's.
fn harmless(stream: BorrowedFd<'_>, name: &'static str) -> Result<OwnedFd, Error> {
    if isatty(stream).unwrap_or(false) {
        return Err(Error::HostTerminal { stream: name });
    }
    let kind = fstat(stream).map_err(|source| Error::System { what: "looking at a stream", source })?.st_mode;
    if SFlag::from_bits_truncate(kind) & SFlag::S_IFMT == SFlag::S_IFDIR {
        return Err(Error::HostFolder { stream: name });
    }
    duplicate(stream)
}

/// A copy above 2, closed on exec: with `stdin_fd` 0, liblxc leaves this process's SIGINT and SIGQUIT ignored for good.
fn duplicate(stream: BorrowedFd<'_>) -> Result<OwnedFd, Error> {
    let fd = fcntl(stream, FcntlArg::F_DUPFD_CLOEXEC(3))
        .map_err(|source| Error::System { what: "copying a stream", source })?;
    // SAFETY: the kernel has just made it for us; nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// LXC's flags, of which those of its default are what confines a command.
fn flags(default: c_int, command: &Attach<'_>) -> c_int {
    let mut flags = default;
    for (spared, flag) in [
        (command.elevated.cgroup, lxc_sys::LXC_ATTACH_MOVE_TO_CGROUP),
        (command.elevated.capabilities, lxc_sys::LXC_ATTACH_DROP_CAPABILITIES),
        (command.elevated.lsm, lxc_sys::LXC_ATTACH_LSM_EXEC),
    ] {
        if spared {
            flags &= !flag;
        }
    }
    for (wanted, flag) in [
        (command.remount, lxc_sys::LXC_ATTACH_REMOUNT_PROC_SYS),
        // Since 4.0.7, the least that `Handle::open` takes.
        (!command.groups.is_empty(), lxc_sys::LXC_ATTACH_SETGROUPS),
    ] {
        if wanted {
            flags |= flag;
        }
    }
    flags
}

fn clone_flag(namespace: Namespace) -> c_int {
    match namespace {
        Namespace::Mount => libc::CLONE_NEWNS,
        Namespace::Pid => libc::CLONE_NEWPID,
        Namespace::Uts => libc::CLONE_NEWUTS,
        Namespace::Ipc => libc::CLONE_NEWIPC,
        Namespace::User => libc::CLONE_NEWUSER,
        Namespace::Net => libc::CLONE_NEWNET,
        Namespace::Cgroup => libc::CLONE_NEWCGROUP,
    }
}

/// Pointers to the strings, and NULL. liblxc takes them as mutable and does not write to them.
fn pointers(strings: &[CString]) -> Vec<*mut c_char> {
    strings.iter().map(|string| string.as_ptr().cast_mut()).chain([ptr::null_mut()]).collect()
}

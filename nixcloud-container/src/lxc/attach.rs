//! Running a command in a running container from a worker.

use std::ffi::{CString, OsString, c_char, c_int};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::ptr;

use ::nix::errno::Errno;
use ::nix::fcntl::{FcntlArg, fcntl};
use ::nix::sys::wait::{WaitStatus, waitpid};
use ::nix::unistd::{Pid, isatty};
use serde::{Deserialize, Serialize};

use super::error::{Action, Error, ExecFailure};
use super::handle::{Handle, call};
use super::log::{Log, Mark};
use super::process;

/// What liblxc logs last in a process that it could not set up; that process then exits with 1, as a command may.
const SETUP_FAILED: &str = "Failed to attach to container";
/// What it logs in a process that could not execute its program.
const EXEC_FAILED: &str = "Failed to exec \"";

/// A command to run in a container.
///
/// The command starts in the container's cgroups, namespaces, capabilities and profiles. Its environment is empty but for
/// `PATH`, `container=lxc`, the configuration's `lxc.environment` and `env`; nothing of the host's leaks in. Of this
/// process's files it has the three streams alone.
#[derive(Debug)]
pub struct Attach<'a> {
    /// The program, searched in the guest's `PATH`, and its arguments.
    pub argv: Vec<OsString>,
    /// Variables to add.
    pub env: Vec<(String, String)>,
    /// The directory to start in, `/` if `None`. One that the guest does not have is ignored: the command then starts
    /// in `/`.
    pub cwd: Option<PathBuf>,
    /// The user id in the guest, root if `None`.
    pub uid: Option<u32>,
    /// The group id in the guest, root's if `None`. Additional groups are dropped.
    pub gid: Option<u32>,
    /// Standard input; not used with `terminal`.
    pub stdin: BorrowedFd<'a>,
    /// Standard output; not used with `terminal`.
    pub stdout: BorrowedFd<'a>,
    /// Standard error; not used with `terminal`.
    pub stderr: BorrowedFd<'a>,
    /// Give the command a terminal of the guest's own, and serve it from this process's controlling terminal until the
    /// command ends: [`Handle::attach`] then blocks.
    pub terminal: bool,
}

/// A command that runs in a container. A child of this process: [`Attached::wait`] for it.
#[derive(Debug)]
#[must_use = "the command stays a zombie unless it is waited for"]
pub struct Attached {
    pid: Pid,
    name: String,
    program: OsString,
    log: &'static Log,
    mark: Mark,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It was never run: the guest has no such program.
    NotFound,
    /// It was never run: the guest has it and cannot execute it.
    NotExecutable,
}

impl Exit {
    /// The code as a shell gives it: 128 and the signal for a signal.
    #[must_use]
    pub const fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
            Self::NotFound => ExecFailure::NotFound.exit_code(),
            Self::NotExecutable => ExecFailure::NotExecutable.exit_code(),
        }
    }

    /// The same as the exit code of a process.
    #[must_use]
    pub fn shell_code(self) -> u8 {
        u8::try_from(self.code() & 0xff).unwrap_or(u8::MAX)
    }

    /// Whether it exited with 0.
    #[must_use]
    pub fn success(self) -> bool {
        self == Self::Code(0)
    }
}

impl Handle {
    /// Runs a command in the container.
    ///
    /// Every other file of this process is marked close-on-exec. With `terminal`, returns when the command's terminal
    /// has closed.
    ///
    /// # Errors
    /// [`Error::Unclean`] when the command would inherit this process's state, [`Error::HostTerminal`] when it would get
    /// a terminal of the host, [`Error::NotRunning`], else liblxc's text. What fails later, in the process that is to
    /// become the command, is an error of [`Attached::wait`].
    pub fn attach(&mut self, command: &Attach<'_>) -> Result<Attached, Error> {
        process::check_clean()?;
        let prepared = Prepared::new(command)?;
        self.expect_running()?;
        process::cloexec_all()?;

        let mut environment = pointers(&prepared.environment);
        let mut argv = pointers(&prepared.argv);
        let mut payload = lxc_sys::lxc_attach_command_t { program: argv[0], argv: argv.as_mut_ptr() };
        // A struct per call: liblxc writes into it.
        let mut options = lxc_sys::lxc_attach_options_default();
        options.env_policy = lxc_sys::LXC_ATTACH_CLEAR_ENV;
        options.extra_env_vars = environment.as_mut_ptr();
        options.initial_cwd = prepared.cwd.as_ptr().cast_mut();
        options.uid = command.uid.unwrap_or(u32::MAX);
        options.gid = command.gid.unwrap_or(u32::MAX);
        if command.terminal {
            options.attach_flags |= lxc_sys::LXC_ATTACH_TERMINAL;
        }
        [options.stdin_fd, options.stdout_fd, options.stderr_fd] = prepared.streams();

        let mark = self.log().mark();
        let mut pid: libc::pid_t = -1;
        let result = call!(
            self,
            attach,
            Some(lxc_sys::lxc_attach_run_command),
            (&raw mut payload).cast(),
            &raw mut options,
            &raw mut pid
        );
        if result != 0 || pid <= 0 {
            if result == -libc::ECONNREFUSED {
                return Err(Error::NotRunning { name: self.name() });
            }
            return Err(self.failed(Action::Attach, mark));
        }
        Ok(Attached {
            pid: Pid::from_raw(pid),
            name: self.name(),
            program: command.argv[0].clone(),
            log: self.log(),
            mark,
        })
    }
}

impl Attached {
    /// The command's pid as this process sees it.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Waits until the command ends, for that process alone, however many signals arrive.
    ///
    /// The log tells a command's own exit code from one that liblxc gave: run one command at a time in a worker.
    ///
    /// # Errors
    /// [`Error::Setup`] where the command was never run, [`Error::Exec`] where its program could not be executed.
    pub fn wait(self) -> Result<Exit, Error> {
        let status = loop {
            match waitpid(self.pid, None) {
                Err(Errno::EINTR) | Ok(WaitStatus::StillAlive) => {}
                Err(source) => return Err(Error::System { what: "waiting for the command", source }),
                Ok(status) => break status,
            }
        };
        match status {
            WaitStatus::Exited(_, code) => self.judge(code),
            WaitStatus::Signaled(_, signal, _) => Ok(Exit::Signal(signal as i32)),
            _ => Err(Error::System { what: "waiting for the command", source: Errno::EINVAL }),
        }
    }

    fn judge(self, code: i32) -> Result<Exit, Error> {
        let reason = self.log.reason_since(self.mark);
        if code == 1 && reason.says(SETUP_FAILED) {
            return Err(Error::Setup { name: self.name, reason });
        }
        // 255 is liblxc's for all that is neither 126 nor 127 (a loop of symlinks, too many arguments).
        if matches!(code, 126 | 127 | 255) && reason.says(EXEC_FAILED) {
            let failure = if code == 127 { ExecFailure::NotFound } else { ExecFailure::NotExecutable };
            return Err(Error::Exec { name: self.name, program: self.program, failure, reason });
        }
        Ok(Exit::Code(code))
    }
}

/// A command in the form that C takes, checked.
struct Prepared {
    argv: Vec<CString>,
    environment: Vec<CString>,
    cwd: CString,
    streams: Option<[OwnedFd; 3]>,
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
                if name.is_empty() || name.contains('=') {
                    return Err(Error::Environment { name: name.clone() });
                }
                CString::new(format!("{name}={value}")).map_err(|_| Error::Nul { what: "a variable" })
            })
            .collect::<Result<_, _>>()?;
        let cwd = command.cwd.as_deref().map_or(b"/".as_slice(), |path| path.as_os_str().as_bytes());
        let cwd = CString::new(cwd).map_err(|_| Error::Nul { what: "the directory" })?;
        let streams = if command.terminal {
            None
        } else {
            Some([
                duplicate(command.stdin, "standard input")?,
                duplicate(command.stdout, "standard output")?,
                duplicate(command.stderr, "standard error")?,
            ])
        };
        Ok(Self { argv, environment, cwd, streams })
    }

    /// With a terminal there are none: liblxc would make a host terminal on its `stdin_fd` the command's own, and put
    /// the guest's in their place afterwards anyway.
    fn streams(&self) -> [c_int; 3] {
        self.streams.as_ref().map_or([-1; 3], |streams| streams.each_ref().map(AsRawFd::as_raw_fd))
    }
}

/// A copy above 2, closed on exec: with `stdin_fd` 0, liblxc leaves this process's SIGINT and SIGQUIT ignored for good.
/// A terminal is refused: whoever has it can type into the host's shell.
fn duplicate(stream: BorrowedFd<'_>, name: &'static str) -> Result<OwnedFd, Error> {
    if isatty(stream).unwrap_or(false) {
        return Err(Error::HostTerminal { stream: name });
    }
    let fd = fcntl(stream, FcntlArg::F_DUPFD_CLOEXEC(3))
        .map_err(|source| Error::System { what: "copying a stream", source })?;
    // SAFETY: the kernel has just made it for us; nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Pointers to the strings, and NULL. liblxc takes them as mutable and does not write to them.
fn pointers(strings: &[CString]) -> Vec<*mut c_char> {
    strings.iter().map(|string| string.as_ptr().cast_mut()).chain([ptr::null_mut()]).collect()
}

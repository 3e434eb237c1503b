//! Run and login: commands in a running guest.

mod copy;
mod environment;
mod fault;
mod relay;

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::Error;
use crate::fs::error::FileError;
use crate::host::Host;
use crate::host::context::Context;
use crate::model::idmap::RANGE;
use crate::model::name::ContainerName;
use crate::model::namespace::{self, Elevated, Namespace, Side};
use crate::model::observe::Cancel;
use crate::model::run_error::RunError;
use crate::model::setters::setters;
use crate::model::state::{Action, Permission};
use crate::model::user::User;
use crate::ops::booting;
use crate::ops::power;
use crate::ops::shown;
use crate::ops::waiting;
use crate::store::presence;
use crate::sys::proc::Process;
use crate::worker::{Answer, AttachCommand, Exit, Identity, Request, Stdio, WorkerError};
use relay::Relay;

/// How long it may take to read a guest's users. It is hostile: what it calls its files may never answer.
const USERS_LIMIT: Duration = Duration::from_secs(5);

/// How long a command may take to end that took too long.
pub(crate) const KILL_AFTER: Duration = Duration::from_secs(10);

/// A login shell of root: the best that the guest has.
const LOGIN: &str = "for shell in /run/current-system/sw/bin/bash /bin/bash; do \
                     if [ -x $shell ]; then exec $shell -l; fi; done; exec /bin/sh -l";

/// A command for a guest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunRequest {
    /// Program and arguments. The program is looked for in the `PATH` that it gets. Not used with `login`.
    pub command: Vec<OsString>,
    /// Whether it is a login shell instead of `command`: the user's own, or for root, where no user is named, bash or
    /// else sh.
    pub login: bool,
    /// Variables beside `PATH`, `HOME`, `USER`, for a named user `LOGNAME` and `SHELL`, and for a terminal `TERM`.
    pub env: Vec<(OsString, OsString)>,
    /// Whether it also has the variables of this process.
    pub environment: Environment,
    /// Where it runs; an error where the user has no such folder. When not given, a login begins in the user's home, or
    /// where there is none in `/`, and a command in `/`.
    pub directory: Option<PathBuf>,
    /// Who it runs as; root when not given.
    pub user: Option<User>,
    /// Whether it gets a pseudo terminal of the guest.
    pub terminal: bool,
    /// The container's namespaces that it enters; all when not given. Either all that confine a guest, or neither
    /// [`Namespace::Mount`] nor [`Namespace::User`]: then it is a program of the *host*, run as the host's root, which
    /// sees the guest's network or processes.
    pub namespaces: Option<Vec<Namespace>>,
    /// What of the container's confinement it is spared.
    pub elevated: Elevated,
    /// Whether a program of the host gets mounts of its own with `/proc` and `/sys` as of the namespaces that it entered.
    pub remount: bool,
    /// How long it may take. Then it is ended, by SIGTERM and after [`kill_after`](Self::kill_after) by SIGKILL, with all that
    /// descends from it, whatever session and parent that has: [`Exit::TimedOut`].
    pub timeout: Option<Duration>,
    /// How long it may take to end once it was told, by the time limit or by a cancelled token, until it and all that descends
    /// from it is killed. When not given, 10 s after a time limit, and as long as it likes after a cancelled token.
    pub kill_after: Option<Duration>,
}

setters!(RunRequest {
    with_login => login: bool,
    with_env => env: Vec<(OsString, OsString)>,
    with_environment => environment: Environment,
    with_directory => directory: Option<PathBuf>,
    with_user => user: Option<User>,
    with_terminal => terminal: bool,
    with_namespaces => namespaces: Option<Vec<Namespace>>,
    with_elevated => elevated: Elevated,
    with_remount => remount: bool,
    with_timeout => timeout: Option<Duration>,
    with_kill_after => kill_after: Option<Duration>,
});

/// What a command has of the caller's environment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Environment {
    /// No variable of the caller's.
    #[default]
    Clear,
    /// This process's variables, but for those that are about its user and its folders: `PATH`, `HOME`, `SHELL`, ...
    Keep,
}

impl RunRequest {
    /// A command as root of the guest.
    pub fn new<S: Into<OsString>>(command: impl IntoIterator<Item = S>) -> Self {
        Self { command: command.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// A login shell on a terminal. `term` is the caller's `TERM`.
    #[must_use]
    pub fn login(term: Option<String>) -> Self {
        let env = term.into_iter().map(|term| ("TERM".into(), term.into())).collect();
        Self { login: true, terminal: true, env, ..Self::default() }
    }
}

/// What a command in a guest reads and writes.
///
/// The command gets pipes, and the null device: what is on the caller's streams is copied, so that nothing of the guest can
/// change the caller's files, or has them afterwards. So the input is read ahead of the command; of a file the offset is
/// where the command stopped, of all else what the command did not read is gone. Streams that are one (`2>&1`) stay one.
#[derive(Debug, Default)]
#[non_exhaustive]
pub enum Streams {
    /// The caller's own stdin, stdout and stderr.
    #[default]
    Inherit,
    /// `/dev/null`.
    Null,
    /// Streams that the caller has opened.
    Fds {
        /// Standard input.
        stdin: OwnedFd,
        /// Standard output.
        stdout: OwnedFd,
        /// Standard error.
        stderr: OwnedFd,
    },
}

pub(crate) fn run(
    context: &mut Context<'_>,
    name: &ContainerName,
    request: RunRequest,
    streams: Streams,
) -> Result<Exit, Error> {
    let Context { host, cancel, .. } = *context;
    let side = judge(name, &request)?;
    let faulty = |source| Error::Command { name: name.clone(), source };
    fault::check(&request).map_err(faulty)?;
    let record = host.record(name)?;
    let limit = host.config.timeouts.start();
    let here = waiting::while_passing(host, &record, Action::Enter, limit, cancel)?;
    if here.state.permits(Action::Enter) != Permission::Allowed {
        let state = presence::in_hands(&host.layout, &record).unwrap_or(here.state);
        return Err(Error::State { name: name.clone(), state, action: Action::Enter });
    }
    // Before its activation a guest has neither programs nor users.
    if side == Side::Guest
        && let Some(init) = here.init
    {
        booting::wait(context, name, init)?;
    }
    let identity = match &request.user {
        Some(user) => {
            let gone = || Error::State { name: name.clone(), state: here.state, action: Action::Enter };
            Some(identity(host, name, here.init.ok_or_else(gone)?, user, cancel)?)
        }
        None => None,
    };
    let terminal = request.terminal;
    let kills = request.kill_after.is_some();
    let command = command(request, identity, side);
    let program = command.argv.first().cloned().unwrap_or_default();
    // As whom it runs, in the ids of the host; a program of the host's is root anyway.
    let user = command.uid.unwrap_or(0);
    let owner = record.ids.filter(|_| side == Side::Guest && user < RANGE).map(|ids| ids.base() + user);
    let wire = Request::Attach { target: power::target(host, name), command };
    let relay = if terminal { Relay::of_terminal(streams) } else { Relay::of(streams, owner) };
    let (stdio, relay) = relay.map_err(FileError::at("connect the streams of", name.as_str()))?;
    let answer = host.worker.call(&wire, stdio, None, cancel);
    let cancelled = cancel.is_cancelled();
    let copied = relay.end(answer.is_ok(), cancel);
    let answer = match answer {
        // It was killed, since it did not end in the time that it was given for that.
        Err(WorkerError::Cancelled) if kills => Answer::Exited(Exit::Signal(libc::SIGKILL)),
        answer => answer?,
    };
    copied.map_err(|broken| FileError::new(broken.action, name.as_str(), broken.source))?;
    match answer {
        Answer::Exited(exit) => {
            if exit == Exit::NotFound && side == Side::Guest {
                shown::tell_hidden(context, name, &here, &program);
            }
            let ran = !matches!(exit, Exit::NotFound | Exit::NotExecutable | Exit::TimedOut);
            Ok(if cancelled && ran { exit.cancelled() } else { exit })
        }
        Answer::NoFolder { folder, errno } => {
            let (folder, source) = (folder.into(), io::Error::from_raw_os_error(errno));
            Err(faulty(RunError::Folder { folder, source }))
        }
        other => Err(other.unexpected().into()),
    }
}

/// Where it would run, or why it must not.
fn judge(name: &ContainerName, request: &RunRequest) -> Result<Side, Error> {
    let refuse = |what: &str, why| Error::Entry { name: name.clone(), what: what.to_owned(), why };
    let side = namespace::side(request.namespaces.as_deref()).map_err(|why| {
        let names: Vec<&str> =
            request.namespaces.iter().flatten().map(|namespace| namespace.as_str()).collect();
        refuse(&format!("in the namespaces `{}`", names.join("|")), why)
    })?;
    match side {
        Side::Guest if request.elevated.cgroup => Err(refuse(
            "outside its cgroups",
            "a program of the guest would know none of its limits, and could use up the host",
        )),
        Side::Guest if request.elevated.lsm => Err(refuse(
            "without its security profile",
            "a program of the guest would be free of what keeps the guest off the host's kernel",
        )),
        Side::Guest if request.remount => Err(refuse(
            "with `/proc` and `/sys` remounted",
            "a command that enters `mnt` has the guest's own",
        )),
        Side::Host if request.timeout.is_some() || request.kill_after.is_some() => Err(refuse(
            "for a limited time",
            "without `mnt` and `user` the command is the host's, which is in no cgroup of the guest: use `timeout` of the host",
        )),
        Side::Host if request.user.is_some() => Err(refuse(
            "as another user from outside",
            "without `mnt` and `user` the command is the host's, and so would be the user",
        )),
        side => Ok(side),
    }
}

/// Who the user is, as the guest says.
fn identity(
    host: &Host,
    name: &ContainerName,
    init: Process,
    user: &User,
    cancel: &Cancel,
) -> Result<Identity, Error> {
    let wire = Request::Identify { init, user: user.clone() };
    match host.worker.call(&wire, Stdio::Null, Some(USERS_LIMIT), cancel)? {
        Answer::Identified(identity) => Ok(identity),
        Answer::NoAccount(missing) => Err(Error::NoAccount { container: name.clone(), missing }),
        other => Err(other.unexpected().into()),
    }
}

fn command(request: RunRequest, identity: Option<Identity>, side: Side) -> AttachCommand {
    let env = environment::of(&request, identity.as_ref(), side);
    let mut command = AttachCommand {
        argv: request.command,
        env,
        cwd: request.directory.map(Into::into),
        terminal: request.terminal,
        remount: request.remount,
        elevated: request.elevated,
        limit: request.timeout,
        patience: request.kill_after.or(request.timeout.map(|_| KILL_AFTER)),
        ..AttachCommand::default()
    };
    if side == Side::Host {
        // Neither the guest's cgroups nor its profile are for programs of the host.
        command.elevated = Elevated { cgroup: true, capabilities: true, lsm: true };
        command.namespaces = request.namespaces;
    }
    let mut shell = None;
    let mut home = Some("/root".to_owned());
    if let Some(identity) = identity {
        command.uid = Some(identity.uid);
        command.gid = Some(identity.gid);
        command.groups = identity.groups;
        (shell, home) = (identity.shell, identity.home);
    }
    if request.login {
        command.cwd_or_root = command.cwd.is_none();
        command.cwd = command.cwd.or(home.map(Into::into));
        match shell {
            Some(shell) => {
                // A shell that is called so is a login shell.
                let name = shell.rsplit('/').next().unwrap_or_default();
                command.arg0 = Some(format!("-{name}").into());
                command.argv = vec![shell.into()];
            }
            None => command.argv = ["/bin/sh", "-c", LOGIN].map(Into::into).to_vec(),
        }
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(request: &RunRequest) -> String {
        judge(&"web".parse().unwrap(), request).unwrap_err().to_string()
    }

    #[test]
    fn what_would_hand_the_host_to_the_guest_is_refused() {
        let request = || RunRequest::new(["sh"]);
        let mount = RunRequest { namespaces: Some(vec![Namespace::Mount, Namespace::Net]), ..request() };
        assert_eq!(
            refused(&mount),
            "cannot enter container `web` in the namespaces `mnt|net`: programs of the guest would run as the \
             host's root: `mnt` needs `user`"
        );
        for elevated in
            [Elevated { cgroup: true, ..Elevated::default() }, Elevated { lsm: true, ..Elevated::default() }]
        {
            assert!(refused(&RunRequest { elevated, ..request() }).contains("a program of the guest would"));
        }
        assert!(refused(&RunRequest { remount: true, ..request() }).contains("the guest's own"));
        let host = RunRequest { namespaces: Some(vec![Namespace::Net]), ..request() };
        assert_eq!(judge(&"web".parse().unwrap(), &host).unwrap(), Side::Host);
        assert!(refused(&RunRequest { user: Some(User::ids(1, None)), ..host }).contains("the host's"));
    }

    #[test]
    fn a_login_is_the_users_shell_in_his_home() {
        let identity = Identity {
            uid: 1000,
            gid: 100,
            groups: vec![100, 27],
            name: Some("alice".to_owned()),
            home: Some("/home/alice".to_owned()),
            shell: Some("/bin/zsh".to_owned()),
        };
        let login = command(RunRequest::login(None), Some(identity.clone()), Side::Guest);
        assert_eq!((login.argv, login.arg0), (vec!["/bin/zsh".into()], Some("-zsh".into())));
        assert_eq!(login.cwd, Some("/home/alice".into()));
        let root = command(RunRequest::login(None), None, Side::Guest);
        assert_eq!((&root.argv[0], root.cwd), (&"/bin/sh".into(), Some("/root".into())));
        let run = command(RunRequest::new(["id"]), Some(identity), Side::Guest);
        assert_eq!((run.argv, run.cwd, run.groups), (vec!["id".into()], None, vec![100, 27]));
    }
}

//! The worker's own side: one request, one answer, in a process that is nobody else's.

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ::nix::sys::signal::{Signal, killpg};

use super::paths::Change;
use super::protocol::{Answer, AttachCommand, LogFile, Request, SentFailure, Target};
use super::terminal::{self, Caller, End};
use super::{CHANNEL, LAST_WORDS, booted, console, devices, lxcfs, mounts, store, users};
use crate::lxc::log::{self, Log};
use crate::lxc::pty::{self, Pty};
use crate::lxc::{
    self, Attach, Attached, ExecFailure, Exit, Handle, LxcStreams, StartOptions, Worker, scratch,
};
use crate::model::namespace::Namespace;
use crate::render::LockedSource;
use crate::sys::cgroup::{self, Leaf};
use crate::sys::pidfd::{PidFd, Woken};
use crate::sys::proc::{self, Process};
use crate::sys::{handed, inherited, process};

/// How long a killed monitor's last children may take to show.
const LAST_CHILDREN: Duration = Duration::from_millis(300);

/// How long what was killed may take to be gone.
const KILLED: Duration = Duration::from_secs(5);

/// How often is looked for them.
const LOOK: Duration = Duration::from_millis(10);

/// A failure here only ever becomes words in the answer.
type Failure = Box<dyn Error>;

/// Serves the request on the control channel and ends the process.
pub(super) fn main() -> ! {
    // Without a channel somebody typed the mark by hand: there is nobody to tell.
    let code = handed::channel(CHANNEL).map_or(2, converse);
    std::process::exit(code)
}

fn converse(mut channel: UnixStream) -> i32 {
    let answer = serve(&channel).unwrap_or_else(|failure| Answer::Failed(sent(&*failure)));
    let sent = serde_json::to_vec(&answer).map(|text| channel.write_all(&text));
    i32::from(!matches!(sent, Ok(Ok(()))))
}

fn serve(channel: &UnixStream) -> Result<Answer, Failure> {
    // Before anything of a guest is near.
    let worker = Worker::begin()?;
    let worker = &worker;
    let (text, terminal) = handed::receive(channel)?;
    let request = serde_json::from_slice(&text)?;
    match request {
        // LXC's monitor is the host's; the guest's init gets its own (`lxc.proc.oom_score_adj`).
        Request::Start { .. } => inherited::reset("0"),
        Request::Attach { .. } => inherited::reset(inherited::GUEST_OOM),
        _ => {}
    }
    let of_the_session = match &request {
        Request::Attach { command, .. } => command.terminal,
        Request::Show { .. } => true,
        _ => false,
    };
    if !of_the_session {
        // Whoever shares the caller's session opens its terminal as /dev/tty and types into the host's shell; and a
        // Ctrl-C there is the caller's to judge.
        ::nix::unistd::setsid()?;
    }
    Ok(match request {
        Request::Start {
            target,
            caller,
            log,
            locked,
            sources,
            store: closure,
            kept,
            user_namespace,
            devices,
            root,
            items,
            foreground,
        } => {
            // Without its caller nobody would note what it started. In the foreground this goes on: the guest ends with
            // its monitor, which is this process.
            process::die_with_parent(caller.cast_signed())?;
            let path = log.path.clone();
            prepare_start(worker, log, &locked, &sources, kept.as_deref())?;
            let shared = user_namespace.map(|ids| mounts::user_namespace(&locked, ids)).transpose()?;
            if let Some(closure) = closure {
                store::make(&locked, &closure, shared.as_deref())?;
            }
            devices::make(&locked, &devices, root)?;
            mounts::seal(&locked)?;
            start(worker, &target, &items, shared.as_deref(), foreground)
                .or_else(|failure| explained(&*failure, &path))?
        }
        Request::ShowPaths { caller, asked, monitor, locked, lists, leaving } => {
            // What a killed caller had begun does not go on behind the back of the next one.
            process::die_with_parent(caller.cast_signed())?;
            let wanted = store::names(&lists)?;
            let leaving = leaving.into_iter().map(|list| store::names(&[list])).collect::<Result<_, _>>()?;
            store::enter(monitor)?;
            Answer::PathsShown { kept: store::change(&locked, &Change { wanted, leaving, asked })? }
        }
        Request::ShowDevices { caller, target, init, root, monitor, locked, devices, rules } => {
            process::die_with_parent(caller.cast_signed())?;
            // Before this process is near the guest.
            if !rules.is_empty() {
                let mut handle = open(worker, &target)?;
                for (file, rule) in rules {
                    handle.set_cgroup_item(&file, &rule)?;
                }
            }
            Answer::DevicesShown { left: devices::change(init, monitor, &locked, &devices, root)? }
        }
        Request::Show { cgroups, keys } => {
            let terminal = terminal.ok_or("there is no terminal to show")?;
            if console::show(terminal, keys, channel)? == console::End::Abandoned {
                end_with_monitor(&cgroups);
            }
            Answer::Done
        }
        Request::Attach { target, command } => match attach(worker, &target, command, channel) {
            Ok(exit) => Answer::Exited(exit),
            Err(failure) => folder(failure)?,
        },
        Request::Identify { init, user } => users::identify(init, &user)?,
        Request::AwaitBoot { init } => booted::wait(init)?,
        Request::Check { items, log } => {
            if let Some(log) = log {
                Log::init_at(worker, log::Target::File(log.path), log.level)?;
            }
            let refused = scratch::check(worker, &items)?;
            Answer::Checked {
                refused: refused.into_iter().map(|item| (item.key, item.value, item.why)).collect(),
            }
        }
        Request::Lxcfs { place } => Answer::Lxcfs { paths: lxcfs::paths(&place)? },
        Request::TryStore { ids } => {
            process::private_mounts()?;
            store::try_out(ids)?;
            Answer::Done
        }
        Request::Version => Answer::Version(lxc::Version::supported()?.to_string()),
        Request::Freeze { target, frozen } => {
            let mut handle = open(worker, &target)?;
            if frozen {
                handle.freeze()?;
            } else {
                handle.unfreeze()?;
            }
            Answer::Done
        }
    })
}

fn open<'w>(worker: &'w Worker, target: &Target) -> Result<Handle<'w>, lxc::Error> {
    Handle::open(worker, &target.lxc_path, &target.name)
}

fn prepare_start(
    worker: &Worker,
    log: LogFile,
    locked: &Path,
    sources: &[LockedSource],
    kept: Option<&Path>,
) -> Result<(), Failure> {
    if log.anew
        && let Err(error) = std::fs::remove_file(&log.path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(error.into());
    }
    Log::init_at(worker, log::Target::File(log.path), log.level)?;
    let own = kept.and_then(|_| mounts::own_program());
    process::private_mounts()?;
    mounts::lock(locked, sources)?;
    if let Some(place) = kept {
        mounts::keep_program(own, place)?;
    }
    mounts::hide_id_helpers(&std::env::var("PATH").unwrap_or_default())?;
    Ok(())
}

fn start(
    worker: &Worker,
    target: &Target,
    items: &[(String, String)],
    user_namespace: Option<&Path>,
    foreground: bool,
) -> Result<Answer, Failure> {
    let mut handle = open(worker, target)?;
    for (key, value) in items {
        handle.set_config_item(key, value)?;
    }
    if let Some(place) = user_namespace {
        let place = place.to_str().ok_or("the path of the container is not UTF-8")?;
        handle.set_config_item("lxc.namespace.share.user", place)?;
    }
    handle.start(StartOptions { daemonize: !foreground })?;
    if foreground {
        return Ok(Answer::Ended);
    }
    let Some(init_pid) = handle.init_pid()? else {
        return Err("the container stopped as soon as it had started".into());
    };
    Ok(Answer::Started { init_pid })
}

fn attach(
    worker: &Worker,
    target: &Target,
    command: AttachCommand,
    channel: &UnixStream,
) -> Result<Exit, Failure> {
    let mut handle = open(worker, target)?;
    let streams = take_streams()?;
    if command.terminal {
        let [stdin, stdout, _] = streams;
        return attach_terminal(&mut handle, command, &Caller::of(stdin, stdout), channel);
    }
    let files = LxcStreams::Files(streams.each_ref().map(OwnedFd::as_fd));
    let (limit, patience) = (command.limit, command.patience.unwrap_or(LAST_WORDS));
    let mut attached = handle.attach(&wanted(command, files))?;
    // It may hold no pipe open whose end somebody waits for.
    drop(streams);
    let leaf = contain(&handle, &mut attached)?;
    let late = see_to_its_end(attached.pid(), channel, limit, patience, leaf.as_ref())?;
    let exit = exit(attached)?;
    Ok(if late { Exit::TimedOut } else { exit })
}

/// A folder that a command could not begin in, if that was the failure.
fn folder(failure: Failure) -> Result<Answer, Failure> {
    match failure.downcast_ref::<lxc::Error>() {
        Some(lxc::Error::Directory { directory, source, .. }) => {
            Ok(Answer::NoFolder { folder: directory.clone().into(), errno: *source as i32 })
        }
        _ => Err(failure),
    }
}

/// Puts a command that is held into a cgroup of its own, and lets it begin.
fn contain(handle: &Handle<'_>, attached: &mut Attached<'_>) -> Result<Option<Leaf>, Failure> {
    if !attached.is_held() {
        return Ok(None);
    }
    let init = handle.init_pid()?.and_then(Process::now).ok_or("the container has stopped meanwhile")?;
    let leaf = Leaf::take(init, attached.pid())?;
    attached.release()?;
    Ok(Some(leaf))
}

/// On a terminal of its own, served from here.
fn attach_terminal(
    handle: &mut Handle<'_>,
    command: AttachCommand,
    caller: &Caller,
    channel: &UnixStream,
) -> Result<Exit, Failure> {
    let Pty { master, slave } = match &command.namespaces {
        // A program of the host: what is typed there is nothing for the guest.
        // Nor is the terminal the guest's.
        Some(namespaces) if !namespaces.contains(&Namespace::Mount) => pty::of_host()?,
        _ => {
            let pty = handle.open_terminal()?;
            if let Some(init) = handle.init_pid()? {
                handle.hand_over(&pty.slave, init);
            }
            pty
        }
    };
    caller.dress(&slave);
    caller.raw();
    let (limit, patience) = (command.limit, command.patience.unwrap_or(LAST_WORDS));
    let mut attached = handle.attach(&wanted(command, LxcStreams::Terminal(&slave)))?;
    // Its end is known by that nobody has it any more.
    drop(slave);
    let leaf = contain(handle, &mut attached)?;
    let process = Process::now(attached.pid()).map(PidFd::open).transpose()?.flatten();
    let until = limit.and_then(|limit| Instant::now().checked_add(limit));
    let end = terminal::serve(caller, master, process.as_ref(), channel, until)?;
    if let (End::Gone | End::Late, Some(process)) = (end, process) {
        // Its terminal has hung up, which most take for the end.
        let words = if end == End::Late { patience } else { patience.min(LAST_WORDS) };
        match &leaf {
            Some(leaf) => end_all(leaf, words),
            None if !process.wait(words, &|| false)? => process.signal(Signal::SIGKILL as i32)?,
            None => {}
        }
    }
    let exit = exit(attached)?;
    Ok(if end == End::Late { Exit::TimedOut } else { exit })
}

fn wanted(command: AttachCommand, streams: LxcStreams<'_>) -> Attach<'_> {
    Attach {
        held: command.patience.is_some(),
        argv: command.argv,
        arg0: command.arg0,
        env: command.env,
        cwd: command.cwd.map(Into::into),
        cwd_or_root: command.cwd_or_root,
        uid: command.uid,
        gid: command.gid,
        groups: command.groups,
        streams,
        namespaces: command.namespaces,
        elevated: command.elevated,
        remount: command.remount,
    }
}

fn exit(attached: Attached<'_>) -> Result<Exit, Failure> {
    match attached.wait() {
        Err(lxc::Error::Exec { failure: ExecFailure::NotFound, .. }) => Ok(Exit::NotFound),
        Err(lxc::Error::Exec { .. }) => Ok(Exit::NotExecutable),
        other => Ok(other?),
    }
}

/// Waits for the command to end; says whether it was late. If it is, or the caller goes first (killed, cancelled), it is ended
/// with all that it has started: what is in its cgroup, or where it has none in its process group, which is this worker's.
fn see_to_its_end(
    command: i32,
    channel: &UnixStream,
    limit: Option<Duration>,
    patience: Duration,
    leaf: Option<&Leaf>,
) -> Result<bool, Failure> {
    let Some(command) = Process::now(command).map(PidFd::open).transpose()?.flatten() else {
        return Ok(false);
    };
    let until = limit.and_then(|limit| Instant::now().checked_add(limit));
    let (late, words) = match command.wait_unless_hung_up(channel, until)? {
        Woken::Ended => {
            if let Some(leaf) = leaf.filter(|_| told_to_end()) {
                end_all(leaf, patience.min(LAST_WORDS));
            }
            return Ok(false);
        }
        // Who cancels waits for it before he goes.
        Woken::HungUp => (false, patience.min(LAST_WORDS)),
        Woken::Late => (true, patience),
    };
    if let Some(leaf) = leaf {
        end_all(leaf, words);
        return Ok(late);
    }
    let group = ::nix::unistd::getpgrp();
    killpg(group, Signal::SIGTERM)?;
    if !command.wait(words, &|| false)? {
        // This worker is of the group too: there is nobody left to answer.
        killpg(group, Signal::SIGKILL)?;
    }
    Ok(late)
}

/// Whether the command's process group was told to end. This process is of it, and blocks those signals: they wait.
fn told_to_end() -> bool {
    let waiting = proc::mask("self", "ShdPnd:").unwrap_or(0);
    let ends = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
    ends.into_iter().any(|signal| waiting & (1 << (signal as i32 - 1)) != 0)
}

/// Ends all that a command has started, which may have `words` for it.
fn end_all(leaf: &Leaf, words: Duration) {
    leaf.signal(Signal::SIGTERM as i32);
    let end = Instant::now() + words;
    while !leaf.is_vacant() && Instant::now() < end {
        std::thread::sleep(LOOK);
    }
    leaf.end(KILLED);
}

/// The caller of a foreground start was killed, and its monitor is killed with it: whatever that had begun ends too, also what
/// shows only now.
fn end_with_monitor(cgroups: &[PathBuf]) {
    let end = Instant::now() + LAST_CHILDREN;
    while Instant::now() < end {
        cgroup::end(cgroups, Duration::ZERO, LOOK);
        std::thread::sleep(LOOK);
    }
}

/// Takes the worker's three streams for its own and leaves `/dev/null` in their places.
///
/// What is in those places a command has if liblxc fails to put its own there, which liblxc does not mind: and guest root
/// can make it fail, by a limit of no open files that it sets on the process that is to become the command.
fn take_streams() -> Result<[OwnedFd; 3], Failure> {
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let [stdin, stdout, stderr] =
        [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()].map(|stream| stream.try_clone_to_owned());
    let streams = [stdin?, stdout?, stderr?];
    let null: OwnedFd = File::options().read(true).write(true).open("/dev/null")?.into();
    ::nix::unistd::dup2_stdin(&null)?;
    ::nix::unistd::dup2_stdout(&null)?;
    ::nix::unistd::dup2_stderr(&null)?;
    Ok(streams)
}

/// A start that failed; where LXC could not write down why, that is what there is to say.
fn explained(failure: &(dyn Error + 'static), log: &Path) -> Result<Answer, Failure> {
    let mut sent = sent(failure);
    if sent.log.is_empty()
        && let Err(error) = File::options().append(true).open(log).and_then(|mut log| log.write_all(b"\n"))
    {
        sent.chain.push(format!("LXC cannot write why into {}: {error}", log.display()));
    }
    Ok(Answer::Failed(sent))
}

fn sent(error: &(dyn Error + 'static)) -> SentFailure {
    let of_store = error.downcast_ref::<mounts::MountError>().and_then(mounts::MountError::of_store);
    let mut chain = vec![error.to_string()];
    let mut log = Vec::new();
    let mut next = error.source();
    while let Some(source) = next {
        if let Some(reason) = source.downcast_ref::<log::Reason>() {
            log.extend(reason.records().iter().map(|record| record.message.clone()));
        } else {
            chain.push(source.to_string());
        }
        next = source.source();
    }
    SentFailure { chain, log, of_store }
}

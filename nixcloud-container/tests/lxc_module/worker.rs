//! This binary run again as a worker: one job on one container, the answer as lines on standard output.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nixcloud_container::Elevated;
use nixcloud_container::lxc::{
    Attach, Exit, Handle, LxcState, LxcStreams, StartOptions, Worker, log::Log, log::Target, pty::Pty,
    scratch,
};
use nixcloud_container::sys::process;

/// The one job that the library's workers know here: it is told the rest.
pub(crate) const JOB: &str = "work";

/// Descriptor 1 of an attached command, which must not mix with the worker's answer.
const OUTPUT: &str = "NXC_OUTPUT";

/// What a worker said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// What the attached command printed, both streams.
    pub(crate) output: String,
}

impl Answer {
    /// The answer of a job that succeeded; nothing may have leaked onto standard error.
    pub(crate) fn ok(&self) -> &str {
        assert_eq!(self.stderr, "", "leaked onto standard error");
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout.trim_end()
    }

    /// The error, with its chain, of a job that failed; nothing may have leaked onto standard error.
    pub(crate) fn err(&self) -> &str {
        assert_eq!(self.stderr, "", "leaked onto standard error");
        assert_eq!(self.code, Some(1), "{self:?}");
        self.stdout.trim_end()
    }
}

/// The worker's command line. PATH is without newuidmap, which would ask for lines in /etc/subuid.
pub(crate) fn command(job: &str, lxc_path: &Path, name: &str, arguments: &[&str]) -> Command {
    let mut command = nixcloud_container::lxc::worker::command(JOB).unwrap();
    command.arg(job).arg(lxc_path).arg(name).args(arguments);
    command.env("PATH", "/nonexistent").env("HOST_SECRET", "leaked").stdin(Stdio::null());
    command
}

pub(crate) fn run(job: &str, lxc_path: &Path, name: &str, arguments: &[&str]) -> Answer {
    let output = tempfile::NamedTempFile::new().unwrap();
    let done = command(job, lxc_path, name, arguments).env(OUTPUT, output.path()).output().unwrap();
    Answer {
        code: done.status.code(),
        stdout: String::from_utf8(done.stdout).unwrap(),
        stderr: String::from_utf8(done.stderr).unwrap(),
        output: std::fs::read_to_string(output.path()).unwrap(),
    }
}

/// The worker.
pub(crate) fn main(worker: &Worker, arguments: Vec<OsString>) -> i32 {
    let arguments: Vec<String> =
        arguments.into_iter().map(|argument| argument.into_string().unwrap()).collect();
    let (job, path, name) = (arguments[0].as_str(), PathBuf::from(&arguments[1]), arguments[2].as_str());
    let rest: Vec<&str> = arguments[3..].iter().map(String::as_str).collect();
    match work(worker, job, &path, name, &rest) {
        Ok(text) => {
            println!("{text}");
            0
        }
        Err(error) => {
            println!("{}", chain(&*error));
            1
        }
    }
}

fn work(
    worker: &Worker,
    job: &str,
    path: &Path,
    name: &str,
    rest: &[&str],
) -> Result<String, Box<dyn std::error::Error>> {
    match job {
        "memory" => return memory(worker, path, name, rest),
        "scratch" => return Ok(format!("{:#?}", scratch::check(worker, &pairs(rest))?)),
        "mounts" => return mounts(Path::new(rest[0])),
        "squat" => return squat(path, name),
        "orphan" => {
            process::die_with_parent(rest[0].parse()?)?;
            return Ok("alive".into());
        }
        "log-twice" => {
            Log::init(worker, Target::Memory)?;
            Log::init(worker, Target::Memory)?;
        }
        "log-file" => {
            Log::init(worker, Target::File(PathBuf::from(rest[0])))?;
        }
        _ => {}
    }
    let mut handle = Handle::open(worker, path, name)?;
    Ok(match job {
        "open" | "log-file" => format!("{:?} {}", handle, handle.is_defined()?),
        "unclean" => {
            let mut blocked = nix::sys::signal::SigSet::empty();
            blocked.add(nix::sys::signal::Signal::SIGPIPE);
            blocked.thread_block()?;
            handle.start(StartOptions::default())?;
            "started".into()
        }
        "start" => {
            handle.start(StartOptions::default())?;
            "started".into()
        }
        "start-foreground" => {
            handle.start(StartOptions { daemonize: false })?;
            "ended".into()
        }
        "stop" => {
            handle.stop()?;
            "stopped".into()
        }
        "shutdown" => format!("{}", handle.shutdown(Duration::from_millis(rest[0].parse()?))?),
        "wait" => {
            let state = LxcState::from_name(rest[0]).ok_or("state")?;
            format!("{}", handle.wait(state, Duration::from_millis(rest[1].parse()?))?)
        }
        "state" => format!("{} {:?} {}", handle.state()?, handle.init_pid()?, handle.may_control()?),
        "freeze" => {
            handle.freeze()?;
            handle.state()?.to_string()
        }
        "unfreeze" => {
            handle.unfreeze()?;
            handle.state()?.to_string()
        }
        "cgroup" => {
            if let [key, value] = rest {
                handle.set_cgroup_item(key, value)?;
            }
            handle.cgroup_item(rest[0])?
        }
        "item" => format!("{:?}", handle.config_item(rest[0])?),
        "running-item" => format!("{:?}", handle.running_config_item(rest[0])?),
        "set" => {
            handle.set_config_item(rest[0], rest[1])?;
            format!("{:?}", handle.config_item(rest[0])?)
        }
        "load" => {
            handle.clear_config()?;
            let cleared = handle.config_item("lxc.uts.name")?;
            handle.load_config(Path::new(rest[0]))?;
            format!("{cleared:?} {:?}", handle.config_item("lxc.uts.name")?)
        }
        "run" => run_in(&mut handle, rest)?,
        "signals" => signals(worker, &mut handle)?,
        other => return Err(format!("no job {other}").into()),
    })
}

/// Each call that a worker makes of liblxc `rest[0]` times, and entering the guest `rest[1]` times.
fn memory(
    worker: &Worker,
    path: &Path,
    name: &str,
    rest: &[&str],
) -> Result<String, Box<dyn std::error::Error>> {
    let (rounds, entries): (u32, u32) = (rest[0].parse()?, rest[1].parse()?);
    for _ in 0..rounds {
        let mut handle = Handle::open(worker, path, name)?;
        handle.set_config_item("lxc.environment", "A=1")?;
        handle.set_config_item("lxc.no.such", "1").unwrap_err();
        handle.config_item("lxc.idmap")?.ok_or("idmap")?;
        handle.config_item("lxc.no.such").unwrap_err();
        handle.running_config_item("lxc.uts.name")?.ok_or("name")?;
        handle.running_config_item("lxc.no.such").unwrap_err();
        handle.cgroup_item("pids.max")?;
        handle.set_cgroup_item("pids.max", "77")?;
        handle.cgroup_item("no.such.file").unwrap_err();
        handle.init_pid()?.ok_or("init")?;
        if !(handle.is_defined()? && handle.may_control()? && handle.state()? == LxcState::Running) {
            return Err("it does not run".into());
        }
        handle.wait(LxcState::Running, Duration::ZERO)?;
        drop(handle.open_terminal()?);
        handle.freeze()?;
        handle.unfreeze()?;
        handle.clear_config()?;
        handle.load_config(&path.join(name).join("config"))?;
        handle.load_config(Path::new("/no/such/config")).unwrap_err();
        drop(handle);
        Handle::open(worker, path, "undefined")?;
        Handle::open(worker, path, "broken").unwrap_err();
        scratch::check(worker, &[("lxc.cap.drop", "sys_time"), ("lxc.no.such", "1")])?;
    }
    for _ in 0..entries {
        let mut handle = Handle::open(worker, path, name)?;
        run_in(&mut handle, &["env=1", "--", "sh", "-c", "exit 3"])?;
        worker.reset_signals()?;
        run_in(&mut handle, &["--", "/no/such/program"]).unwrap_err();
        worker.reset_signals()?;
    }
    Ok("remembered".into())
}

fn pairs<'a>(rest: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    rest.chunks(2).map(|pair| (pair[0], pair[1])).collect()
}

/// `[cwd=DIR] [or-root=1] [uid=ID] [gid=ID] [env=VALUE] [terminal=1] -- ARGV...`
fn run_in(handle: &mut Handle<'_>, rest: &[&str]) -> Result<String, Box<dyn std::error::Error>> {
    let split = rest.iter().position(|word| *word == "--").ok_or("--")?;
    let options = &rest[..split];
    let option = |name: &str| options.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    // Descriptor 0 itself is what makes liblxc ignore SIGINT.
    let stdin = std::io::stdin();
    let output = File::options().append(true).open(std::env::var_os(OUTPUT).ok_or("no output")?)?;
    // As a careless part of a program might leave one: not close-on-exec.
    let _leak = nix::unistd::dup(&output)?;
    let terminal = option("terminal").map(|_| handle.open_terminal()).transpose()?;
    let streams = match &terminal {
        Some(Pty { slave, .. }) => LxcStreams::Terminal(slave),
        None => LxcStreams::Files([stdin.as_fd(), output.as_fd(), output.as_fd()]),
    };
    let command = Attach {
        argv: rest[split + 1..].iter().map(OsString::from).collect(),
        arg0: None,
        env: option("env").map(|value| ("GIVEN".into(), value.into())).into_iter().collect(),
        cwd: option("cwd").map(PathBuf::from),
        cwd_or_root: option("or-root").is_some(),
        uid: option("uid").map(str::parse).transpose()?,
        gid: option("gid").map(str::parse).transpose()?,
        groups: Vec::new(),
        streams,
        namespaces: None,
        elevated: Elevated::default(),
        remount: false,
        held: false,
    };
    let attached = handle.attach(&command)?;
    if let Some(Pty { master, slave }) = terminal {
        drop(slave);
        show(master)?;
    }
    let exit = match attached.wait() {
        Ok(exit) => exit,
        Err(error) => {
            let code = error.exit_code();
            return Err(code
                .map_or_else(|| chain(&error), |code| format!("{code}: {}", chain(&error)))
                .into());
        }
    };
    Ok(match exit {
        Exit::Code(code) => format!("code {code}"),
        Exit::Signal(signal) => format!("signal {signal} {}", exit.code()),
        other => format!("{other:?}"),
    })
}

/// Shows what is written to a terminal until nobody has it any more.
fn show(master: OwnedFd) -> Result<(), Box<dyn std::error::Error>> {
    let mut master = File::from(master);
    loop {
        let mut fds = [nix::poll::PollFd::new(master.as_fd(), nix::poll::PollFlags::POLLIN)];
        nix::poll::poll(&mut fds, nix::poll::PollTimeout::NONE)?;
        let mut buffer = [0; 4096];
        match master.read(&mut buffer) {
            Ok(count) => std::io::stdout().write_all(&buffer[..count])?,
            Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EIO as i32) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// An error and its sources on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        write!(text, ": {error}").unwrap();
        source = error.source();
    }
    text
}

/// Two commands in one worker: what the first left behind, the second must not have.
fn signals(worker: &Worker, handle: &mut Handle<'_>) -> Result<String, Box<dyn std::error::Error>> {
    for _ in 0..2 {
        run_in(handle, &["--", "grep", "-E", "Sig(Ign|Blk)", "/proc/self/status"])?;
        // A command's signals stay blocked here, so that none that was meant for it ends this process.
        worker.reset_signals()?;
    }
    Ok("clean".into())
}

/// A mount that the host must not see.
fn mounts(target: &Path) -> Result<String, Box<dyn std::error::Error>> {
    process::private_mounts()?;
    let flags = nix::mount::MsFlags::empty();
    nix::mount::mount(Some("nxc"), target, Some("tmpfs"), flags, None::<&str>)?;
    Ok(std::fs::read_to_string("/proc/self/mountinfo")?)
}

/// Listens on the name of a container as somebody who is not root, until standard input ends.
fn squat(path: &Path, name: &str) -> Result<String, Box<dyn std::error::Error>> {
    use std::os::linux::net::SocketAddrExt;
    nix::unistd::setuid(nix::unistd::Uid::from_raw(65_534))?;
    let socket = nixcloud_container::lxc::Address::new(path, name)?.socket_name();
    let address = std::os::unix::net::SocketAddr::from_abstract_name(socket)?;
    let _listener = std::os::unix::net::UnixListener::bind_addr(&address)?;
    println!("listening");
    std::io::read_to_string(std::io::stdin())?;
    Ok("done".into())
}

//! The runner: lists the scenarios, starts a process for each, watches the clock, counts.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::{Scenario, lab, leaks, sweep};

/// How long one scenario may take, unless it is asked for more than its short form.
const LIMIT: Duration = Duration::from_secs(240);

/// For how many seconds a scenario that was asked for more may go on.
const LONGER: &str = "NIXCLOUD_TEST_LIMIT";

fn limit() -> Duration {
    let asked = std::env::var(LONGER).ok().and_then(|seconds| seconds.parse().ok());
    asked.map_or(LIMIT, Duration::from_secs)
}

/// No cache is asked; root builds itself, since a fresh Debian has no build users; the same with and without a sandbox.
const NIX_CONFIG: &str = "substitute = false\nsandbox = false\nbuild-users-group =";

/// Where a scenario's process finds the prepared stand-in nixpkgs.
pub const STANDIN: &str = "NIXCLOUD_TEST_STANDIN";

/// Of how many scenarios the time is told: the slowest ones.
const SLOWEST: usize = 5;

/// When set, the run fails unless every scenario that the sources have was executed.
const EXPECT_ALL: &str = "NIXCLOUD_EXPECT_ALL_ROOT_TESTS";

/// A prepared stand-in nixpkgs, removed at the end of the run.
struct Standin(PathBuf);

impl Drop for Standin {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub fn run(scenarios: Vec<Scenario>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(2);
    let mut lacking = lacking();
    let mut standin = None;
    if lacking.is_none() && !arguments.list {
        match prepare() {
            Ok(prepared) => standin = Some(prepared),
            Err(why) => lacking = Some(why),
        }
    }
    let path = standin.as_ref().map(|Standin(path)| path.clone()).unwrap_or_default();
    let executed: Arc<Mutex<Vec<(Duration, String)>>> = Arc::default();
    let trials = scenarios
        .into_iter()
        .map(|scenario| {
            let (name, path, executed) = (scenario.name.clone(), path.clone(), Arc::clone(&executed));
            let trial = Trial::test(scenario.name, move || {
                let begin = Instant::now();
                let played = play(&name, &path);
                executed.lock().unwrap().push((begin.elapsed(), name.clone()));
                played
            });
            match &lacking {
                Some(why) => trial.with_kind(why.clone()).with_ignored_flag(true),
                None => trial,
            }
        })
        .collect();
    // Ignored ones cannot be run by asking for them either.
    if lacking.is_some() {
        arguments.ignored = false;
        arguments.include_ignored = false;
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(standin);
    if arguments.list {
        return ExitCode::SUCCESS;
    }
    let mut times = std::mem::take(&mut *executed.lock().unwrap());
    times.sort_unstable_by(|a, b| b.cmp(a));
    for (time, name) in times.iter().take(SLOWEST) {
        println!("{:6.2} s  {name}", time.as_secs_f32());
    }
    let executed = times.len();
    println!("root tests executed: {executed}");
    if std::env::var_os(EXPECT_ALL).is_some() {
        let ran: BTreeSet<String> = times.into_iter().map(|(_, name)| name).collect();
        let written = written();
        let left_out: Vec<&str> = written.difference(&ran).map(String::as_str).collect();
        let unknown: Vec<&str> = ran.difference(&written).map(String::as_str).collect();
        if !left_out.is_empty() || !unknown.is_empty() || executed != written.len() {
            eprintln!(
                "the sources have {} scenarios, but {executed} were executed\nleft out: {}\nnot found in the sources: {}",
                written.len(),
                left_out.join(", "),
                unknown.join(", ")
            );
            return ExitCode::FAILURE;
        }
    }
    conclusion.exit_code()
}

/// The scenarios that the sources have, by their text: one that a list forgets, that is in a file which nothing includes, or that is
/// ignored, is missed. No number is written down, so that branches which add scenarios do not collide.
fn written() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("root");
    let sources = fs::read_dir(&folder).expect("the sources of the scenarios").flatten();
    let texts = sources.filter_map(|source| fs::read_to_string(source.path()).ok());
    texts.flat_map(|text| names(&text)).collect()
}

/// The names of the scenarios in a source. One that is told a kind of guest is two.
fn names(text: &str) -> Vec<String> {
    let begin = "\nfn root_";
    let functions = text.match_indices(begin).map(|(at, _)| &text[at + "\nfn ".len()..]);
    functions
        .filter_map(|function| function.split_once('('))
        .flat_map(|(name, rest)| {
            let arguments = rest.split(')').next().unwrap_or_default();
            let kinds: &[&str] = if arguments.contains(": Kind") { &["_busybox", "_systemd"] } else { &[""] };
            kinds.iter().map(move |kind| format!("{name}{kind}"))
        })
        .collect()
}

/// What this machine lacks, if anything.
fn lacking() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("needs root".to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = |tool: &&str| std::env::split_paths(&path).any(|folder| folder.join(tool).is_file());
    for tool in ["lxc-start", "nix-instantiate", "nix-store", "nix-env", "ip", "busybox"] {
        if !found(&tool) {
            return Some(format!("needs {tool}"));
        }
    }
    None
}

/// `tests/nixpkgs`, ready to be `<nixpkgs>`.
fn prepare() -> Result<Standin, String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("nixpkgs/prepare.sh");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("standin-{}", std::process::id()));
    let output = Command::new(&source)
        .arg(&target)
        .output()
        .map_err(|error| format!("needs {}: {error}", source.display()))?;
    if output.status.success() {
        Ok(Standin(target))
    } else {
        Err(format!("needs a stand-in nixpkgs: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}

/// Plays one scenario in a process of its own.
fn play(name: &str, standin: &Path) -> Result<(), Failed> {
    // A file, not a pipe: a monitor that is left behind by a fault would hold a pipe open for ever.
    let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.{}", std::process::id()));
    let write = fs::File::create(&output)?;
    let mut child = Command::new("/proc/self/exe")
        .args(["--scenario", name])
        .env(STANDIN, standin)
        .env("NIX_CONFIG", NIX_CONFIG)
        .env_remove("NIX_PATH")
        .stdin(Stdio::null())
        .stdout(write.try_clone()?)
        .stderr(write)
        .process_group(0)
        .spawn()?;
    let (begin, limit) = (Instant::now(), limit());
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if begin.elapsed() > limit {
            end(&mut child);
            break None;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let mut said = String::new();
    if let Ok(mut file) = fs::File::open(&output) {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        said = String::from_utf8_lossy(&bytes).into_owned();
    }
    let _ = fs::remove_file(&output);
    match status {
        Some(status) if status.success() => {
            if std::env::var_os(LONGER).is_some() {
                println!("{said}");
            }
            Ok(())
        }
        Some(status) => Err(format!("{status}\n{said}").into()),
        None => Err(format!("took longer than {} s and was killed\n{said}", limit.as_secs()).into()),
    }
}

/// Ends a scenario that hangs, and the guests that it started: their cgroups carry its mark.
fn end(child: &mut Child) {
    let pid = child.id();
    let _ = killpg(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
    let _ = child.wait();
    sweep::sweep(&lab::root_of(pid), &leaks::mark(pid));
}

//! Jobs of a build service, each in a container of its own that is gone afterwards, several at once.
//!
//! ```text
//! ci-runner CONFIG.toml IMAGE.nix SECONDS JOB.sh...
//! ```
//!
//! A job is a script for the shell of a guest that IMAGE.nix describes. It has SECONDS, and whatever it leaves behind ends with
//! it. Results are printed as TAP, in the order in which jobs end; the exit code is 1 when one of them failed. Run as root.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use nixcloud_container::{
    Cancel, Container, CreateRequest, DestroyRequest, Error, Exit, HostConfig, Manager, Output,
};

/// How many jobs run at once.
const AT_ONCE: usize = 4;

/// How much is kept of what a job says.
const SAID: usize = 64 << 10;

fn main() -> ExitCode {
    // First of all, before any thread.
    nixcloud_container::worker::init();

    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [config, image, seconds, jobs @ ..] = arguments.as_slice() else {
        eprintln!("usage: ci-runner CONFIG.toml IMAGE.nix SECONDS JOB.sh...");
        return ExitCode::from(2);
    };
    match run(config.as_ref(), image.as_ref(), seconds, jobs) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("ci-runner: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether all went well.
fn run(
    config: &Path,
    image: &Path,
    seconds: &str,
    jobs: &[String],
) -> Result<bool, Box<dyn std::error::Error>> {
    let limit = Duration::from_secs(seconds.parse()?);
    let jobs: Vec<(PathBuf, String)> = jobs
        .iter()
        .map(|job| Ok((job.into(), std::fs::read_to_string(job)?)))
        .collect::<Result<_, std::io::Error>>()?;
    // Ctrl-C ends what runs, and each container goes as it always does.
    let asked = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&asked))?;
    }
    let cancel = Cancel::from_flag(Arc::clone(&asked));
    let manager = Manager::open(HostConfig::load(Some(config))?)?;
    manager.host_up()?;
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    println!("1..{}", jobs.len());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(jobs.len()) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some((path, script)) = jobs.get(number) else { return };
                    let name = path.file_stem().unwrap_or_default().to_string_lossy();
                    let (word, why) = match job(&manager, image, script, limit, &cancel, number) {
                        Ok(output) if output.exit == Exit::Code(0) => ("ok", told(&output)),
                        Ok(output) => ("not ok", told(&output)),
                        Err(error) => ("not ok", format!("# {error}\n")),
                    };
                    failed.fetch_or(word != "ok", Ordering::Relaxed);
                    // In one piece, since others print, too.
                    print!("{word} {} - {name}\n{why}", number + 1);
                }
            });
        }
    });
    Ok(!failed.into_inner())
}

/// Runs a job in a container of its own.
fn job(
    manager: &Manager,
    image: &Path,
    script: &str,
    limit: Duration,
    cancel: &Cancel,
    number: usize,
) -> Result<Output, Error> {
    // Names of containers are this host's, so that two runners must not have the same.
    let name = format!("ci{}x{number}", std::process::id()).parse()?;
    let container = manager.container(name);
    let cancellable = container.clone().with_cancel(cancel.clone());
    cancellable.create(&CreateRequest::new(image), &mut ())?;
    let gone = Gone(container);
    cancellable.start(&mut ())?;
    let output = cancellable
        .command("/bin/sh")
        .args(["-e", "-s"])
        .stdin(script)
        .env("CI", "true")
        .timeout(limit)
        .capture_limit(SAID)
        .output();
    drop(gone);
    output
}

/// Takes its container away, also where something failed, or panicked.
struct Gone(Container);

impl Drop for Gone {
    fn drop(&mut self) {
        if let Err(error) = self.0.destroy(DestroyRequest::new().with_force(true)) {
            eprintln!("ci-runner: {} is left behind: {error}", self.0.name());
        }
    }
}

/// How it ended, and what it said, as comments.
fn told(output: &Output) -> String {
    let end = match output.exit {
        Exit::Code(0) => "passed".to_owned(),
        Exit::TimedOut => "took too long".to_owned(),
        Exit::Cancelled { .. } => "was cancelled".to_owned(),
        exit => format!("ended with {}", exit.shell_code()),
    };
    let mut text = format!("# {end} after {} ms\n", output.took.as_millis());
    for stream in [&output.stdout, &output.stderr] {
        for line in String::from_utf8_lossy(stream).lines() {
            text += &format!("#   {line}\n");
        }
        if stream.truncated {
            text += "#   (cut off)\n";
        }
    }
    text
}

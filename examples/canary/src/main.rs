//! A change that one container has to prove before the others get it.
//!
//! ```text
//! canary CONFIG.toml NAME... -- CHECK [ARGUMENT...]
//! ```
//!
//! Each container is built anew from the file that it is known to come from. The first one gets its new generation alone; the
//! others follow, several at once, once CHECK has succeeded in it. One whose update or CHECK fails goes back to the generation it had,
//! and those that were not begun by then keep theirs. The exit code is 1 then. Run as root.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use nixcloud_container::{Container, Error, Exit, HostConfig, Manager, State, UpdateRequest, Updated};

/// How many are updated at once behind the first.
const AT_ONCE: usize = 4;

/// How long a check may take.
const CHECK: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    // First of all, before any thread.
    nixcloud_container::worker::init();

    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let parts: Vec<&[String]> = arguments.splitn(2, |word| word == "--").collect();
    let [[config, first, others @ ..], check @ [_, ..]] = parts.as_slice() else {
        eprintln!("usage: canary CONFIG.toml NAME... -- CHECK [ARGUMENT...]");
        return ExitCode::from(2);
    };
    match roll_out(config, first, others, check) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("canary: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether all have it.
fn roll_out(
    config: &str,
    first: &str,
    others: &[String],
    check: &[String],
) -> Result<bool, Box<dyn std::error::Error>> {
    let manager = Manager::open(HostConfig::load(Some(config.as_ref()))?)?;
    let container = |name: &str| Ok::<_, Error>(manager.container(name.parse()?));
    // A name that is wrong is told before anything is changed.
    let others = others.iter().map(|name| container(name)).collect::<Result<Vec<_>, _>>()?;
    for other in &others {
        other.status()?;
    }
    if !prove(&container(first)?, check) {
        println!("the others keep what they have");
        return Ok(false);
    }
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(others.len()) {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let Some(other) = others.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
                    if !prove(other, check) {
                        failed.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    Ok(!failed.into_inner())
}

/// Updates a container and checks it; otherwise it goes back. Whether it has what is new.
fn prove(container: &Container, check: &[String]) -> bool {
    let name = container.name();
    let switched = match container.update(&UpdateRequest::default(), &mut ()) {
        Ok(Updated::Switched(switched)) => switched,
        Ok(_) => return true,
        Err(error) => {
            // An activation that fails has been undone by the library.
            println!("{name}: {error}");
            return false;
        }
    };
    let why = match checked(container, check) {
        Ok(None) => {
            println!("{name}: generation {}", switched.to);
            return true;
        }
        Ok(Some(why)) => why,
        Err(error) => error.to_string(),
    };
    if switched.from == switched.to {
        println!("{name}: {why}, and nothing is new");
        return false;
    }
    match container.switch_generation(switched.from, &mut ()) {
        Ok(_) => println!("{name}: {why}: back at generation {}", switched.from),
        Err(error) => println!("{name}: {why}, and it does not go back: {error}"),
    }
    false
}

/// Why a check failed. One that does not run has none.
fn checked(container: &Container, check: &[String]) -> Result<Option<String>, Error> {
    let [program, arguments @ ..] = check else { return Ok(None) };
    if container.state()? != State::Running {
        return Ok(None);
    }
    let output = container.command(program).args(arguments).timeout(CHECK).output()?;
    Ok(match output.exit {
        Exit::Code(0) => None,
        Exit::TimedOut => Some(format!("`{program}` takes too long")),
        exit => Some(format!(
            "`{program}` ended with {}: {}",
            exit.shell_code(),
            String::from_utf8_lossy(&output.stderr).trim_end()
        )),
    })
}

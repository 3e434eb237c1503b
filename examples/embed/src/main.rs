//! A program that embeds container management: create, start, run, update in place, roll back, destroy.
//!
//! ```text
//! embed CONFIG.toml NAME V1.nix V2.nix
//! ```
//!
//! Run as root. Everything that it prints, it prints itself: the library says what it does by typed events.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use nixcloud_container::{
    CreateRequest, DestroyRequest, Event, HostConfig, Manager, Part, RunRequest, StartOutcome, Streams,
    UpdateRequest, Updated,
};

fn main() -> ExitCode {
    // First of all, before any thread: LXC's start and attach happen in this program, re-executed. Built without the library's
    // feature `liblxc`, they happen in the installed worker.
    #[cfg(feature = "liblxc")]
    nixcloud_container::worker::init();

    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [config, name, first, second] = arguments.as_slice() else {
        eprintln!("usage: embed CONFIG.toml NAME V1.nix V2.nix");
        return ExitCode::from(2);
    };
    match deploy(config.as_ref(), name, first.as_ref(), second.as_ref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("embed: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                eprintln!("  because: {cause}");
                source = cause.source();
            }
            if let Some(hint) =
                error.downcast_ref::<nixcloud_container::Error>().and_then(nixcloud_container::Error::hint)
            {
                eprintln!("  hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}

fn deploy(config: &Path, name: &str, first: &Path, second: &Path) -> Result<(), Box<dyn Error>> {
    let manager = Manager::open(HostConfig::load(Some(config))?)?;
    manager.host_up()?;
    for finding in manager.host_check().iter().filter(|finding| finding.part == Part::Lxc) {
        println!("{}: {}", finding.name, finding.what);
    }
    let container = manager.container(name.parse()?);

    // A closure observes: this one shows phases and builds.
    let mut observer = |event: Event| match event {
        Event::Phase(phase) => println!("{phase}"),
        Event::BuildStarted { name, .. } => println!("  building {name}"),
        Event::Activation { line, .. } => println!("  guest: {line}"),
        Event::Note(note) => println!("  note: {note}"),
        _ => {}
    };

    let created = container.create(&CreateRequest::new(first.to_owned()), &mut observer)?;
    println!("created {} with address {:?}", created.name, created.address);

    // Whatever happens from here on, nothing stays behind.
    let outcome = use_it(&container, second, &mut observer);
    container.destroy(DestroyRequest::new().with_force(true))?;
    println!("destroyed {}", container.name());
    manager.host_down()?;
    outcome
}

fn use_it(
    container: &nixcloud_container::Container,
    second: &Path,
    observer: &mut dyn nixcloud_container::Observer,
) -> Result<(), Box<dyn Error>> {
    if let StartOutcome::Started { init_pid, .. } = container.start(observer)? {
        println!("started; its init is process {init_pid} of the host");
    }
    let exit = container.run(RunRequest::new(["cat", "/etc/os-release"]), Streams::Inherit)?;
    println!("cat ended with {}", exit.shell_code());

    let update = UpdateRequest::new(second.to_owned());
    if let Updated::Switched(switched) = container.update(&update, observer)? {
        println!("updated in place from generation {} to {}", switched.from, switched.to);
    }
    let back = container.rollback(observer)?;
    println!("rolled back from generation {} to {}", back.from, back.to);
    for generation in container.generations()? {
        let current = if generation.current { " (current)" } else { "" };
        println!("generation {}: {}{current}", generation.id, generation.health);
    }
    container.stop(None)?;
    println!("stopped; its state is {}", container.state()?);
    Ok(())
}

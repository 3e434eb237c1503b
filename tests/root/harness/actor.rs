//! A second process in a scenario: one call of the library by somebody else.
//!
//! Arguments: `[KIND] ROOT VERB NAME [FILE]`, where a kind makes an odd caller of it. It says the error's `Debug` on stderr and exits with 1 where the call fails.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::wait::waitpid;
use nixcloud_container::{
    Container, CreateRequest, DestroyRequest, Error, HostConfig, Manager, PlanRequest, PlanTarget,
    RunRequest, Streams, UpdateRequest,
};

use super::{CONFIG, Guest, Lab, NO_WORKER, lab};

impl Lab {
    /// The command line of an actor. `netns` puts it into a network namespace of its own.
    pub fn actor(&self, netns: bool, verb: &str, guest: &Guest<'_>) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command.arg("--actor");
        if netns {
            command.arg("netns");
        }
        command.arg(self.root()).arg(verb).arg(guest.name().as_str());
        // On a terminal they lead their session.
        if !matches!(verb, "login" | "run") {
            command.process_group(0);
        }
        command
    }
}

pub fn act(mut arguments: impl Iterator<Item = String>) -> ExitCode {
    let mut root = arguments.next().unwrap();
    let odd = match root.as_str() {
        "netns" => unshare(CloneFlags::CLONE_NEWNET).is_ok(),
        // It comes with SIGCHLD ignored.
        "ignoring" => true,
        "reaping" => {
            std::thread::spawn(reap_all);
            true
        }
        "adopting" => set_child_subreaper(true).is_ok(),
        _ => false,
    };
    if odd {
        root = arguments.next().unwrap();
    }
    let (verb, name, file) = (arguments.next().unwrap(), arguments.next().unwrap(), arguments.next());
    match call(&root, &verb, &name, file) {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:?}");
            ExitCode::FAILURE
        }
    }
}

/// Waits for whatever ends, as some programs do to have no zombies.
fn reap_all() {
    loop {
        if waitpid(None, None).is_err() {
            std::thread::sleep(Duration::from_micros(100));
        }
    }
}

fn settings(root: &str) -> HostConfig {
    let mut config = match std::env::var_os(CONFIG) {
        Some(path) => toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap(),
        None => lab::config(root.as_ref()),
    };
    if std::env::var_os(NO_WORKER).is_some() && std::env::args().nth(2).as_deref() == Some("ignoring") {
        config.worker = Some(super::command::program().with_file_name("nixcloud-container-worker"));
    }
    config
}

/// What is not even stopped when one caller has done all that there is to do.
fn round(manager: &Manager, container: &Container, file: PathBuf) -> Result<String, Error> {
    let two = file.with_file_name("two.nix");
    container.create(&CreateRequest::new(file), &mut ())?;
    container.start(&mut ())?;
    container.run(RunRequest::new(["/bin/sh", "-c", "exit 0"]), Streams::Null)?;
    container.update(&UpdateRequest::new(two), &mut ())?;
    let generations = container.generations()?.len();
    container.stop(None)?;
    container.start(&mut ())?;
    container.terminate()?;
    container.destroy(DestroyRequest::new())?;
    manager.host_down()?;
    manager.host_up()?;
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let children = tasks.flat_map(|task| {
        let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        children.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    });
    // The supervisor of the host's name servers is one of a subreaper's.
    let ended = children.filter(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))
    });
    Ok(format!("{generations} left: {:?}", ended.collect::<Vec<_>>()))
}

fn call(root: &str, verb: &str, name: &str, file: Option<String>) -> Result<String, Error> {
    let manager = Manager::open(settings(root))?;
    let container = manager.container(name.parse().unwrap());
    Ok(match verb {
        "create" => {
            let request = CreateRequest::new(file.unwrap());
            format!("{:?}", container.create(&request, &mut ())?)
        }
        "update" => {
            let request = UpdateRequest::default().with_file(file.map(Into::into));
            format!("{:?}", container.update(&request, &mut ())?)
        }
        "plan" => {
            let request = PlanRequest::new(PlanTarget::Update(UpdateRequest::new(file.unwrap())));
            format!("{:?}", container.plan(&request, &mut ())?)
        }
        "round" => round(&manager, &container, file.unwrap().into())?,
        "start" => format!("{:?}", container.start(&mut ())?),
        "state" => format!("{:?}", container.state()?),
        "stop" => format!("{:?}", container.stop(None)?),
        "terminate" => format!("{:?}", container.terminate()?),
        "destroy" => format!("{:?}", container.destroy(DestroyRequest::new())?),
        "login" => {
            let exit = container.run(RunRequest::login(Some("xterm".to_owned())), Streams::Inherit)?;
            format!("{exit:?}")
        }
        // A command without a terminal, from a shell that has one.
        "run" => {
            let exit = container.run(RunRequest::new(["/bin/sh", "-c", &file.unwrap()]), Streams::Inherit)?;
            format!("{exit:?}")
        }
        verb => panic!("no such verb: {verb}"),
    })
}

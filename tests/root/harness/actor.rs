//! A second process in a scenario: one call of the library by somebody else.
//!
//! Arguments: `[netns] ROOT VERB NAME [FILE]`. It says the error's `Debug` on stderr and exits with 1 where the call fails.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use nix::sched::{CloneFlags, unshare};
use nixcloud_container::{CreateRequest, DestroyRequest, Error, Manager, RunRequest, Streams, UpdateRequest};

use super::{Guest, Lab, lab};

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
    if root == "netns" {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
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

fn call(root: &str, verb: &str, name: &str, file: Option<String>) -> Result<String, Error> {
    let manager = Manager::open(lab::config(root.as_ref()))?;
    let container = manager.container(name.parse().unwrap());
    Ok(match verb {
        "create" => {
            let request = CreateRequest { file: file.unwrap().into(), ..Default::default() };
            format!("{:?}", container.create(&request, &mut ())?)
        }
        "update" => {
            let request = UpdateRequest { file: file.map(Into::into), ..Default::default() };
            format!("{:?}", container.update(&request, &mut ())?)
        }
        "start" => format!("{:?}", container.start(&mut ())?),
        "state" => format!("{:?}", container.state()?),
        "stop" => format!("{:?}", container.stop(None)?),
        "terminate" => format!("{:?}", container.terminate()?),
        "destroy" => format!("{:?}", container.destroy(DestroyRequest { force: false })?),
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

//! One container of a lab, with verbs that fail the scenario where they fail.

use std::fmt;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nixcloud_container::{
    Container, ContainerName, CreateRequest, Created, DestroyRequest, Error, Exit, GenerationId, Manager,
    RunRequest, StartOutcome, State, StopOutcome, Streams, Switched, UpdateRequest, Updated,
};

use super::{File, Lab, Must, eventually};

/// Which init the guest has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A supervisor in busybox's shell: boots in 20 ms.
    Busybox,
    /// Debian's systemd.
    Systemd,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busybox => "busybox",
            Self::Systemd => "systemd",
        })
    }
}

/// How a command in a guest ended and what it said.
#[derive(PartialEq, Eq)]
pub struct Said {
    pub exit: Exit,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, stdout {:?}, stderr {:?}", self.exit, self.text(), self.errors())
    }
}

impl Said {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_owned()
    }

    pub fn errors(&self) -> String {
        String::from_utf8_lossy(&self.stderr).trim_end().to_owned()
    }
}

/// A container of a lab.
pub struct Guest<'l> {
    lab: &'l Lab,
    name: ContainerName,
    kind: Kind,
}

impl<'l> Guest<'l> {
    pub fn new(lab: &'l Lab, name: ContainerName, kind: Kind) -> Self {
        Self { lab, name, kind }
    }

    pub fn name(&self) -> &ContainerName {
        &self.name
    }

    pub fn container(&self) -> Container {
        self.lab.manager().container(self.name.clone())
    }

    /// A container file for this kind of guest.
    pub fn file(&self) -> File {
        File::new(self.kind)
    }

    /// The request to create it from `file`.
    pub fn request(&self, file: &File) -> CreateRequest {
        CreateRequest::new(self.lab.file(self.name.as_str(), file))
    }

    pub fn try_create(&self, file: &File) -> Result<Created, Error> {
        self.container().create(&self.request(file), &mut ())
    }

    /// Creates it from `file`.
    #[track_caller]
    pub fn create_from(&self, file: &File) -> Created {
        self.try_create(file).must("create")
    }

    /// Creates it, version 1.
    #[track_caller]
    pub fn create(&self) -> Created {
        self.create_from(&self.file())
    }

    /// Creates and boots it; returns when its service runs.
    #[track_caller]
    pub fn boot(&self) -> i32 {
        self.create();
        self.start()
    }

    pub fn try_update(&self, file: &File) -> Result<Switched, Error> {
        let file = Some(self.lab.file(self.name.as_str(), file));
        match self.container().update(&UpdateRequest::default().with_file(file), &mut ())? {
            Updated::Switched(switched) => Ok(switched),
            other => panic!("not an update: {other:?}"),
        }
    }

    #[track_caller]
    pub fn update(&self, file: &File) -> Switched {
        self.try_update(file).must("update")
    }

    /// Starts it, and returns its init once its service runs.
    #[track_caller]
    pub fn start(&self) -> i32 {
        let init = self.start_only();
        self.await_version();
        init
    }

    /// Starts it, and returns its init.
    #[track_caller]
    pub fn start_only(&self) -> i32 {
        started(&self.container())
    }

    /// Starts it as a host with another configuration does, and returns its init once its service runs.
    #[track_caller]
    pub fn start_by(&self, manager: &Manager) -> i32 {
        let init = started(&manager.container(self.name.clone()));
        self.await_version();
        init
    }

    #[track_caller]
    pub fn stop(&self) {
        assert_eq!(self.container().stop(None).must("stop"), StopOutcome::Stopped);
    }

    #[track_caller]
    pub fn terminate(&self) {
        assert_eq!(self.container().terminate().must("terminate"), StopOutcome::Stopped);
    }

    #[track_caller]
    pub fn destroy(&self) {
        self.container().destroy(DestroyRequest::new()).must("destroy");
    }

    #[track_caller]
    pub fn state(&self) -> State {
        self.container().state().must("state")
    }

    /// Reboots a busybox guest from inside, and says what became of it.
    #[track_caller]
    pub fn reboots(&self) -> State {
        let init = self.init();
        self.shell("rm /run/greeting; kill -INT 1");
        eventually("it rebooted", Duration::from_secs(20), || {
            let status = self.container().status().must("status");
            status.state == State::Stopped || status.init_pid.is_some_and(|now| now != init)
        });
        self.state()
    }

    /// Its init in the host's pid namespace.
    #[track_caller]
    pub fn init(&self) -> i32 {
        self.container().status().must("status").init_pid.expect("an init")
    }

    /// The current generation.
    #[track_caller]
    pub fn generation(&self) -> u64 {
        self.container().status().must("status").generation.expect("a generation").get()
    }

    /// Its only address.
    #[track_caller]
    pub fn address(&self) -> Ipv4Addr {
        let addresses = self.container().addresses().must("addresses");
        match addresses[..] {
            [IpAddr::V4(address)] => address,
            _ => panic!("{addresses:?}"),
        }
    }

    pub fn generations(&self) -> Vec<u64> {
        self.container().generations().must("generations").iter().map(|g| g.id.get()).collect()
    }

    /// Runs a command with pipes on all three streams.
    pub fn try_run(&self, request: RunRequest, input: &[u8]) -> Result<Said, Error> {
        let (stdin, mut feed) = std::io::pipe().unwrap();
        let (mut out, stdout) = std::io::pipe().unwrap();
        let (mut err, stderr) = std::io::pipe().unwrap();
        let streams = Streams::Fds { stdin: stdin.into(), stdout: stdout.into(), stderr: stderr.into() };
        std::thread::scope(|scope| {
            let fed = scope.spawn(move || {
                // A command need not read what it is given.
                let _ = feed.write_all(input);
            });
            let stdout = scope.spawn(move || {
                let mut bytes = Vec::new();
                out.read_to_end(&mut bytes).unwrap();
                bytes
            });
            let stderr = scope.spawn(move || {
                let mut bytes = Vec::new();
                err.read_to_end(&mut bytes).unwrap();
                bytes
            });
            let exit = self.container().run(request, streams);
            fed.join().unwrap();
            let (stdout, stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
            exit.map(|exit| Said { exit, stdout, stderr })
        })
    }

    #[track_caller]
    pub fn run<const N: usize>(&self, command: [&str; N]) -> Said {
        self.try_run(RunRequest::new(command), b"").must("run")
    }

    /// Runs a line of shell as root of the guest.
    #[track_caller]
    pub fn sh(&self, script: &str) -> Said {
        self.run(["/bin/sh", "-c", script])
    }

    /// What a line of shell prints; it must succeed.
    #[track_caller]
    pub fn shell(&self, script: &str) -> String {
        let said = self.sh(script);
        assert!(
            said.exit.success(),
            "`{script}` in the guest: {:?}\n{}\n{}",
            said.exit,
            said.text(),
            said.errors()
        );
        said.text()
    }

    /// What its service says now, if anything.
    pub fn version(&self) -> Option<String> {
        let said = self.try_run(RunRequest::new(["/bin/sh", "-c", "cat /run/greeting"]), b"").ok()?;
        let text = said.text();
        Some(text.strip_prefix("version ")?.split_once(' ')?.0.to_owned())
    }

    #[track_caller]
    pub fn await_version(&self) {
        eventually("its service runs", Duration::from_secs(30), || self.version().is_some());
    }

    /// Whether its address answers a ping from this network namespace.
    pub fn pings(&self) -> bool {
        ping(self.address())
    }

    /// Its folder in the LXC path.
    pub fn folder(&self) -> PathBuf {
        self.lab.path("/var/lib/lxc").join(self.name.as_str())
    }

    pub fn rootfs(&self) -> PathBuf {
        self.folder().join("rootfs")
    }

    /// The text of its LXC configuration.
    pub fn config(&self) -> String {
        fs::read_to_string(self.folder().join("config")).unwrap()
    }

    /// The target of its profile's generation link.
    pub fn generation_path(&self, id: u64) -> PathBuf {
        let profiles = self.lab.path("/nix/var/nix/profiles/nixcloud-container");
        fs::read_link(profiles.join(self.name.as_str()).join(format!("profile-{id}-link"))).unwrap()
    }
}

#[track_caller]
fn started(container: &Container) -> i32 {
    match container.start(&mut ()).must("start") {
        StartOutcome::Started { init_pid, .. } => init_pid,
        other => panic!("not started: {other:?}"),
    }
}

/// A generation's number.
pub fn id(number: u64) -> GenerationId {
    GenerationId::new(number).unwrap()
}

/// Whether `address` answers from this network namespace.
pub fn ping(address: Ipv4Addr) -> bool {
    let status = Command::new("busybox").args(["ping", "-c1", "-W1", &address.to_string()]).output().unwrap();
    status.status.success()
}

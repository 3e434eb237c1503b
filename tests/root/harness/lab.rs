//! A lab: one scenario's host, in a folder and in namespaces of its own.

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nixcloud_container::{ContainerName, DestroyRequest, HostConfig, Listed, Manager};

use super::{File, Guest, Kind, Must, chain, leaks, runner, sandbox, slowness, sweep};

/// A host of its own: network, mounts, LXC path, state, profiles.
pub struct Lab {
    root: PathBuf,
    mark: String,
    manager: Manager,
    /// Names that were handed out.
    names: RefCell<Vec<ContainerName>>,
}

impl Lab {
    /// Enters the namespaces, makes the folders and the bridges. Before any thread exists.
    pub fn open() -> Self {
        let pid = std::process::id();
        let (root, mark) = (root_of(pid), leaks::mark(pid));
        // Of a broken scenario whose process had our number.
        sweep::sweep(&root, &mark);
        fs::create_dir(&root).unwrap();
        // A guest's root passes through; it must not be told more.
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        for folder in ["sys", "files"] {
            fs::create_dir(root.join(folder)).unwrap();
        }
        sandbox::enter(&root.join("sys"));
        fs::remove_dir(root.join("sys")).unwrap();
        let manager = Manager::open(config(&root)).must("open a manager");
        let lab = Self { root, mark, manager, names: RefCell::default() };
        lab.manager.host_up().must("host up");
        lab
    }

    pub fn manager(&self) -> &Manager {
        &self.manager
    }

    /// A manager with another host configuration.
    pub fn manager_with(&self, change: impl FnOnce(&mut HostConfig)) -> Manager {
        let mut config = config(&self.root);
        change(&mut config);
        Manager::open(config).must("open a manager")
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What its container names end with.
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// A path below the lab's folder, given as an absolute one: `/var/lib/lxc`.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// A container name that nobody else on this machine has.
    pub fn name(&self, name: &str) -> ContainerName {
        let name: ContainerName = format!("{name}{}", self.mark).parse().unwrap();
        let mut names = self.names.borrow_mut();
        if !names.contains(&name) {
            names.push(name.clone());
        }
        name
    }

    /// A container that does not exist yet.
    pub fn guest(&self, name: &str, kind: Kind) -> Guest<'_> {
        Guest::new(self, self.name(name), kind)
    }

    /// A busybox container that does not exist yet.
    pub fn busybox(&self, name: &str) -> Guest<'_> {
        self.guest(name, Kind::Busybox)
    }

    /// Writes a container file into the lab.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.root.join("files").join(format!("{name}.nix"));
        fs::write(&path, text).unwrap();
        path
    }

    /// Writes a container file into the lab.
    pub fn file(&self, name: &str, file: &File) -> PathBuf {
        self.write(name, &file.text())
    }

    /// What is left of all containers; to be asked when all of them are destroyed.
    pub fn leaks(&self) -> Vec<String> {
        leaks::look(&self.root, &self.mark)
    }

    #[track_caller]
    pub fn assert_nothing_left(&self) {
        let left = self.leaks();
        assert!(left.is_empty(), "left behind:\n  {}", left.join("\n  "));
    }

    /// Shows what may explain a failure.
    pub fn tell(&self) {
        for name in self.names.borrow().iter() {
            let folder = self.root.join("var/lib/lxc").join(name.as_str());
            let log = fs::read_to_string(folder.join("lxc.log")).unwrap_or_default();
            for line in log.lines().filter(|line| line.contains(" ERROR ")) {
                eprintln!("{line}");
            }
            eprintln!(
                "--- {name}: {:?}",
                self.manager.container(name.clone()).state().map_err(|error| chain(&error))
            );
        }
    }

    /// Destroys what still exists, takes the network down, and says what is left all the same.
    pub fn close(self) -> Vec<String> {
        let mut left = Vec::new();
        for listed in self.manager.list().unwrap_or_default() {
            // A scenario that plants foreign containers takes them away itself.
            if matches!(listed, Listed::Foreign { .. }) {
                continue;
            }
            let container = self.manager.container(listed.name().parse().unwrap());
            if let Err(error) = container.destroy(DestroyRequest::new().with_force(true)) {
                left.push(format!("container {}: {}", listed.name(), chain(&error)));
            }
        }
        left.extend(leaks::look(&self.root, &self.mark));
        if let Err(error) = self.manager.host_down() {
            left.push(format!("host down: {}", chain(&error)));
        }
        left.extend(leaks::bridges());
        left.extend(leaks::host(&self.root));
        left.extend(leaks::neighbours().into_iter().map(|pid| format!("process {pid}")));
        if left.is_empty() {
            fs::remove_dir_all(&self.root).unwrap();
        } else {
            for pid in leaks::neighbours() {
                let _ = nix::sys::signal::kill(
                    nix::unistd::Pid::from_raw(pid),
                    nix::sys::signal::Signal::SIGKILL,
                );
            }
            sweep::sweep(&self.root, &self.mark);
        }
        left
    }
}

/// The folder of the scenario that process `pid` plays.
pub fn root_of(pid: u32) -> PathBuf {
    PathBuf::from(format!("/tmp/nct-{pid}"))
}

/// The lab's host configuration: everything below `root`, the stand-in as `<nixpkgs>`.
pub fn config(root: &Path) -> HostConfig {
    let mut config = HostConfig::new().with_root(root.to_owned());
    config.nix.nixpkgs = std::env::var(runner::STANDIN).ok();
    // Labs run side by side, each with ids from the first one up.
    config.ids.skip_running = false;
    // Whatever this machine has; a scenario that wants one has its own.
    config.paths.lxcfs = root.join("lxcfs");
    let times = slowness();
    config.timeouts.start *= times;
    config.timeouts.boot *= times;
    config.timeouts.stop = 30 * times;
    config.timeouts.lock = 60;
    config.timeouts.activate = 60 * times;
    config
}

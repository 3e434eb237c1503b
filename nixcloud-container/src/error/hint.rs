//! How to go on: by operations of this library, which whoever embeds it spells its own way, or by other means.

use super::{Error, FailedActivation};
use crate::fs::error::FileError;
use crate::model::devices::DeviceFault;
use crate::model::hint::{Hint, Remedy};
use crate::model::name::ContainerName;
use crate::model::ready::{Missing, Unready};
use crate::model::run_error::RunError;
use crate::model::state::{Action, State};
use crate::net::bridge;
use crate::store::claims::LeaseError;
use crate::store::claims::host_ports::ForwardError;
use crate::store::history::GenerationsError;
use crate::store::legacy::OriginalError;
use crate::store::record::RecordError;
use crate::sys::tool;
use crate::worker::WorkerError;
use crate::worker::resolver::{self, ResolverError};

impl Error {
    /// How to go on, where there is a way.
    #[must_use]
    pub fn hint(&self) -> Option<Hint> {
        self.remedy().or_else(|| self.advice().map(Hint::from))
    }

    /// How to go on by operations of this library.
    fn remedy(&self) -> Option<Hint> {
        let by = |remedy: Remedy, words: &str| Hint::from(remedy).words(words);
        Some(match self {
            Self::NotFound { .. } => by(Remedy::List, " shows those that exist"),
            Self::Exists { name } => {
                by(Remedy::Update { name: Some(name.clone()) }, " makes a new generation of it")
            }
            Self::Declared { name, .. } => Hint::from("take it out there, then ")
                .remedy(Remedy::ApplyAndPrune)
                .words(" removes it; ")
                .remedy(Remedy::Destroy { name: name.clone(), force: true })
                .words(" does it now, and the next apply makes it again"),
            Self::State { name, state, action } => state_hint(name, *state, *action)?,
            Self::NoBridge { ours: true, .. } => by(Remedy::HostUp, " makes it"),
            Self::StopTimeout { name, .. } => Hint::from("it still runs: ")
                .remedy(Remedy::Terminate { name: name.clone() })
                .words(" ends it at once"),
            Self::RebootTimeout { name, .. } => {
                by(Remedy::Restart { name: name.clone() }, " shuts it down and boots it again")
            }
            Self::Activation { name, outcome, .. } => activation_hint(name, outcome)?,
            Self::NotReady { name, missing, why, .. } => unready_hint(name, missing, *why),
            Self::Undo { failure, .. } => failure.hint()?,
            Self::Remains { failures, .. } => failures.iter().find_map(Self::hint)?,
            Self::HostParts { failures, .. } => failures.iter().find_map(|(_, error)| error.hint())?,
            Self::Bridge(bridge::Error::AnotherRoot { .. }) => {
                Hint::from("one network namespace has the networks of one root: give them up there first (")
                    .remedy(Remedy::HostDown)
                    .words(
                        ", as that root is configured), or run this one in a network namespace of its own; containers with a \
                         `network.bridge` of yours need none",
                    )
            }
            Self::Bridge(bridge::Error::InUse { .. }) => by(Remedy::Stop { name: None }, " shuts one down, ")
                .remedy(Remedy::Autostop)
                .words(" all that run"),
            Self::Reference(error) => error.hint()?,
            Self::DeclaredByHost { name, .. } => Hint::from("change it there and rebuild the host; ")
                .remedy(Remedy::Update { name: Some(name.clone()) })
                .words(" lasts until then"),
            Self::NotDeclared { name, by: None } => {
                Hint::from("it was created by hand: leave it out of the set, make it the set's by ")
                    .remedy(Remedy::ApplyAndTakeOver)
                    .words(", or ")
                    .remedy(Remedy::Destroy { name: name.clone(), force: false })
            }
            Self::NotDeclared { .. } => Hint::from(
                "a container is declared in one place: leave it out of one of them; where the set was moved or copied, ",
            )
            .remedy(Remedy::ApplyAndTakeOver)
            .words(" makes it this one's"),
            Self::NoFile { name } => {
                Hint::from("name it: ").remedy(Remedy::Update { name: Some(name.clone()) })
            }
            Self::Lost { name, path } => {
                let repair = Hint::from(Remedy::Repair { name: Some(name.clone()) });
                if path.extension().is_some_and(|end| end == "toml") {
                    repair
                        .words(" makes it anew of what there is; ")
                        .remedy(Remedy::Destroy { name: name.clone(), force: true })
                        .words(" removes the container")
                } else {
                    repair.words(" makes it anew, empty")
                }
            }
            Self::Record(error) => record_hint(error)?,
            Self::Generations(GenerationsError::NoCurrent { profile }) => {
                let name = container_of(profile.parent());
                Hint::from(Remedy::Repair { name: name.clone() })
                    .words(" points it to a generation that there is; where there is none, ")
                    .remedy(Remedy::Rebuild { name })
                    .words(" builds one")
            }
            Self::Generations(GenerationsError::NoneWorked { older, .. }) => {
                let another = by(Remedy::Update { name: None }, " builds another one");
                match older.first() {
                    Some((id, _)) => another
                        .words("; ")
                        .remedy(Remedy::SwitchGeneration { id: *id })
                        .words(" goes there all the same"),
                    None => another,
                }
            }
            Self::Generations(GenerationsError::Read(FileError { path, .. })) if path.ends_with("spec.json") => {
                let name = container_of(path.ancestors().nth(2));
                by(Remedy::Repair { name }, " goes to a generation that is in the store")
            }
            Self::Lease(LeaseError::Damaged { .. }) | Self::Forward(ForwardError::Damaged { .. }) => {
                by(Remedy::Repair { name: None }, " finds out whose it is")
            }
            Self::Unsettled { source, .. } => source
                .hint()
                .unwrap_or_else(|| Hint::from("the next change or start of it goes on with that")),
            _ => return None,
        })
    }

    /// How to go on by other means.
    fn advice(&self) -> Option<String> {
        Some(match self {
            Self::NeedsRoot => "run it with sudo".to_owned(),
            Self::Alike { .. } | Self::HostName { .. } => "choose another name".to_owned(),
            Self::Foreign { name } => format!("choose another name, or see to it with `lxc-info -n {name}`"),
            Self::NameHeld { pid, uid, .. } => format!(
                "any user of this host can take such a name: `kill {pid}`, and ask user {uid}; docs/security.md says more"
            ),
            Self::InitEnded { .. } => {
                "a start in the foreground shows what it says; where memory is short, the kernel's log says what it ended".to_owned()
            }
            Self::IdsInUse { name, .. } => format!(
                "it is of another root of this machine, of a user or of another program's container, and could write each \
                 other's files: an update of `{name}` with `idmap = \"shared\"`, and one without, gives it other ids while \
                 that runs; `ids.skip_running = false` in the host configuration lets both run"
            ),
            Self::Mounted { mount, .. } => {
                format!("nothing was changed; `umount {}` first, what is mounted there stays", mount.display())
            }
            Self::LimitAtBoot { .. } => {
                "LXC's log names the limit; `resources` of the container file asks for it, or it was set by hand".to_owned()
            }
            Self::LimitUnheld { .. } => {
                "`resources.required = false` in the container file lets it run without them, and tells of each".to_owned()
            }
            Self::Device { device, why: DeviceFault::Missing, .. } => {
                format!("`devices.\"{device}\".required = false` in the container file lets it run without")
            }
            Self::Device { device, why: DeviceFault::NotAllowed, .. } => {
                format!(
                    "where its harm is known, the host configuration can give it to those that ask for it: `allow_devices = \
                     [\"{device}\"]`; docs/security.md says which need no such line"
                )
            }
            Self::LimitAbove { .. } => {
                "`limits.ceilings` of the host configuration says so, and of processes `limits.pids`, too".to_owned()
            }
            Self::LimitBelowUse { .. } => {
                "it has the limit that it had: end something in the guest first; `--force` ends its largest \
                 processes, on cgroup v2 alone"
                    .to_owned()
            }
            Self::NoBridge { bridge, .. } => {
                format!("`network.bridge` names it: `ip link add {bridge} type bridge`")
            }
            Self::MountSource { .. } => {
                "make or mount it on the host; with `optional` among its options the container starts without it"
                    .to_owned()
            }
            Self::Isolation { .. } => {
                "`network.isolation = false` in the host configuration starts containers that are not kept from each other"
                    .to_owned()
            }
            Self::Command { source: RunError::Folder { folder, .. }, .. } => {
                let from = if folder.is_absolute() { "" } else { ", from `/` on" };
                format!("the folder (`-w`) is a path of the guest{from}")
            }
            Self::NoAccount { missing, .. } if !missing.known.is_empty() => {
                format!("there are: {}", missing.known.join(", "))
            }
            Self::NoAccount { missing, .. } => {
                let ids = if missing.group { "`UID:GID`" } else { "`UID`" };
                format!("its own files name none; {ids} in numbers works all the same")
            }
            Self::Nft(error) if error.is_missing() => {
                "install nftables, or name its `nft` in the host configuration (`tools.nft`)".to_owned()
            }
            Self::Tool(tool::Error::Missing { program }) => {
                format!("install it, or say where `{}` is in the host configuration (`[tools]`)", program.display())
            }
            Self::Forward(ForwardError::NoAddress { .. }) => {
                "`network.ip` gives it a fixed one, `network.enableNat` one on the bridge that leads out".to_owned()
            }
            Self::Forward(ForwardError::NoAddressOf { .. }) => {
                "`network.ip` and `network.ip6` give it fixed ones; `listen` in `network.forwards` is of the same family"
                    .to_owned()
            }
            Self::Bridge(bridge::Error::AddressConflict { .. } | bridge::Error::RouteConflict { .. }) => {
                "take that away, or choose another network for the containers in the host configuration \
                 (`network.hostonly.address`, `network.internet.address`)"
                    .to_owned()
            }
            Self::Bridge(bridge::Error::NotABridge { .. }) => {
                "choose another name in the host configuration (`network.hostonly.bridge`, `network.internet.bridge`)"
                    .to_owned()
            }
            Self::Facts(_) => {
                "install LXC, or name its share folder in the host configuration (`paths.lxc_share`)"
                    .to_owned()
            }
            Self::Generations(GenerationsError::Missing { have, .. }) if !have.is_empty() => {
                let have: Vec<String> = have.iter().map(ToString::to_string).collect();
                format!("there are: {}", have.join(", "))
            }
            Self::Lease(LeaseError::RoutedPrefix { .. }) => {
                "leave `network.ip6` out: with `network.enableNat` the container has an address of that prefix".to_owned()
            }
            Self::Lease(LeaseError::AddressReserved { .. }) => {
                "`network.reserved` of the host configuration says so".to_owned()
            }
            Self::Lease(LeaseError::IdsExhausted { .. }) => {
                "`ids.ranges` of the host configuration names more, such as `[524288, 1879048191]` where neither systemd-nspawn nor \
                 Incus gives ids to containers; `ids.foreign` says where those of users are".to_owned()
            }
            Self::Lease(LeaseError::IdsTaken { owner, .. }) if owner.parse::<ContainerName>().is_ok() => {
                format!(
                    "an update of `{owner}` with `idmap = \"shared\"`, and one without, gives it other ids"
                )
            }
            Self::Original(OriginalError::List { path, .. } | OriginalError::Address { path, .. }) => {
                format!(
                    "it is read as data and never run: put {} right, or back from a backup",
                    path.display()
                )
            }
            Self::Resolver(ResolverError::Missing { .. }) => {
                "install dnsmasq (Debian: dnsmasq-base), or name it in the host configuration (`tools.dnsmasq`)".to_owned()
            }
            Self::Resolver(ResolverError::Start { words, .. }) => resolver::in_the_way(words)?.to_owned(),
            Self::NoPolicy => "say it with the call, or for all in the host configuration: `[generations]` with `keep`, `keep_days`, `keep_good`"
                .to_owned(),
            Self::Busy { pid, .. } | Self::HostBusy { pid, .. } => {
                let who = match pid {
                    Some(pid) => format!("`ps -fp {pid}` shows what it is doing"),
                    None => "try again".to_owned(),
                };
                format!("{who}; `timeouts.lock` in the host configuration says how long is waited")
            }
            Self::Nix(error) => error.hint()?,
            Self::Worker(WorkerError::None) if cfg!(not(feature = "liblxc")) => {
                "it is built without liblxc: install nixcloud-container-worker, or name it in the host configuration (`worker`)"
                    .to_owned()
            }
            Self::Worker(WorkerError::None) => {
                "call `nixcloud_container::worker::init()` first in `main`, or name an installed \
                 nixcloud-container-worker in the host configuration (`worker`)"
                    .to_owned()
            }
            Self::Worker(WorkerError::Store { .. }) => {
                "it takes a kernel with overlayfs (`metacopy`, `redirect_dir`), as root of the machine itself; `store = \"full\"` in \
                 the container file or in the host configuration shows all of the store"
                    .to_owned()
            }
            Self::Worker(WorkerError::Threads { .. }) => {
                "call it first in `main`, before a runtime or a logger makes threads (with tokio: build the runtime in `main` after \
                 it, in place of `#[tokio::main]`); or leave it out and name an installed nixcloud-container-worker in the \
                 host configuration (`worker`)"
                    .to_owned()
            }
            _ => return None,
        })
    }
}

/// The container that a folder is named after.
fn container_of(folder: Option<&std::path::Path>) -> Option<ContainerName> {
    folder?.file_name()?.to_str()?.parse().ok()
}

/// By the name of the file, which is all that is known of a record that cannot be read.
fn record_hint(error: &RecordError) -> Option<Hint> {
    let (RecordError::Read(FileError { path, .. })
    | RecordError::Damaged { path, .. }
    | RecordError::Misplaced { path, .. }) = error
    else {
        return None;
    };
    let name: ContainerName = path.file_stem()?.to_str()?.parse().ok()?;
    Some(
        Hint::from(Remedy::Repair { name: Some(name.clone()) })
            .words(" makes it anew of what there is; ")
            .remedy(Remedy::Terminate { name: name.clone() })
            .words(" and ")
            .remedy(Remedy::Destroy { name, force: true })
            .words(" work without"),
    )
}

fn activation_hint(name: &ContainerName, outcome: &FailedActivation) -> Option<Hint> {
    let name = name.clone();
    let run = |words: &[&str]| {
        let command = words.iter().map(|word| (*word).to_owned()).collect();
        Hint::from(Remedy::Run { name: name.clone(), command })
    };
    Some(match outcome {
        FailedActivation::NeedsRestart => Hint::from("restart it: ").remedy(Remedy::Restart { name }),
        FailedActivation::UnitsFailed { units } => match units.first() {
            Some(unit) => run(&["systemctl", "status", unit]).words(" shows why"),
            None => run(&["systemctl", "--failed"]).words(" names them"),
        },
        _ => return None,
    })
}

fn unready_hint(name: &ContainerName, missing: &Missing, why: Unready) -> Hint {
    let name = name.clone();
    let run = |words: &[&str]| {
        let command = words.iter().map(|word| (*word).to_owned()).collect();
        Hint::from("it runs on: ").remedy(Remedy::Run { name: name.clone(), command })
    };
    match (why, missing) {
        (Unready::Ended { .. }, _) => Hint::from(Remedy::Start { name })
            .words(" boots it again; one in the foreground shows what it says"),
        (Unready::Cancelled, _) => {
            Hint::from("it runs on: ").remedy(Remedy::Stop { name: Some(name) }).words(" shuts it down")
        }
        (_, Missing::Activation) => "it runs on; a start in the foreground shows what it says".into(),
        (_, Missing::System { .. }) => run(&["systemctl", "list-jobs"]).words(" shows what it waits for"),
        (_, Missing::Address { .. }) => run(&["ip", "address"]).words(" shows those that it has"),
        (_, Missing::Port { .. }) => run(&["ss", "-ltn"]).words(" shows who listens"),
        (_, Missing::Probe { .. }) => "it runs on; the probe by hand shows what it says".into(),
    }
}

fn state_hint(name: &ContainerName, state: State, action: Action) -> Option<Hint> {
    let name = || name.clone();
    let destroy = |force| Remedy::Destroy { name: name(), force };
    let terminate = || Remedy::Terminate { name: name() };
    Some(match (action, state) {
        (Action::Destroy, State::Creating) => Hint::from("wait for the process that makes it; ")
            .remedy(destroy(true))
            .words(" waits, and destroys it then"),
        (_, State::Creating) => "wait for the process that makes it".into(),
        (_, State::Destroying) => "wait for the process that removes it".into(),
        (_, State::Incomplete) => Hint::from(destroy(false)).words(" tidies it up"),
        // Only a running one can be asked to shut down.
        (Action::Destroy, State::Running | State::Frozen | State::Unreachable) => {
            let end = if state == State::Running { Remedy::Stop { name: Some(name()) } } else { terminate() };
            Hint::from(end).words(" first, or ").remedy(destroy(true))
        }
        (_, State::Unreachable) => {
            Hint::from("it was started in another network namespace, or its LXC monitor hangs; ")
                .remedy(terminate())
                .words(" ends it")
        }
        (Action::Enter | Action::Freeze | Action::Signal | Action::Await, State::Stopped) => {
            Hint::from(Remedy::Start { name: name() }).words(" boots it")
        }
        (_, State::Frozen) => Hint::from(Remedy::Unfreeze { name: name() }).words(" first"),
        _ => return None,
    })
}

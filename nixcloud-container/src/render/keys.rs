//! Which keys of LXC's configuration a container file may set, each matched whole and with its reason.
//!
//! The guest is hostile, and whoever writes a container file is careless at worst. A key is in these lists if no value of
//! it writes outside the guest's own namespaces and cgroups, runs a program of the host's, or takes from the host what a
//! limit of the host configuration keeps. Everything else is refused, since LXC grows keys, and a list of bad ones would
//! always be one release behind.

use crate::model::interface::InterfaceId;
use crate::model::name::InterfaceName;

/// The key of a mount; its value is judged apart.
pub(super) const MOUNT: &str = "lxc.mount.entry";

/// What describes the guest or acts in it alone.
const PLAIN: &[&str] = &[
    MOUNT,
    // Limits of the guest's own processes, set on its init. Not `memlock`, `msgqueue`, `sigpending`, `nice`, `rtprio`,
    // `rttime`: they give a share of what the host has once.
    "lxc.prlimit.as",
    "lxc.prlimit.core",
    "lxc.prlimit.cpu",
    "lxc.prlimit.data",
    "lxc.prlimit.fsize",
    "lxc.prlimit.nofile",
    "lxc.prlimit.nproc",
    "lxc.prlimit.stack",
    // The environment of the guest's init.
    "lxc.environment",
    // Which signal asks the guest's init for what.
    "lxc.signal.halt",
    "lxc.signal.reboot",
    "lxc.signal.stop",
    // What `lxc-autostart` and `list -l "-g GROUP"` read.
    "lxc.start.auto",
    "lxc.start.delay",
    "lxc.start.order",
    "lxc.group",
    // The personality and the host name of the guest.
    "lxc.arch",
    "lxc.uts.name",
    // Terminals of the guest's own devpts.
    "lxc.tty.max",
    "lxc.pty.max",
    // Memory of the monitor: limited below.
    "lxc.console.buffer.size",
    // The clocks of the guest's time namespace.
    "lxc.time.offset.boot",
    "lxc.time.offset.monotonic",
];

/// Files of the guest's own cgroup that limit it, on version 1 and 2. By name, since others of the same controllers act
/// beyond it: `cpuset.cpus.partition` takes processors away from the host, `cgroup.procs` moves processes, and
/// `pids.max` is `limits.pids` of the host configuration.
const CGROUP: &[&str] = &[
    "blkio.bfq.weight",
    "blkio.bfq.weight_device",
    "blkio.throttle.read_bps_device",
    "blkio.throttle.read_iops_device",
    "blkio.throttle.write_bps_device",
    "blkio.throttle.write_iops_device",
    "blkio.weight",
    "blkio.weight_device",
    "cpu.cfs_burst_us",
    "cpu.cfs_period_us",
    "cpu.cfs_quota_us",
    "cpu.idle",
    "cpu.max",
    "cpu.max.burst",
    "cpu.shares",
    "cpu.uclamp.max",
    "cpu.uclamp.min",
    "cpu.weight",
    "cpu.weight.nice",
    "cpuset.cpus",
    "cpuset.mems",
    // What a device node opens is for its owner to say, and the guest can make none.
    "devices.allow",
    "devices.deny",
    "io.bfq.weight",
    "io.latency",
    "io.max",
    "io.prio.class",
    "io.weight",
    "memory.high",
    "memory.kmem.limit_in_bytes",
    "memory.kmem.tcp.limit_in_bytes",
    "memory.limit_in_bytes",
    "memory.low",
    "memory.max",
    "memory.memsw.limit_in_bytes",
    "memory.min",
    "memory.oom.group",
    "memory.oom_control",
    "memory.soft_limit_in_bytes",
    "memory.swap.high",
    "memory.swap.max",
    "memory.swappiness",
    "memory.zswap.max",
    "memory.zswap.writeback",
    "misc.max",
    "net_cls.classid",
    "net_prio.ifpriomap",
    "rdma.max",
];

/// Page sizes come between: `hugetlb.2MB.max`.
const HUGETLB: &[&str] = &["limit_in_bytes", "max", "rsvd.limit_in_bytes", "rsvd.max"];

/// Settings below `kernel.` that each IPC namespace has of its own. The others are the host's, and LXC, which sets them as
/// root of the guest, fails the start.
const SYSCTL_IPC: &[&str] = &[
    "msg_next_id",
    "msgmax",
    "msgmnb",
    "msgmni",
    "sem",
    "sem_next_id",
    "shm_next_id",
    "shm_rmid_forced",
    "shmall",
    "shmmax",
    "shmmni",
];

/// What may be said of an interface that is not one of ours. By name, since their neighbours act on the host:
/// `veth.ipv4.route` adds to its routing table, `l2proxy` to its neighbours, `script.*` runs programs of its.
const NETWORK: &[&str] = &[
    "link",
    "flags",
    "name",
    "mtu",
    "hwaddr",
    "ipv4.address",
    "ipv4.gateway",
    "ipv6.address",
    "ipv6.gateway",
    "veth.pair",
    "veth.mode",
    "veth.vlan.id",
    "veth.vlan.tagged.id",
    "macvlan.mode",
    "ipvlan.mode",
    "ipvlan.isolation",
];

/// Modes that take a network card from the host, or make it route.
const NETWORK_HOST_MODES: &[(&str, &str)] = &[("veth.mode", "router"), ("macvlan.mode", "passthru")];

/// Interface types that take nothing away from the host and do not share its network namespace.
const NETWORK_TYPES: &[&str] = &["veth", "macvlan", "ipvlan", "empty"];

/// The largest buffer of a console, which is memory of the host's that no limit of the guest counts.
const CONSOLE_BUFFER: u64 = 16 << 20;

/// Whether a key is one word of LXC's, with nothing in it that a file name could be made of: also where the host
/// configuration allows it, since no configuration means `lxc.cgroup2../x`.
pub(super) fn is_whole(key: &str) -> bool {
    key.starts_with("lxc.")
        && key.split('.').all(|part| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
        })
}

/// Whether a key and its value keep the protection.
pub(super) fn judge(key: &str, value: &str) -> Result<(), String> {
    if let Some(rest) = key.strip_prefix("lxc.net.") {
        return network(rest, value);
    }
    let cgroup = key.strip_prefix("lxc.cgroup.").or_else(|| key.strip_prefix("lxc.cgroup2."));
    match (cgroup, key.strip_prefix("lxc.sysctl.")) {
        (Some(item), _) => self::cgroup(key, item)?,
        (_, Some(setting)) => sysctl(key, setting)?,
        _ if PLAIN.contains(&key) => {}
        _ => return Err(unknown(key)),
    }
    if value.is_empty() {
        return Err("an empty value clears what nixcloud-container set".to_owned());
    }
    match key {
        "lxc.environment" if !value.contains('=') => {
            Err("without `=` the variable would be that of whoever starts the container: write `NAME=VALUE`"
                .to_owned())
        }
        "lxc.console.buffer.size"
            if value != "auto" && bytes(value).is_none_or(|size| size > CONSOLE_BUFFER) =>
        {
            Err("the buffer is memory of the host: `auto`, or at most 16MB".to_owned())
        }
        _ => Ok(()),
    }
}

fn unknown(key: &str) -> String {
    format!(
        "it is none of the keys that surely keep the container's protection; the host configuration can allow it by \
         name (`allow_lxc_keys = [\"{key}\"]`)"
    )
}

fn cgroup(key: &str, item: &str) -> Result<(), String> {
    let hugetlb = item.strip_prefix("hugetlb.").and_then(|rest| rest.split_once('.'));
    if CGROUP.contains(&item) || hugetlb.is_some_and(|(_, limit)| HUGETLB.contains(&limit)) {
        return Ok(());
    }
    // LXC's own keys, and the kernel's files that say who is in a cgroup and what may be below it.
    match item.split('.').next().unwrap_or(item) {
        "dir" | "relative" | "pids" | "cgroup" | "freezer" | "tasks" | "notify_on_release"
        | "release_agent" => Err(
            "where the guest's cgroups are, who is in them and how many processes it may have is the host \
                 configuration's to say (`limits.pids`)"
                .to_owned(),
        ),
        _ => Err(unknown(key)),
    }
}

fn sysctl(key: &str, setting: &str) -> Result<(), String> {
    let guests = match setting.split_once('.') {
        Some(("kernel", name)) => SYSCTL_IPC.contains(&name),
        // The guest's network namespace, and its message queues.
        Some(("net", _)) => true,
        Some(("fs", name)) => name.starts_with("mqueue."),
        _ => false,
    };
    if guests {
        return Ok(());
    }
    Err(format!(
        "the kernel has this setting once, for host and guests: set it on the host (`{setting}` of sysctl), or take the \
         line out. A guest has `net.*`, `fs.mqueue.*` and the `kernel.` settings {} of its own; the host configuration \
         can allow it by name (`allow_lxc_keys = [\"{key}\"]`)",
        SYSCTL_IPC.join(", ")
    ))
}

/// A size as LXC reads it: a number with or without a unit of 1024s.
fn bytes(value: &str) -> Option<u64> {
    let digits = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let (number, unit) = value.split_at(digits);
    let shift = match unit.trim() {
        "" | "B" => 0,
        "kB" | "KB" => 10,
        "MB" => 20,
        "GB" => 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn network(rest: &str, value: &str) -> Result<(), String> {
    let Some((index, item)) = rest.split_once('.') else {
        return Err("it clears an interface; `network.*` of the container file describes ours".to_owned());
    };
    let Ok(index) = index.parse::<u32>() else {
        return Err("interfaces are numbered".to_owned());
    };
    if index < 2 {
        return Err(
            "interfaces 0 and 1 are described by `network.*` of the container file; use 2 and up".to_owned()
        );
    }
    if value.is_empty() {
        return Err("a value is missing".to_owned());
    }
    if item == "type" {
        return if NETWORK_TYPES.contains(&value) {
            Ok(())
        } else {
            Err(format!("of the interface types, {} keep the host apart", NETWORK_TYPES.join(", ")))
        };
    }
    if NETWORK_HOST_MODES.contains(&(item, value)) {
        return Err("this mode acts on the host's own network".to_owned());
    }
    // LXC gives them to a shell where a script is set, and others would read them as an option.
    if matches!(item, "link" | "veth.pair" | "name")
        && let Err(error) = value.parse::<InterfaceName>()
    {
        return Err(error.to_string());
    }
    // What the packet filter and other containers' ports go by.
    if item == "veth.pair" && InterfaceId::of_host_name(value).is_some() {
        return Err("a container's own interface has this name".to_owned());
    }
    if NETWORK.contains(&item) {
        Ok(())
    } else {
        Err("this key acts on the host; the host configuration can allow it by name (`allow_lxc_keys`)"
            .to_owned())
    }
}

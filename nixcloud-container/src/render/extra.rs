//! `lxcExtraConfig` and items that are given beside it: which keys keep the protection, and mount entries as values.

use std::fmt::Write as _;
use std::path::{Component, Path, PathBuf};

use super::keys::{self, MOUNT};

/// One `key = value` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraLine {
    /// The line's number in `lxcExtraConfig`, from 1; `None` for an item that was given beside it.
    pub number: Option<usize>,
    /// A name for the source of a mount, which no other line has.
    pub place: String,
    /// The LXC key.
    pub key: String,
    /// Its value, as LXC would read it.
    pub value: String,
}

/// A line of `lxcExtraConfig`, or an item given beside it, that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}`{line}`: {why}", place(*.number))]
#[non_exhaustive]
pub struct ExtraError {
    /// The line's number, from 1; `None` for an item.
    pub number: Option<usize>,
    /// The line.
    pub line: String,
    /// Why it is refused.
    pub why: String,
}

fn place(number: Option<usize>) -> String {
    number.map_or_else(
        || "LXC configuration item ".to_owned(),
        |number| format!("lxcExtraConfig line {number}, "),
    )
}

/// An item for one boot that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{key} = {value}` cannot be set for one boot: {why}")]
#[non_exhaustive]
pub struct ItemError {
    /// The LXC key.
    pub key: String,
    /// Its value.
    pub value: String,
    /// Why it is refused.
    pub why: String,
}

/// Judges one item as a line of `lxcExtraConfig` is judged.
///
/// # Errors
/// When it is refused.
pub(super) fn item(key: &str, value: &str, allowed: &[String]) -> Result<(), ItemError> {
    let refuse = |why: String| ItemError { key: key.to_owned(), value: value.to_owned(), why };
    check(key, value, allowed).map_err(refuse)
}

/// Mount options, whole words. LXC finds some of its own by `strstr` and cuts them out of the text, so that
/// `rwidmap=container` is `rw` *and* `idmap=container` to it: what is not just one of these is refused.
const OPTIONS: &[&str] = &[
    "bind",
    "rbind",
    "ro",
    "rw",
    "defaults",
    "optional",
    "create=dir",
    "create=file",
    "idmap=container",
    "nosuid",
    "nodev",
    "noexec",
    "noatime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "sync",
    "dirsync",
    "private",
    "rprivate",
    "slave",
    "rslave",
];

/// Options with a number, of file systems in memory.
const NUMBERS: &[&str] = &["size", "mode", "nr_inodes", "uid", "gid"];

/// Splits `lxcExtraConfig` as LXC reads a file and refuses what would undo the protection.
/// `allowed` are the keys that the host configuration allows by name.
///
/// # Errors
/// The first line that is refused.
pub fn parse(text: &str, allowed: &[String]) -> Result<Vec<ExtraLine>, ExtraError> {
    each(text, allowed).filter_map(Result::transpose).collect()
}

/// As [`parse`], but what is refused is told apart, with mount entries that are: for lines that nobody can change.
pub fn keep(text: &str, allowed: &[String]) -> (Vec<ExtraLine>, Vec<ExtraError>) {
    let (mut kept, mut refused) = (Vec::new(), Vec::new());
    for line in each(text, allowed).filter_map(Result::transpose) {
        let judged = line.and_then(|line| {
            if line.key != MOUNT {
                return Ok(line);
            }
            let refuse =
                |why| ExtraError { number: line.number, line: format!("{} = {}", line.key, line.value), why };
            MountEntry::parse(&line.value).map_err(refuse)?;
            Ok(line)
        });
        match judged {
            Ok(line) => kept.push(line),
            Err(error) => refused.push(error),
        }
    }
    (kept, refused)
}

/// Each line; `None` for one that says nothing.
fn each<'a>(
    text: &'a str,
    allowed: &'a [String],
) -> impl Iterator<Item = Result<Option<ExtraLine>, ExtraError>> + 'a {
    text.lines().enumerate().map(|(index, raw)| {
        let line = raw.trim();
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        let number = Some(index + 1);
        let refuse = |why: String| ExtraError { number, line: line.to_owned(), why };
        let Some((key, value)) = line.split_once('=') else {
            return Err(refuse("it is not `key = value`".to_owned()));
        };
        let (key, value) = (key.trim(), unquote(value.trim()));
        check(key, value, allowed).map_err(refuse)?;
        let place = format!("extra-{}", index + 1);
        Ok(Some(ExtraLine { number, place, key: key.to_owned(), value: value.to_owned() }))
    })
}

/// Items that were given beside `lxcExtraConfig`, judged as its lines are. `kind` is a word for their places.
///
/// # Errors
/// The first item that is refused.
pub fn items(
    items: &[(String, String)],
    kind: &str,
    allowed: &[String],
) -> Result<Vec<ExtraLine>, ExtraError> {
    let mut lines = Vec::with_capacity(items.len());
    for (index, (key, value)) in items.iter().enumerate() {
        let (key, value) = (key.trim(), value.trim());
        let refuse = |why: String| ExtraError { number: None, line: format!("{key} = {value}"), why };
        check(key, value, allowed).map_err(refuse)?;
        let place = format!("{kind}-{}", index + 1);
        lines.push(ExtraLine { number: None, place, key: key.to_owned(), value: value.to_owned() });
    }
    Ok(lines)
}

/// Whether LXC reads it as it is judged here, and whether it keeps the protection.
fn check(key: &str, value: &str, allowed: &[String]) -> Result<(), String> {
    let odd = |text: &str| text.contains(|c: char| c.is_control() && c != '\t');
    if odd(key) || odd(value) {
        return Err("it holds a control character".to_owned());
    }
    if !keys::is_whole(key) {
        return Err(format!("`{key}` is no key of LXC's configuration"));
    }
    // LXC would take off a second pair, and then see another value than the one judged here.
    if value.starts_with(['"', '\'']) {
        return Err("a value within quotes is not quoted again".to_owned());
    }
    if allowed.iter().any(|pattern| matches(pattern, key)) { Ok(()) } else { keys::judge(key, value) }
}

/// LXC takes one pair of quotes off a value.
fn unquote(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return inner;
        }
    }
    value
}

pub(super) fn matches(pattern: &str, key: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => key.len() > start.len() && key.starts_with(start),
        None => key == pattern,
    }
}

/// An `lxc.mount.entry`: the fields of fstab(5), decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MountEntry {
    pub(super) source: String,
    pub(super) target: String,
    pub(super) kind: String,
    pub(super) options: Vec<String>,
}

impl MountEntry {
    /// Reads a value and refuses what would cover or open one of our own mounts.
    pub(super) fn parse(value: &str) -> Result<Self, String> {
        let fields: Vec<&str> = value.split_ascii_whitespace().collect();
        let [source, target, kind, options, rest @ ..] = fields.as_slice() else {
            return Err("a mount entry is `SOURCE TARGET TYPE OPTIONS [DUMP PASS]`".to_owned());
        };
        if rest.len() > 2 {
            return Err("a mount entry has at most six fields; a blank in a path is written \\040".to_owned());
        }
        let entry = Self {
            source: decode(source),
            target: decode(target),
            kind: decode(kind),
            options: options.split(',').map(str::to_owned).collect(),
        };
        entry.judge()?;
        Ok(entry)
    }

    pub(super) fn has(&self, option: &str) -> bool {
        self.options.iter().any(|have| have == option)
    }

    fn is_bind(&self) -> bool {
        self.has("bind") || self.has("rbind")
    }

    /// The host path that is to be there when the container starts.
    pub(super) fn needs(&self) -> Option<PathBuf> {
        (self.is_bind() && !self.has("optional")).then(|| self.source())
    }

    /// Whether the worker must lock its source read-only before LXC sees it.
    pub(super) fn locks(&self) -> bool {
        self.is_bind() && self.has("ro")
    }

    fn judge(&self) -> Result<(), String> {
        // LXC 5 matches options by prefix and took `bind.ro` for a read-write `bind`; newer ones do not know it.
        if let Some(odd) = self.options.iter().find(|option| !is_option(option)) {
            let meant = if odd.starts_with("bind.") { "; did you mean `bind,ro`?" } else { "" };
            return Err(format!(
                "mount option `{odd}` is not one that is known to keep the protection{meant}"
            ));
        }
        if self.has("ro") && self.has("rw") {
            return Err("a mount is `ro` or `rw`, not both".to_owned());
        }
        let target = Path::new(&self.target);
        if target.is_absolute() {
            return Err(
                "the target is relative to the guest's root: write it without the leading `/`".to_owned()
            );
        }
        if target.components().next().is_none()
            || target.components().any(|part| !matches!(part, Component::Normal(_)))
        {
            return Err("the target is to be a plain path below the guest's root".to_owned());
        }
        for ours in ["nix/store", "init"] {
            let ours = Path::new(ours);
            if target.starts_with(ours) || ours.starts_with(target) {
                return Err(format!("the target would cover our mount on /{}", ours.display()));
            }
        }
        if self.is_bind() && !Path::new(&self.source).is_absolute() {
            return Err("the source of a bind is to be an absolute path".to_owned());
        }
        if self.has("idmap=container") && !self.locks() {
            return Err("an idmapped folder that the guest can write would let it make files of host root; \
                        use `bind,ro,idmap=container`"
                .to_owned());
        }
        Ok(())
    }

    /// The entry as a value of `lxc.mount.entry`, from `source`.
    pub(super) fn render(&self, source: &Path) -> String {
        let source = encode(&source.to_string_lossy());
        format!("{source} {} {} {} 0 0", encode(&self.target), encode(&self.kind), self.options.join(","))
    }

    pub(super) fn source(&self) -> PathBuf {
        PathBuf::from(&self.source)
    }
}

fn is_option(option: &str) -> bool {
    OPTIONS.contains(&option)
        || option.split_once('=').is_some_and(|(name, value)| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'%';
            NUMBERS.contains(&name) && !value.is_empty() && value.bytes().all(plain)
        })
}

/// fstab(5) writes blanks as `\040`.
fn decode(field: &str) -> String {
    let mut text = String::with_capacity(field.len());
    let mut rest = field;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(byte) if byte.is_ascii() => {
                text.push(char::from(byte));
                rest = &rest[at + 4..];
            }
            _ => {
                text.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    text.push_str(rest);
    text
}

/// The opposite of [`decode`].
pub(super) fn encode(text: &str) -> String {
    let mut field = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, ' ' | '\t' | '\n' | '\\') {
            // Writing to a String cannot fail.
            let _ = write!(field, "\\{:03o}", u32::from(c));
        } else {
            field.push(c);
        }
    }
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &str) -> String {
        parse(line, &[]).map(|_| ()).expect_err(line).why
    }

    /// Each allowed key is matched whole, and so is what follows a prefix of LXC's.
    #[test]
    fn a_key_is_matched_whole_also_where_the_host_allows_its_kind() {
        let all = ["lxc.cgroup.*", "lxc.cgroup2.*", "lxc.sysctl.*", "lxc.net.*"].map(str::to_owned);
        for line in [
            "lxc.cgroup2../pids.max = max",
            "lxc.cgroup2.memory/../../pids.max = max",
            "lxc.cgroup2.memory..max = 1",
            "lxc.cgroup2..memory.max = 1",
            "lxc.cgroup2.memory.max. = 1",
            "lxc.cgroup./tasks = 1",
            "lxc.sysctl.net/../kernel.core_pattern = x",
            "lxc.sysctl..net.x = 1",
            "lxc.sysctl.net.ipv4/x = 1",
            "lxc.net.2./script.up = /bin/sh",
            "lxc.net.2..type = veth",
        ] {
            assert!(parse(line, &all).is_err(), "{line} passed though no key");
            assert!(refused(line).contains("no key of LXC"), "{line}: {}", refused(line));
        }
    }

    #[test]
    fn what_follows_a_prefix_of_keys_is_known_by_name() {
        for line in [
            "lxc.cgroup2.cgroup.procs = 1",
            "lxc.cgroup.cgroup.procs = 1",
            "lxc.cgroup2.cgroup.threads = 1",
            "lxc.cgroup2.cgroup.type = threaded",
            "lxc.cgroup2.cgroup.freeze = 1",
            "lxc.cgroup2.cgroup.kill = 1",
            "lxc.cgroup2.cgroup.max.descendants = max",
            "lxc.cgroup2.cgroup.subtree_control = -pids",
            "lxc.cgroup.tasks = 1",
            "lxc.cgroup.notify_on_release = 1",
            "lxc.cgroup.release_agent = /bin/sh",
            "lxc.cgroup.freezer.state = FROZEN",
            "lxc.cgroup2.cpuset.cpus.partition = root",
            "lxc.cgroup2.cpuset.cpus.exclusive = 0",
            "lxc.cgroup.cpuset.cpu_exclusive = 1",
            "lxc.cgroup.cpu.rt_runtime_us = 950000",
            "lxc.cgroup2.hugetlb.2MB.current = 1",
            "lxc.sysctl.kernel.core_pattern = |/bin/sh",
            "lxc.sysctl.kernel.pid_max = 4194304",
            "lxc.sysctl.kernel.shmmaxx = 1",
            "lxc.sysctl.vm.swappiness = 1",
            "lxc.sysctl.fs.file-max = 1",
            "lxc.sysctl.fs.mqueuex = 1",
            "lxc.sysctl.user.max_user_namespaces = 1",
            "lxc.sysctl.net = 1",
            "lxc.environment = SECRET",
            "lxc.signal.new = SIGTERM",
            "lxc.start.new = 1",
            "lxc.time.offset.new = 1",
            "lxc.console.buffer.size = 1GB",
            "lxc.console.buffer.size = 17MB",
            "lxc.console.buffer.size = 1TB",
            "lxc.console.size = 1MB",
            "lxc.console.rotate = 1",
            "lxc.console.path = /dev/tty1",
            "lxc.log.level = 0",
            "lxc.log.syslog = daemon",
            "lxc.tty.dir = /etc",
            "lxc.mount.auto = proc:rw sys:rw",
            "lxc.environment.hooks = A=b",
            "lxc.environment.runtime = A=b",
            "lxc.net.2.link = a;reboot",
            "lxc.net.2.link = $(id)",
            "lxc.net.2.veth.pair = a b",
            "lxc.net.2.veth.pair = nci-00000001",
            "lxc.net.2.veth.pair = ncn-00000001",
            "lxc.net.2.name = -x",
            "lxc.net.2.script.down = /bin/sh",
            "lxc.net.2.type.x = veth",
        ] {
            refused(line);
        }
        for line in [
            "lxc.cgroup2.memory.swap.max = 0",
            "lxc.cgroup2.hugetlb.2MB.rsvd.max = 0",
            "lxc.cgroup.memory.memsw.limit_in_bytes = 1G",
            "lxc.sysctl.net.ipv4.ip_forward = 1",
            "lxc.sysctl.kernel.shmmax = 1",
            "lxc.sysctl.kernel.sem = 1 2 3 4",
            "lxc.sysctl.fs.mqueue.msg_max = 20",
            "lxc.signal.halt = SIGPWR",
            "lxc.console.buffer.size = auto",
            "lxc.console.buffer.size = 4MB",
            "lxc.environment = A=",
            "lxc.net.2.link = br-0.1_a",
        ] {
            parse(line, &[]).unwrap();
        }
    }

    #[test]
    fn keys_that_undo_the_protection_are_refused() {
        for line in [
            "lxc.idmap =",
            "lxc.idmap = u 0 0 4294967295",
            "lxc.rootfs.path = /",
            "lxc.rootfs.options = idmap=container",
            "lxc.hook.pre-start = /bin/sh",
            "lxc.hook.mount =",
            "lxc.include = /etc/passwd",
            "lxc.apparmor.profile = unconfined",
            "lxc.selinux.context = x",
            "lxc.cap.keep = none",
            "lxc.cap.drop =",
            "lxc.seccomp.profile =",
            "lxc.namespace.share.net = 1",
            "lxc.namespace.clone = mount",
            "lxc.init.cmd = /bin/sh",
            "lxc.init.uid = 1",
            "lxc.mount.fstab = /etc/fstab",
            "lxc.mount.auto = cgroup-full:rw:force",
            "lxc.mount.entry =",
            "lxc.log.file = /etc/passwd",
            "lxc.console.logfile = /etc/passwd",
            "lxc.cgroup2 =",
            "lxc.cgroup2.devices.allow =",
            "lxc.cgroup.dir = /",
            "lxc.cgroup.dir.container = /",
            "lxc.cgroup.relative = 1",
            "lxc.net =",
            "lxc.net.0.type = none",
            "lxc.net.0.ipv4.address = 10.0.0.1/8",
            "lxc.net.2 =",
            "lxc.net.2.type = none",
            "lxc.net.2.type = phys",
            "lxc.net.2.script.up = /bin/sh",
            "lxc.net.2.veth.ipv4.route = 10.0.0.0/8",
            "lxc.net.2.veth.mode = router",
            "lxc.net.2.macvlan.mode = passthru",
            "lxc.net.2.l2proxy = 1",
            // Written by LXC as host root, below a path that the guest shapes.
            "lxc.proc.oom_score_adj = 10",
            "lxc.proc.root.etc.crontab = x",
            "lxc.prlimit.rtprio = 99",
            "lxc.cgroup2.pids.max = max",
            "lxc.cgroup.pids.max = max",
            "lxc.cgroup.devices.allow = \"''\"",
            "lxc.execute.cmd = x",
            "lxc.some.new.key = 1",
            "LXC.IDMAP = x",
        ] {
            refused(line);
        }
    }

    #[test]
    fn harmless_keys_pass_and_the_host_can_allow_others() {
        let text = "# limits\n\n  lxc.cgroup2.memory.max = 1G\nlxc.net.2.type=veth\nlxc.net.2.link = br9\nlxc.environment = \"A=b c\"\n";
        let lines = parse(text, &[]).unwrap();
        assert_eq!(lines.len(), 4);
        assert_eq!((lines[0].number, lines[0].value.as_str()), (Some(3), "1G"));
        assert_eq!(lines[3].value, "A=b c");
        assert!(parse("lxc.hook.mount = /x", &["lxc.hook.*".to_owned()]).is_ok());
        assert!(parse("lxc.hooks = /x", &["lxc.hook.*".to_owned()]).is_err());
    }

    #[test]
    fn errors_name_the_line() {
        let error = parse("lxc.group = a\nlxc.idmap =", &[]).unwrap_err();
        assert_eq!(error.number, Some(2));
        assert!(error.to_string().starts_with("lxcExtraConfig line 2, `lxc.idmap =`: "), "{error}");
        assert_eq!(refused("nonsense"), "it is not `key = value`");
    }

    #[test]
    fn items_are_judged_as_lines_are_and_are_one_line_each() {
        let item = |key: &str, value: &str| items(&[(key.to_owned(), value.to_owned())], "item", &[]);
        let line = item("lxc.group", " shop ").unwrap().remove(0);
        assert_eq!((line.number, line.value.as_str(), line.place.as_str()), (None, "shop", "item-1"));
        for (key, value) in [
            ("lxc.idmap", "u 0 0 4294967295"),
            ("lxc.hook.mount", "/bin/sh"),
            ("lxc.group", "a\nlxc.idmap ="),
            ("lxc.group\nlxc.idmap", "x"),
            ("lxc.cgroup2.dir = ", "x"),
            ("lxc.cgroup2.dir =", "x"),
            ("lxc.sysctl.a b", "x"),
            ("lxc.group", "\"x\""),
            ("lxc.group", ""),
            ("group", "x"),
            ("", "x"),
        ] {
            let error = item(key, value).expect_err(key);
            assert!(error.to_string().starts_with("LXC configuration item `"), "{error}");
        }
        assert!(items(&[("lxc.hook.mount".into(), "/x".into())], "item", &["lxc.hook.*".to_owned()]).is_ok());
    }

    /// Fault 13 of the shell original: `bind.ro` mounted read-write.
    #[test]
    fn field_13_bind_ro_with_a_dot_is_refused() {
        let error = MountEntry::parse("/data data none defaults,bind.ro 0 0").unwrap_err();
        assert!(error.contains("`bind.ro`") && error.contains("bind,ro"), "{error}");
    }

    #[test]
    fn mount_entries_never_cover_ours_nor_open_the_host() {
        for bad in [
            "/x nix/store none bind 0 0",
            "/x nix none bind 0 0",
            "/x nix/store/abc none bind 0 0",
            "/x init none bind 0 0",
            "/x init/profile none bind 0 0",
            "/x ../x none bind 0 0",
            "/x /abs none bind 0 0",
            "/x . none bind 0 0",
            "x data none bind 0 0",
            "/x data none bind,idmap=container 0 0",
            "/x data none bind,rw,idmap=container 0 0",
            "/x data none bind,rwidmap=container 0 0",
            "/x data none bind,roidmap=container 0 0",
            "/x data none bind,ro,rw,idmap=container 0 0",
            "/x data none bind,ro,idmap=/proc/1/ns/user 0 0",
            "/x data none bind,ro=1 0 0",
            "/x data none bind,ro,relative 0 0",
            "/x data none bind,ro,remount 0 0",
            "/x data none bind,xoptional 0 0",
            "none data tmpfs size=1idmap=container 0 0",
            "/x data none",
        ] {
            assert!(MountEntry::parse(bad).is_err(), "{bad} passed");
        }
        let entry = MountEntry::parse("/my\\040data srv/data none bind,ro,optional,create=dir 0 0").unwrap();
        assert_eq!(entry.source, "/my data");
        assert!(entry.locks() && entry.has("optional"));
        assert_eq!(entry.render(Path::new("/l x")), "/l\\040x srv/data none bind,ro,optional,create=dir 0 0");
    }
}

//! Mount entries as values of `lxc.mount.entry`: which keep the protection.

use std::fmt::Write as _;
use std::path::{Component, Path, PathBuf};

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

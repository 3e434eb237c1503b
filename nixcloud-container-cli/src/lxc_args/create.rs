//! lxc-create, of create and update.

use nixcloud_container::{ContainerName, LogRequest};

use super::common::{self, LOGFILE, LOGPRIORITY, NAME};
use super::option::{Opt, valued};
use super::{ArgsError, Tool};

const ROOTFS_WHY: &str = "a container's root is a folder, and what is in it comes from the store";
const ROOTFS_INSTEAD: &str = "the container file says what it is made of";

/// The digits are LXC's numbers for options that were to have none: it takes them all the same.
pub(super) const OPTIONS: &[Opt] = &[
    NAME,
    valued("f", "config", "CONFIG", "the initial configuration").refused(common::RCFILE_WHY, common::RCFILE_INSTEAD),
    valued("t", "template", "TEMPLATE", "the template that fills it")
        .refused("the container file takes its place", "`nixcloud-container create NAME FILE`"),
    valued("B", "bdev", "BDEV", "the kind of backing store").refused(ROOTFS_WHY, ROOTFS_INSTEAD),
    valued("6", "dir", "DIR", "the folder of its root").refused(ROOTFS_WHY, ROOTFS_INSTEAD),
    valued("0", "lvname", "LVNAME", "the LVM volume").refused(ROOTFS_WHY, ROOTFS_INSTEAD),
    valued("1", "vgname", "VG", "the LVM volume group").refused(ROOTFS_WHY, ROOTFS_INSTEAD),
    valued("2", "thinpool", "TP", "the LVM thin pool").refused(ROOTFS_WHY, ROOTFS_INSTEAD),
    valued("3", "fstype", "TYPE", "the file system to make").refused(ROOTFS_WHY, ROOTFS_INSTEAD),
    valued("4", "fssize", "SIZE[U]", "its size").refused(ROOTFS_WHY, ROOTFS_INSTEAD),
    valued("5", "zfsroot", "PATH", "the ZFS root").refused(ROOTFS_WHY, ROOTFS_INSTEAD),
    valued("7", "rbdname", "RBDNAME", "the Ceph block device").refused(ROOTFS_WHY, ROOTFS_INSTEAD),
    valued("8", "rbdpool", "POOL", "its pool").refused(ROOTFS_WHY, ROOTFS_INSTEAD),
    valued("9", "rbduser", "RBDUSER", "its user (LXC 6)").refused(ROOTFS_WHY, ROOTFS_INSTEAD),
    valued("s", "define", "KEY=VAL", "an LXC configuration item")
        .does("stored with the container, checked as `lxcExtraConfig` is and added after it; `update` without `-s` keeps it")
        .extension(),
    LOGFILE.does("what liblxc logs while it looks at extra configuration goes there"),
    LOGPRIORITY,
];

/// What `-l` asks of create and update.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Create {
    /// Configuration items. `None` where no word said anything of them: those that are stored then stay. No word at
    /// all, `-l ""`, says that there are to be none.
    pub(crate) items: Option<Vec<(String, String)>>,
    pub(crate) log: LogRequest,
    pub(crate) quiet: bool,
}

impl Create {
    /// Reads the words.
    ///
    /// # Errors
    /// Words that are refused.
    pub(crate) fn parse(name: &ContainerName, words: &[String]) -> Result<Self, ArgsError> {
        const TOOL: Tool = Tool::Create;
        let parsed = common::read(TOOL, name, words)?;
        common::no_operands(TOOL, &parsed, "there is no template whose options it could be")?;
        let mut asked = Self { items: words.is_empty().then(Vec::new), ..Self::default() };
        for given in &parsed.options {
            match given.option.long {
                "define" => asked.items.get_or_insert_default().push(common::item(TOOL, given)?),
                "quiet" => asked.quiet = true,
                _ => _ = common::log(&mut asked.log, TOOL, given)?,
            }
        }
        Ok(asked)
    }
}

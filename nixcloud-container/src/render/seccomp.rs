//! The system calls that no guest gets: a profile of ours in place of LXC's, which it holds.

use crate::model::features::Features;

/// The profile of a guest with these features.
///
/// A call that needs no right and reaches what all guests and the host share is refused; what a user namespace confines
/// is not. LXC reads this file at each (re)boot of a guest and at each entry into it.
///
/// An argument that the kernel takes as 32 bits is compared as such: with an equality over all 64, `0x100000400` is
/// another number here and the same one there. `>` needs no mask: more bits only make a number larger.
/// The file has one set of rules for all architectures: LXC adds each to the compat ones, too, whatever the section.
#[must_use]
pub fn profile(features: Features) -> String {
    let Features { keyring, bpf, io_uring, user_namespaces, vsock, nesting: _ } = features;
    let parts = [
        (true, ALWAYS),
        (true, if vsock { SOCKETS_WITH_VSOCK } else { SOCKETS }),
        (!io_uring, IO_URING),
        (!keyring, KEYS),
        (!bpf, BPF),
        (!user_namespaces, USER_NAMESPACES),
    ];
    parts.into_iter().filter(|(has, _)| *has).map(|(_, part)| part).collect()
}

const ALWAYS: &str = "\
2
denylist
# Written by nixcloud-container, anew at each start: `features` of a container file leave parts of it out, and its LXC
# configuration names another file where `allow_lxc_keys = [\"lxc.seccomp.profile\"]` lets it. Comments stand in lines of
# their own.
[all]
# LXC's common.seccomp.
reject_force_umount
kexec_load errno 1
open_by_handle_at errno 1
init_module errno 1
finit_module errno 1
delete_module errno 1
kexec_file_load errno 1
# Leases (F_SETLEASE) and delegations (F_SETDELEG) need no right but to own the file, and guest root is shown the store as
# its owner: an `open` of the host's then waits for the guest. EINVAL is what a file system without leases says.
fcntl errno 22 [1,1024,SCMP_CMP_MASKED_EQ,0xffffffff]
fcntl64 errno 22 [1,1024,SCMP_CMP_MASKED_EQ,0xffffffff]
fcntl errno 22 [1,1040,SCMP_CMP_MASKED_EQ,0xffffffff]
fcntl64 errno 22 [1,1040,SCMP_CMP_MASKED_EQ,0xffffffff]
# Parts of the kernel that ordinary guests do not need, and that its switches may leave open.
perf_event_open errno 1
userfaultfd errno 1
";

const SOCKETS: &str = "\
# Of the families of sockets unix, inet, inet6, netlink and packet, not those above: vsock reaches the hypervisor or the
# virtual machines past every network namespace, the others load modules of the host. EAFNOSUPPORT is what a kernel
# without them says.
socket errno 97 [0,17,SCMP_CMP_GT]
socketpair errno 97 [0,17,SCMP_CMP_GT]
";

/// 18 and 19, 20 to 23, 24 to 31 and 32 to 39 by what their upper bits are, and all above 40: libseccomp takes one
/// comparison of an argument a rule.
const SOCKETS_WITH_VSOCK: &str = "\
# Of the families of sockets unix, inet, inet6, netlink, packet, and vsock (40), which was asked for.
socket errno 97 [0,18,SCMP_CMP_MASKED_EQ,0xfffffffe]
socket errno 97 [0,20,SCMP_CMP_MASKED_EQ,0xfffffffc]
socket errno 97 [0,24,SCMP_CMP_MASKED_EQ,0xfffffff8]
socket errno 97 [0,32,SCMP_CMP_MASKED_EQ,0xfffffff8]
socket errno 97 [0,40,SCMP_CMP_GT]
socketpair errno 97 [0,18,SCMP_CMP_MASKED_EQ,0xfffffffe]
socketpair errno 97 [0,20,SCMP_CMP_MASKED_EQ,0xfffffffc]
socketpair errno 97 [0,24,SCMP_CMP_MASKED_EQ,0xfffffff8]
socketpair errno 97 [0,32,SCMP_CMP_MASKED_EQ,0xfffffff8]
socketpair errno 97 [0,40,SCMP_CMP_GT]
";

const IO_URING: &str = "\
# Opens sockets, too, and past this profile. EPERM is what the kernel's own switch says.
io_uring_setup errno 1
io_uring_enter errno 1
io_uring_register errno 1
";

const KEYS: &str = "\
# Keys have no namespace: what a guest asks for is looked for by a program of host root. ENOSYS is a kernel without keys.
add_key errno 38
keyctl errno 38
request_key errno 38
";

const BPF: &str = "\
bpf errno 1
";

/// By system calls and not by `user.max_user_namespaces`, which guest root could raise again. The flags of `clone3` are in
/// memory, where no filter reads: ENOSYS makes libraries take `clone`.
const USER_NAMESPACES: &str = "\
# User namespaces (CLONE_NEWUSER) were not to be.
clone errno 1 [0,0x10000000,SCMP_CMP_MASKED_EQ,0x10000000]
unshare errno 1 [0,0x10000000,SCMP_CMP_MASKED_EQ,0x10000000]
clone3 errno 38
";

#[cfg(test)]
mod tests {
    use crate::model::features::Features;

    use super::profile;

    const ALL: Features = Features {
        nesting: true,
        keyring: true,
        bpf: true,
        io_uring: true,
        user_namespaces: true,
        vsock: true,
    };
    const NONE: Features = Features {
        nesting: false,
        keyring: false,
        bpf: false,
        io_uring: false,
        user_namespaces: false,
        vsock: false,
    };

    /// LXC cuts a name at its first blank, and takes what follows up to the first `[` for an action.
    #[test]
    fn every_line_is_one_that_lxc_reads() {
        for features in [ALL, NONE, Features::default()] {
            let profile = profile(features);
            let mut lines = profile.lines();
            assert_eq!((lines.next(), lines.next()), (Some("2"), Some("denylist")));
            for line in lines.filter(|line| !line.starts_with('#') && *line != "[all]") {
                assert!(!line.is_empty() && line == line.trim(), "{line:?}");
                let mut words = line.split(' ');
                let call = words.next().unwrap();
                assert!(
                    call.bytes()
                        .all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte.is_ascii_digit())
                );
                if call != "reject_force_umount" {
                    assert_eq!(words.next(), Some("errno"), "{line}");
                    words.next().unwrap().parse::<u8>().unwrap();
                }
                assert!(
                    words.next().is_none_or(|rule| rule.starts_with('[') && rule.ends_with(']')),
                    "{line}"
                );
            }
        }
    }

    /// What LXC 4.0.7, 5.0, 6.0 and 7.0 refuse.
    #[test]
    fn it_holds_what_lxc_refuses_whatever_the_features() {
        for line in [
            "reject_force_umount",
            "kexec_load errno 1",
            "open_by_handle_at errno 1",
            "init_module errno 1",
            "finit_module errno 1",
            "delete_module errno 1",
        ] {
            assert!(profile(ALL).lines().any(|ours| ours == line), "{line}");
        }
    }

    /// As the kernel compares: which families of sockets a guest gets.
    #[test]
    fn vsock_alone_is_added_to_the_families_of_sockets() {
        let refused = |profile: &str, family: u64| {
            profile.lines().filter_map(|line| line.strip_prefix("socket errno 97 ")).any(|rule| {
                let words: Vec<&str> = rule.trim_matches(['[', ']']).split(',').collect();
                let value: u64 = words[1].parse().unwrap();
                match words[2] {
                    "SCMP_CMP_GT" => family > value,
                    "SCMP_CMP_MASKED_EQ" => {
                        let mask = u64::from_str_radix(words[3].trim_start_matches("0x"), 16).unwrap();
                        family & mask == value
                    }
                    other => panic!("{other}"),
                }
            })
        };
        for family in 0..200_u64 {
            assert_eq!(refused(&profile(NONE), family), family > 17, "{family}");
            let with = family > 17 && family != 40;
            assert_eq!(refused(&profile(ALL), family), with, "{family}");
            // What the kernel takes for the same, and this for another: refused rather than let through.
            assert!(!with || refused(&profile(ALL), family | 1 << 32), "{family}");
        }
    }
}

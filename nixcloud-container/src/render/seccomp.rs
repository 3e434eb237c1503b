//! The system calls that no guest gets: a profile of ours in place of LXC's, which it holds.

/// A call that needs no right and reaches what all guests and the host share is refused; what a user namespace confines
/// is not. LXC reads this file at each (re)boot of a guest and at each entry into it.
///
/// An argument that the kernel takes as 32 bits is compared as such: with an equality over all 64, `0x100000400` is
/// another number here and the same one there. `>` needs no mask: more bits only make a number larger.
/// The file has one set of rules for all architectures: LXC adds each to the compat ones, too, whatever the section.
pub const PROFILE: &str = "\
2
denylist
# Written by nixcloud-container, anew at each start: the guest's LXC configuration names another file where
# `allow_lxc_keys = [\"lxc.seccomp.profile\"]` lets it. Comments stand in lines of their own.
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
# Of the families of sockets unix, inet, inet6, netlink and packet, not those above: vsock reaches the hypervisor or the
# virtual machines past every network namespace, the others load modules of the host. EAFNOSUPPORT is what a kernel
# without them says.
socket errno 97 [0,17,SCMP_CMP_GT]
socketpair errno 97 [0,17,SCMP_CMP_GT]
# Opens sockets, too, and past this profile. EPERM is what the kernel's own switch says.
io_uring_setup errno 1
io_uring_enter errno 1
io_uring_register errno 1
# Keys have no namespace: what a guest asks for is looked for by a program of host root. ENOSYS is a kernel without keys.
add_key errno 38
keyctl errno 38
request_key errno 38
# Parts of the kernel that ordinary guests do not need, and that its switches may leave open.
bpf errno 1
perf_event_open errno 1
userfaultfd errno 1
";

#[cfg(test)]
mod tests {
    use super::PROFILE;

    /// LXC cuts a name at its first blank, and takes what follows up to the first `[` for an action.
    #[test]
    fn every_line_is_one_that_lxc_reads() {
        let mut lines = PROFILE.lines();
        assert_eq!((lines.next(), lines.next()), (Some("2"), Some("denylist")));
        for line in lines.filter(|line| !line.starts_with('#') && *line != "[all]") {
            assert!(!line.is_empty() && line == line.trim(), "{line:?}");
            let mut words = line.split(' ');
            let call = words.next().unwrap();
            assert!(
                call.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte.is_ascii_digit())
            );
            if call != "reject_force_umount" {
                assert_eq!(words.next(), Some("errno"), "{line}");
                words.next().unwrap().parse::<u8>().unwrap();
            }
            assert!(words.next().is_none_or(|rule| rule.starts_with('[') && rule.ends_with(']')), "{line}");
        }
    }

    /// What LXC 4.0.7, 5.0, 6.0 and 7.0 refuse.
    #[test]
    fn it_holds_what_lxc_refuses() {
        for line in [
            "reject_force_umount",
            "kexec_load errno 1",
            "open_by_handle_at errno 1",
            "init_module errno 1",
            "finit_module errno 1",
            "delete_module errno 1",
        ] {
            assert!(PROFILE.lines().any(|ours| ours == line), "{line}");
        }
    }
}

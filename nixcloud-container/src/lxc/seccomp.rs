//! The part of a guest's seccomp profile that LXC's format cannot say: sockets by the other entries of x86.
//!
//! To libseccomp, `socket` of 32-bit x86 is no number but a kind of `socketcall`, and LXC leaves such names out. So the
//! worker has a filter of its own before it calls liblxc, which the guest and each command inherit through fork and exec.
//! LXC's monitor and our hooks have it too, and do not notice: it looks at 32-bit programs alone. The kernel remembers per
//! number that it lets all others through, and does not run it for them.

use ::nix::errno::Errno;

use super::error::Error;
use super::handle::Handle;

/// What `render` writes beside the container's configuration.
const OURS: &str = "seccomp";

impl Handle<'_> {
    /// Stacks the filter on this process, for good, where the container has our profile. One that names a profile of its own
    /// has asked for what is in that, and has no other.
    ///
    /// # Errors
    /// When the kernel refuses: then the guest would have what it was not to have.
    pub(super) fn filter_sockets(&self) -> Result<(), Error> {
        let ours = self.address().directory().join(OURS);
        let profile = self.config_item("lxc.seccomp.profile")?;
        // Without it, LXC leaves the profile of whoever is confined already out, and says nothing. Configurations that we
        // rendered before we knew that do not have it.
        let nesting = self.config_item("lxc.seccomp.allow_nesting")?;
        if profile.is_none_or(|profile| *ours != *profile) || nesting.as_deref() != Some("1") {
            return Ok(());
        }
        stack().map_err(|source| Error::System { what: "setting the filter of system calls", source })
    }
}

/// Other processors have one entry, or LXC's own rule holds for each.
#[cfg(not(target_arch = "x86_64"))]
fn stack() -> Result<(), Errno> {
    Ok(())
}

#[cfg(target_arch = "x86_64")]
fn stack() -> Result<(), Errno> {
    let mut code = x86::program();
    let length = u16::try_from(code.len()).map_err(|_| Errno::EINVAL)?;
    let program = libc::sock_fprog { len: length, filter: code.as_mut_ptr() };
    // Not by way of `no_new_privs`, which would take set-uid programs from the guest: root may without.
    // SAFETY: the kernel copies the program, which outlives the call, and changes nothing of it.
    let done =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0_u32, &raw const program) };
    if done == 0 { Ok(()) } else { Err(Errno::last()) }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use libc::{
        BPF_ABS, BPF_JEQ, BPF_JGT, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, SECCOMP_RET_ALLOW,
        SECCOMP_RET_ERRNO, sock_filter,
    };

    const I386: u32 = 0x4000_0003;
    const X86_64: u32 = 0xc000_003e;
    /// The bit of a number that says x32.
    const X32: u32 = 0x4000_0000;

    /// Where the kernel shows the number, the architecture, and the low half of the first argument, which is all that it
    /// takes of a family.
    const NUMBER: u32 = 0;
    const ARCHITECTURE: u32 = 4;
    const FIRST: u32 = 16;

    /// The last family that a guest gets: packet. The profile says the same for the ordinary entry.
    const LAST_FAMILY: u32 = 17;

    /// What is refused: architecture, number, how the first argument compares with what, the answer.
    ///
    /// The family of a `socketcall` is in memory, where no filter reads: those that make sockets (1) and pairs (8) are
    /// refused whole, as by a kernel without them. What is done with a socket that is there is let through.
    const RULES: [(u32, u32, u32, u32, i32); 6] = [
        (I386, 102, BPF_JEQ, 1, libc::ENOSYS),
        (I386, 102, BPF_JEQ, 8, libc::ENOSYS),
        (I386, 359, BPF_JGT, LAST_FAMILY, libc::EAFNOSUPPORT),
        (I386, 360, BPF_JGT, LAST_FAMILY, libc::EAFNOSUPPORT),
        (X86_64, X32 | 41, BPF_JGT, LAST_FAMILY, libc::EAFNOSUPPORT),
        (X86_64, X32 | 53, BPF_JGT, LAST_FAMILY, libc::EAFNOSUPPORT),
    ];

    fn instruction(code: u32, k: u32, otherwise: u8) -> sock_filter {
        // The kernel's codes have eight bits.
        sock_filter { code: (code & 0xff) as u16, jt: 0, jf: otherwise, k }
    }

    /// Seven instructions a rule: each comparison that does not hold skips to the next rule.
    pub(super) fn program() -> Vec<sock_filter> {
        let load = |at| instruction(BPF_LD | BPF_W | BPF_ABS, at, 0);
        let unless = |how, k, skipped| instruction(BPF_JMP | how | BPF_K, k, skipped);
        let answer = |value| instruction(BPF_RET | BPF_K, value, 0);
        let rules = RULES.iter().flat_map(|&(architecture, number, how, first, errno)| {
            [
                load(ARCHITECTURE),
                unless(BPF_JEQ, architecture, 5),
                load(NUMBER),
                unless(BPF_JEQ, number, 3),
                load(FIRST),
                unless(how, first, 1),
                answer(SECCOMP_RET_ERRNO | errno.unsigned_abs()),
            ]
        });
        rules.chain([answer(SECCOMP_RET_ALLOW)]).collect()
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::x86;

    /// As the kernel runs it: `jt` is 0 throughout.
    fn answer(architecture: u32, number: u32, first: u32) -> u32 {
        let program = x86::program();
        let (mut at, mut value) = (0, 0);
        loop {
            let step = &program[at];
            at += 1;
            let holds = match step.code {
                0x20 => {
                    value = match step.k {
                        0 => number,
                        4 => architecture,
                        16 => first,
                        other => panic!("reads {other}"),
                    };
                    true
                }
                0x15 => value == step.k,
                0x25 => value > step.k,
                0x06 => return step.k,
                other => panic!("{other:#x}"),
            };
            at += if holds { 0 } else { usize::from(step.jf) };
        }
    }

    #[test]
    fn what_makes_a_socket_of_another_family_by_another_entry_is_refused() {
        const I386: u32 = 0x4000_0003;
        const X86_64: u32 = 0xc000_003e;
        const ALLOW: u32 = 0x7fff_0000;
        const NOSYS: u32 = 0x5_0000 + 38;
        const FAMILY: u32 = 0x5_0000 + 97;
        for call in 0..=20 {
            let wanted = if [1, 8].contains(&call) { NOSYS } else { ALLOW };
            assert_eq!(answer(I386, 102, call), wanted, "socketcall {call}");
        }
        for number in [359, 360] {
            for (family, wanted) in
                [(1, ALLOW), (2, ALLOW), (17, ALLOW), (18, FAMILY), (40, FAMILY), (u32::MAX, FAMILY)]
            {
                assert_eq!(answer(I386, number, family), wanted, "{number} {family}");
                assert_eq!(answer(X86_64, number, family), ALLOW, "another call there");
            }
        }
        for number in [41, 53] {
            assert_eq!(answer(X86_64, 0x4000_0000 | number, 40), FAMILY);
            assert_eq!(answer(X86_64, 0x4000_0000 | number, 16), ALLOW);
            // The profile's.
            assert_eq!(answer(X86_64, number, 40), ALLOW);
        }
        // Another architecture.
        assert_eq!(answer(0xc000_00b7, 359, 40), ALLOW);
    }
}

/* What bindgen reads. <errno.h> is here because LXC_ATTACH_OPTIONS_DEFAULT needs EBADF. */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <lxc/attach_options.h>
#include <lxc/lxccontainer.h>
#include <lxc/version.h>

/*
 * src/attach.rs writes these by hand (bindgen gives the flags a type of no name and leaves the default's macro out):
 * a header that disagrees stops the build here.
 */
#define SAME(name, value) _Static_assert((long)(name) == (long)(value), #name " differs from lxc-sys/src/attach.rs")
SAME(LXC_ATTACH_MOVE_TO_CGROUP, 0x00000001);
SAME(LXC_ATTACH_DROP_CAPABILITIES, 0x00000002);
SAME(LXC_ATTACH_SET_PERSONALITY, 0x00000004);
SAME(LXC_ATTACH_LSM_EXEC, 0x00000008);
SAME(LXC_ATTACH_REMOUNT_PROC_SYS, 0x00010000);
SAME(LXC_ATTACH_LSM_NOW, 0x00020000);
SAME(LXC_ATTACH_NO_NEW_PRIVS, 0x00040000);
SAME(LXC_ATTACH_TERMINAL, 0x00080000);
SAME(LXC_ATTACH_LSM_LABEL, 0x00100000);
SAME(LXC_ATTACH_SETGROUPS, 0x00200000);
SAME(LXC_ATTACH_DEFAULT, 0x0000FFFF);
SAME(EBADF, 9);

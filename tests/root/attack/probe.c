// What guest root tries that no shell can: `probe WHAT [ARGUMENT...]`, exit 0 where it came through, 1 where it was
// refused, 2 where this program cannot say. Nothing is changed where it comes through as root of a host.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/fs.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/mount.h>
#include <linux/perf_event.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/acct.h>
#include <sys/fanotify.h>
#include <sys/file.h>
#include <sys/io.h>
#include <sys/klog.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/inotify.h>
#include <unistd.h>

#ifndef F_SETDELEG
#define F_SETDELEG (1024 + 16)
#endif

static int code(int came_through) {
  if (!came_through) perror("refused");
  return came_through ? 0 : 1;
}

// A system call by the 32-bit entry: arguments are 32 bits wide.
static long i386(long number, long a, long b, long c) {
#ifdef __x86_64__
  long result;
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "r8", "r9", "r10", "r11", "memory");
  if ((int)result < 0) { errno = -(int)result; return -1; }
  return (int)result;
#else
  (void)number, (void)a, (void)b, (void)c;
  errno = ENOSYS;
  return -1;
#endif
}

// The kernel takes another number than the permission check refuses: it was let through.
static int unless_refused(long result) { return code(result >= 0 || (errno != EPERM && errno != EACCES && errno != ENOSYS)); }

static int in_tree(int tree) {
  int made = openat(tree, "attack-tree", O_CREAT | O_WRONLY, 0600);
  return code(made >= 0);
}

int main(int count, char **arg) {
  alarm(10);
  if (count < 2) return 2;
  const char *what = arg[1], *first = count > 2 ? arg[2] : "", *second = count > 3 ? arg[3] : "";
  long number = strtol(second, NULL, 0);
#define IS(name) (!strcmp(what, name))
  if (IS("lease") || IS("lease-high") || IS("lease-i386") || IS("lease64-i386") || IS("lease-x32") || IS("read-lease") || IS("delegate") || IS("notify")) {
    int fd = open(first, O_RDONLY);
    if (fd < 0) return perror(first), 2;
    if (IS("lease")) return code(fcntl(fd, F_SETLEASE, F_WRLCK) == 0);
    if (IS("read-lease")) return code(fcntl(fd, F_SETLEASE, F_RDLCK) == 0);
    if (IS("lease-high")) return code(syscall(SYS_fcntl, fd, 0x100000400L, F_WRLCK) == 0);
    if (IS("lease-i386")) return code(i386(55, fd, F_SETLEASE, F_WRLCK) == 0);
    if (IS("lease64-i386")) return code(i386(221, fd, F_SETLEASE, F_WRLCK) == 0);
    if (IS("lease-x32")) return code(syscall(0x40000000 | 72, fd, F_SETLEASE, F_WRLCK) == 0);
    if (IS("notify")) return code(fcntl(fd, F_NOTIFY, DN_CREATE) == 0);
    struct { uint32_t flags; uint16_t type, pad; } delegation = {0, F_RDLCK, 0};
    return code(fcntl(fd, F_SETDELEG, &delegation) == 0);
  }
  if (IS("socket")) return code(socket(atoi(first), number ? number : SOCK_STREAM, 0) >= 0);
  if (IS("socket-high")) return code(syscall(SYS_socket, 0x100000000L | atoi(first), SOCK_STREAM, 0) >= 0);
  if (IS("socket-i386")) return code(i386(359, atoi(first), number ? number : SOCK_STREAM, 0) >= 0);
  if (IS("socket-x32")) return code(syscall(0x40000000 | SYS_socket, atoi(first), SOCK_STREAM, 0) >= 0);
  if (IS("socketcall-i386")) {
#ifdef __x86_64__
    uint32_t *list = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    list[0] = atoi(first), list[1] = number ? number : SOCK_STREAM, list[2] = 0;
    return code(i386(102, 1, (long)list, 0) >= 0);
#endif
  }
  if (IS("io_uring")) { char parameters[120] = {0}; return code(syscall(425, 2, parameters) >= 0); }
  if (IS("io_uring-i386")) { char *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0); return code(i386(425, 2, (long)low, 0) >= 0); }
  if (IS("add-key")) return code(syscall(SYS_add_key, "user", "attack", "x", 1, -2) >= 0);
  if (IS("request-key")) return code(syscall(SYS_request_key, "user", "attack-none", "x", -2) >= 0 || errno == ENOKEY || errno == ENOENT);
  if (IS("keyctl")) return code(syscall(SYS_keyctl, 0, -3, 1) >= 0);
  if (IS("bpf")) {
    struct bpf_insn program[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 0}, {.code = BPF_JMP | BPF_EXIT}};
    union bpf_attr wanted = {.prog_type = BPF_PROG_TYPE_SOCKET_FILTER, .insns = (uint64_t)(uintptr_t)program, .insn_cnt = 2, .license = (uint64_t)(uintptr_t) "GPL"};
    return code(syscall(SYS_bpf, BPF_PROG_LOAD, &wanted, sizeof wanted) >= 0);
  }
  /* What the kernel says before it looks at rights: no filter was in the way. */
  if (IS("bpf-reached")) return code(syscall(SYS_bpf, 0, NULL, 1 << 20) < 0 && errno == E2BIG);
  if (IS("userns") || IS("userns-unshare")) {
    long child = IS("userns") ? syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL) : unshare(CLONE_NEWUSER);
    if (child == 0 && IS("userns")) _exit(0);
    return code(child >= 0);
  }
  if (IS("userns-clone3")) {
    struct { uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls; } wanted = {.flags = CLONE_NEWUSER, .exit_signal = SIGCHLD};
    long child = syscall(SYS_clone3, &wanted, sizeof wanted);
    if (child == 0) _exit(0);
    return code(child >= 0);
  }
  if (IS("perf") || IS("perf-all")) {
    struct perf_event_attr wanted = {.type = PERF_TYPE_SOFTWARE, .size = sizeof wanted, .config = PERF_COUNT_SW_CPU_CLOCK, .exclude_kernel = IS("perf"), .exclude_hv = 1};
    return code(syscall(SYS_perf_event_open, &wanted, IS("perf") ? 0 : -1, IS("perf") ? -1 : 0, -1, 0) >= 0);
  }
  if (IS("userfaultfd")) return code(syscall(SYS_userfaultfd, 1 /* faults of user space alone */) >= 0);
  if (IS("init-module")) return unless_refused(syscall(SYS_init_module, "x", 1, ""));
  if (IS("finit-module")) { int fd = open("/dev/null", O_RDONLY); return unless_refused(syscall(SYS_finit_module, fd, "", 0)); }
  if (IS("delete-module")) return unless_refused(syscall(SYS_delete_module, "attack_none", O_NONBLOCK));
  if (IS("kexec")) return unless_refused(syscall(SYS_kexec_load, 0, 0, NULL, 0));
  if (IS("handle")) {
    struct { struct file_handle head; char bytes[128]; } handle = {.head.handle_bytes = 128};
    int id, folder = open(first, O_RDONLY);
    if (name_to_handle_at(AT_FDCWD, first, &handle.head, &id, 0)) return perror("name_to_handle_at"), 2;
    return code(open_by_handle_at(folder, &handle.head, O_RDONLY) >= 0);
  }
  if (IS("swapon")) return unless_refused(swapon(first, 0));
  if (IS("acct")) return unless_refused(acct("/attack-none"));
  if (IS("iopl")) { int got = syscall(SYS_iopl, 3); return code(got == 0); }
  if (IS("ioperm")) return code(syscall(SYS_ioperm, 0x80, 1, 1) == 0);
  if (IS("syslog")) { char text[64]; return code(klogctl(3, text, sizeof text) >= 0); }
  if (IS("clock")) {
    struct timex now = {0};
    if (adjtimex(&now) < 0) return 2;
    struct timex same = {.modes = ADJ_TICK, .tick = now.tick};
    return code(adjtimex(&same) >= 0);
  }
  if (IS("fanotify")) return code(fanotify_init(FAN_CLASS_CONTENT, O_RDONLY) >= 0);
  if (IS("fifo-scheduling")) { struct sched_param high = {.sched_priority = 1}; return code(sched_setscheduler(0, SCHED_FIFO, &high) == 0); }
  if (IS("nice")) return code(setpriority(PRIO_PROCESS, 0, -5) == 0);
  if (IS("io-class")) return code(syscall(SYS_ioprio_set, 1, 0, (1 << 13) | 4) == 0);
  if (IS("more-files")) {
    struct rlimit now;
    getrlimit(RLIMIT_RTPRIO, &now);
    now.rlim_max = now.rlim_cur = 50;
    return code(setrlimit(RLIMIT_RTPRIO, &now) == 0);
  }
  if (IS("open")) return code(open(first, (!strcmp(second, "w") ? O_WRONLY : !strcmp(second, "rw") ? O_RDWR : O_RDONLY) | O_NONBLOCK) >= 0);
  /* An interface that stays, by the device `first`. */
  if (IS("tun")) {
    struct ifreq wanted = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    strncpy(wanted.ifr_name, second, IFNAMSIZ - 1);
    int fd = open(first, O_RDWR);
    return code(fd >= 0 && !ioctl(fd, TUNSETIFF, &wanted) && !ioctl(fd, TUNSETPERSIST, 1));
  }
  /* A file system of this process's own at `second`, by the device `first`. */
  if (IS("fuse")) {
    char options[128];
    int fd = open(first, O_RDWR);
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
    return code(fd >= 0 && !mount("probe", second, "fuse", MS_NOSUID | MS_NODEV, options));
  }
  if (IS("node")) { unsigned major, minor; char kind; if (sscanf(second, "%c:%u:%u", &kind, &major, &minor) != 3) return 2; return code(!mknod(first, (kind == 'b' ? S_IFBLK : S_IFCHR) | 0666, makedev(major, minor))); }
  if (IS("connect") || IS("connect-abstract")) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0), at = IS("connect-abstract");
    strncpy(to.sun_path + at, first, sizeof to.sun_path - 2);
    return code(connect(fd, (struct sockaddr *)&to, offsetof(struct sockaddr_un, sun_path) + at + strlen(first)) == 0);
  }
  if (IS("map-shared")) { int fd = open(first, O_RDWR); if (fd < 0) fd = open(first, O_RDONLY); return code(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED); }
  if (IS("temporary")) return code(open(first, O_TMPFILE | O_RDWR, 0600) >= 0);
  if (IS("xattr")) return code(setxattr(first, "user.attack", "x", 1, 0) == 0);
  if (IS("times")) { struct timespec when[2] = {{0, UTIME_OMIT}, {1, 0}}; return code(utimensat(AT_FDCWD, first, when, 0) == 0); }
  if (IS("flags")) {
    int fd = open(first, O_RDONLY), flags = 0;
    if (ioctl(fd, 0x80086601UL, &flags)) return perror("FS_IOC_GETFLAGS"), 2;
    return code(ioctl(fd, 0x40086602UL, &flags) == 0);
  }
  if (IS("link")) { char to[512]; snprintf(to, sizeof to, "%s-attack-link", first); int done = link(first, to); if (!done) unlink(to); return code(done == 0); }
  if (IS("tree") || IS("tree-recursive") || IS("tree-moved") || IS("attributes")) {
    struct mount_attr writable = {.attr_clr = MOUNT_ATTR_RDONLY};
    int tree = IS("attributes") ? open(first, O_PATH) : (int)syscall(SYS_open_tree, AT_FDCWD, first, 1 /* clone */ | (IS("tree-recursive") ? AT_RECURSIVE : 0));
    if (tree < 0) return perror("open_tree"), 1;
    if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | (IS("tree-recursive") ? AT_RECURSIVE : 0), &writable, sizeof writable)) return perror("mount_setattr"), 1;
    if (!IS("tree-moved")) return in_tree(tree);
    if (syscall(SYS_move_mount, tree, "", AT_FDCWD, second, 4 /* from an empty path */)) return perror("move_mount"), 1;
    int folder = open(second, O_RDONLY | O_DIRECTORY), done = in_tree(folder);
    umount2(second, 2);
    return done;
  }
  if (IS("reconfigure")) {
    int context = syscall(SYS_fspick, AT_FDCWD, first, 0);
    if (context < 0) return perror("fspick"), 1;
    return code(syscall(SYS_fsconfig, context, 7 /* reconfigure */, NULL, NULL, 0) == 0);
  }
  if (IS("read-memory")) { char mine[8]; struct iovec to = {mine, 8}, from = {(void *)strtoul(second, NULL, 0), 8}; return code(process_vm_readv(atoi(first), &to, 1, &from, 1, 0) == 8 || errno == EFAULT); }
  if (IS("take-file")) { int process = syscall(SYS_pidfd_open, atoi(first), 0); return code(process >= 0 && syscall(SYS_pidfd_getfd, process, 0, 0) >= 0); }
  if (IS("signal")) { int process = syscall(SYS_pidfd_open, atoi(first), 0); return code(process >= 0 && syscall(SYS_pidfd_send_signal, process, 0, NULL, 0) == 0); }
  if (IS("priority-of")) return code(setpriority(PRIO_PROCESS, atoi(first), getpriority(PRIO_PROCESS, atoi(first))) == 0);
  if (IS("lock-for-writing")) {
    int fd = open(first, O_RDWR);
    if (fd < 0) fd = open(first, O_RDONLY);
    struct flock all = {.l_type = F_WRLCK};
    return code(fcntl(fd, F_OFD_SETLK, &all) == 0);
  }
  if (IS("clone") || IS("merge")) {
    char own[512];
    snprintf(own, sizeof own, "%s/own", first);
    int from = open(own, O_CREAT | O_RDWR, 0600), to = open(second, O_RDWR);
    if (to < 0) to = open(second, O_RDONLY);
    if (from < 0 || to < 0) return perror("open"), 2;
    unlink(own);
    if (ftruncate(from, 4096)) return 2;
    if (IS("clone")) return code(ioctl(to, FICLONE, from) == 0);
    struct { struct file_dedupe_range head; struct file_dedupe_range_info to; } wanted = {.head = {.src_length = 4096, .dest_count = 1}, .to = {.dest_fd = to}};
    if (ioctl(from, FIDEDUPERANGE, &wanted)) return code(0);
    errno = -wanted.to.status;
    return code(wanted.to.status >= 0);
  }
  if (IS("pin")) {
    size_t much = 64 << 20;
    char *memory = mmap(NULL, much, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return code(mlock(memory, much) == 0);
  }
  if (IS("large-pipe")) { int ends[2]; return code(!pipe(ends) && fcntl(ends[1], F_SETPIPE_SZ, 4 << 20) >= 0); }
  if (IS("watch")) {
    int fd = inotify_init1(0);
    char event[4096];
    if (fd < 0 || inotify_add_watch(fd, first, IN_ALL_EVENTS) < 0) return perror(first), 2;
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    return code(poll(&wait, 1, 1000) == 1 && read(fd, event, sizeof event) > 0);
  }
  /* What happens in a folder, by the kind of mark that is asked for, from a group that needs no right of the host's. */
  if (IS("fanotify-folder") || IS("fanotify-mount") || IS("fanotify-file-system")) {
    int fd = fanotify_init(FAN_CLASS_NOTIF | FAN_REPORT_DFID_NAME, O_RDONLY);
    int kind = IS("fanotify-mount") ? FAN_MARK_MOUNT : IS("fanotify-folder") ? 0 : FAN_MARK_FILESYSTEM;
    char event[4096];
    if (fd < 0 || fanotify_mark(fd, FAN_MARK_ADD | kind, FAN_CREATE | FAN_DELETE | FAN_ONDIR, AT_FDCWD, first) < 0) return perror(first), 1;
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    return code(poll(&wait, 1, 1000) == 1 && read(fd, event, sizeof event) > 0);
  }
  /* A handle of a file, as TYPE:BYTES, and what it opens beneath a mount. */
  if (IS("handle-of")) {
    struct { struct file_handle head; unsigned char bytes[128]; } handle = {.head.handle_bytes = 128};
    int id;
    if (name_to_handle_at(AT_FDCWD, first, &handle.head, &id, 0)) return perror(first), 2;
    printf("%d:", handle.head.handle_type);
    for (unsigned i = 0; i < handle.head.handle_bytes; i++) printf("%02x", handle.bytes[i]);
    return puts(""), 0;
  }
  if (IS("open-handle")) {
    struct { struct file_handle head; unsigned char bytes[128]; } handle = {.head.handle_type = atoi(second)};
    const char *hex = strchr(second, ':');
    unsigned length = 0;
    for (hex = hex ? hex + 1 : ""; length < 128 && sscanf(hex, "%2hhx", &handle.bytes[length]) == 1; hex += 2) length++;
    handle.head.handle_bytes = length;
    int mounted = open(first, O_RDONLY | O_DIRECTORY);
    if (mounted < 0 || !length) return perror(first), 2;
    return code(open_by_handle_at(mounted, &handle.head, O_RDONLY) >= 0);
  }
  /* What the kernel says of the mount of a folder, in its own words: its root, its source, its options. */
  if (IS("statmount")) {
    struct { uint32_t size, spare; uint64_t id, param, ns; } wanted = {.size = 24, .param = 0x8 | 0x80 | 0x100 | 0x200};
    uint32_t answer[4096] = {0};
    struct statx found;
    if (syscall(SYS_statx, AT_FDCWD, first, 0, 0x4000 /* the mount's own number */, &found)) return perror(first), 2;
    wanted.id = *(uint64_t *)((char *)&found + 0x90);
    if (syscall(457, &wanted, answer, sizeof answer, 0)) return perror("statmount"), 1;
    const char *text = (char *)answer + 512;
    for (const char *at = text; at < (char *)answer + answer[0]; at += strlen(at) + 1) puts(at);
    return 0;
  }
  /* A folder that an overlay is told to look for elsewhere in the layer below. */
  if (IS("redirect")) {
    char to[512];
    snprintf(to, sizeof to, "/%s", second);
    return code(setxattr(first, "user.overlay.redirect", to, strlen(to), 0) == 0);
  }
  if (IS("lock")) { int fd = open(first, O_RDONLY); return code(fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0); }
  /* Holds a lock, and says so by a file. */
  if (IS("hold")) {
    int fd = open(first, O_RDONLY);
    if (fd < 0 || flock(fd, LOCK_EX) || open(second, O_CREAT | O_WRONLY, 0600) < 0) return perror(first), 2;
    return pause(), 2;
  }
  if (IS("hold-lease")) {
    int fd = open(first, O_RDONLY);
    if (fd < 0 || fcntl(fd, F_SETLEASE, F_WRLCK)) perror(first);
    signal(SIGIO, SIG_IGN);
    if (open(second, O_CREAT | O_WRONLY, 0600) < 0) return perror(second), 2;
    return pause(), 2;
  }
  fprintf(stderr, "no attack %s\n", what);
  return 2;
}

/* Runs a command, counts the system calls of its whole process tree that change something, and at the Nth of them kills,
 * stops or fails it.
 *
 *   step [-n N] [-m MODE] [-f EXE] [-s SET] [-l LOG] -- COMMAND...
 *
 * MODE   none       counts only
 *        self       kills the process that makes the call       main    kills COMMAND itself
 *        tree       kills all of them
 *        err:ERRNO  fails this call                             errs:ERRNO  fails this one and all after it
 * SET    mut        calls that change files, processes, mounts, namespaces (the default)
 *        full       calls that need room on a disk
 *        a,b,...    calls by their names
 * -f EXE counts processes that run this executable alone: not Nix, not nft, not the guest.
 *
 * LOG has a line a call, "HIT N ..." for the one, and "END rc R count C" at the end. The exit status is COMMAND's, 128 and
 * the number of the signal where it was killed. A guest's own programs run free: a process is let go of when it executes
 * something in another pid namespace. x86-64 alone. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

/* Where a call names what it changes: the argument with a path, or the first one as a descriptor. */
enum { NO_PATH = -1, BY_FD = -2, BY_FILE = -3 };

static const struct call {
	const char *name;
	long number;
	int path;
} calls[] = {
	{"openat", SYS_openat, 1}, {"open", SYS_open, 0}, {"creat", SYS_creat, 0},
	{"rename", SYS_rename, 0}, {"renameat", SYS_renameat, 1}, {"renameat2", SYS_renameat2, 1},
	{"link", SYS_link, 1}, {"linkat", SYS_linkat, 3}, {"symlink", SYS_symlink, 1}, {"symlinkat", SYS_symlinkat, 2},
	{"unlink", SYS_unlink, 0}, {"unlinkat", SYS_unlinkat, 1},
	{"mkdir", SYS_mkdir, 0}, {"mkdirat", SYS_mkdirat, 1}, {"rmdir", SYS_rmdir, 0},
	{"mount", SYS_mount, 1}, {"umount2", SYS_umount2, 0}, {"pivot_root", SYS_pivot_root, 0},
	{"open_tree", SYS_open_tree, 1}, {"move_mount", SYS_move_mount, 3}, {"mount_setattr", 442, 1},
	{"clone", SYS_clone, NO_PATH}, {"clone3", SYS_clone3, NO_PATH}, {"vfork", SYS_vfork, NO_PATH},
	{"execve", SYS_execve, 0},
	{"chown", SYS_chown, 0}, {"lchown", SYS_lchown, 0}, {"fchown", SYS_fchown, BY_FD}, {"fchownat", SYS_fchownat, 1},
	{"chmod", SYS_chmod, 0}, {"fchmod", SYS_fchmod, BY_FD}, {"fchmodat", SYS_fchmodat, 1},
	{"truncate", SYS_truncate, 0}, {"ftruncate", SYS_ftruncate, BY_FD},
	{"fsync", SYS_fsync, BY_FD}, {"fdatasync", SYS_fdatasync, BY_FD}, {"syncfs", SYS_syncfs, BY_FD},
	{"write", SYS_write, BY_FILE},
	{"setns", SYS_setns, BY_FD}, {"unshare", SYS_unshare, NO_PATH}, {"flock", SYS_flock, BY_FD},
	{"sendto", SYS_sendto, BY_FD}, {"sendmsg", SYS_sendmsg, BY_FD},
	{"kill", SYS_kill, NO_PATH}, {"pidfd_send_signal", SYS_pidfd_send_signal, NO_PATH},
	{"mknod", SYS_mknod, 0}, {"mknodat", SYS_mknodat, 1},
	{"setxattr", SYS_setxattr, 0}, {"fsetxattr", SYS_fsetxattr, BY_FD},
};

static const char *full = ",openat,rename,renameat,renameat2,link,linkat,symlink,symlinkat,mkdir,mkdirat,write,fsync,"
			  "fdatasync,syncfs,ftruncate,mknodat,";

static const char *set = "mut", *mode = "none", *executable = "";
static long wanted = -1, count;
static int acted;
static FILE *out;
static pid_t root;

static struct task {
	pid_t id, process;
	int counts, failing;
} tasks[16384];
static int known;

static void link_of(pid_t pid, const char *what, char *text)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/%s", pid, what);
	ssize_t length = readlink(path, text, PATH_MAX - 1);
	text[length > 0 ? length : 0] = 0;
}

/* The re-executed program, too: its link may say that the file was replaced. */
static int runs_it(pid_t pid)
{
	char found[PATH_MAX];
	link_of(pid, "exe", found);
	return !*executable || !strncmp(found, executable, strlen(executable));
}

static pid_t process_of(pid_t task)
{
	char path[64], line[256];
	pid_t process = task;
	snprintf(path, sizeof path, "/proc/%d/status", task);
	FILE *file = fopen(path, "r");
	while (file && fgets(line, sizeof line, file))
		if (sscanf(line, "Tgid: %d", &process) == 1)
			break;
	if (file)
		fclose(file);
	return process;
}

static struct task *find(pid_t id)
{
	for (int i = 0; i < known; i++)
		if (tasks[i].id == id)
			return &tasks[i];
	if (known == sizeof tasks / sizeof *tasks)
		exit(125);
	tasks[known] = (struct task){id, process_of(id), runs_it(id), 0};
	return &tasks[known++];
}

static void forget(pid_t id)
{
	for (int i = 0; i < known; i++)
		if (tasks[i].id == id) {
			tasks[i] = tasks[--known];
			return;
		}
}

static void text_at(pid_t pid, unsigned long address, char *text, size_t room)
{
	/* To the end of the page, where the next one is not there. */
	for (size_t length = room - 1;; length = 4096 - (address & 4095)) {
		struct iovec here = {text, length}, there = {(void *)address, length};
		ssize_t got = process_vm_readv(pid, &here, 1, &there, 1, 0);
		text[got > 0 ? got : 0] = 0;
		if (got > 0 || length != room - 1 || 4096 - (address & 4095) >= room - 1)
			return;
	}
}

static int in_set(const char *name)
{
	char word[64], list[1024];
	snprintf(word, sizeof word, ",%s,", name);
	if (!strcmp(set, "mut"))
		return 1;
	if (!strcmp(set, "full"))
		return strstr(full, word) != 0;
	snprintf(list, sizeof list, ",%s,", set);
	return strstr(list, word) != 0;
}

static void act(struct task *task)
{
	acted = 1;
	if (!strcmp(mode, "self"))
		kill(task->process, SIGKILL);
	else if (!strcmp(mode, "main"))
		kill(root, SIGKILL);
	else if (!strcmp(mode, "tree"))
		for (int i = 0; i < known; i++)
			kill(tasks[i].process, SIGKILL);
	else if (!strncmp(mode, "err", 3)) {
		struct user_regs_struct registers;
		if (!ptrace(PTRACE_GETREGS, task->id, 0, &registers)) {
			/* No such call: what it answers is written over. */
			registers.orig_rax = -1;
			ptrace(PTRACE_SETREGS, task->id, 0, &registers);
			task->failing = atoi(strchr(mode, ':') + 1);
		}
	}
}

/* Whether a call of this set counts: opening a file only where it may be made, writing only to a file. */
static int changes(const struct call *call, const struct __ptrace_syscall_info *info, pid_t pid, char *path)
{
	unsigned long flags = info->entry.args[call->number == SYS_open ? 1 : 2];
	int makes = flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE;
	if ((call->number == SYS_openat || call->number == SYS_open) && !makes)
		return 0;
	/* A thread. */
	if (call->number == SYS_clone && info->entry.args[0] & 0x10000)
		return 0;
	*path = 0;
	if (call->path >= 0)
		text_at(pid, info->entry.args[call->path], path, 300);
	else if (call->path != NO_PATH) {
		char name[32];
		snprintf(name, sizeof name, "fd/%d", (int)info->entry.args[0]);
		link_of(pid, name, path);
	}
	return call->path != BY_FILE || (*path == '/' && strncmp(path, "/dev", 4) && strncmp(path, "/proc/", 6));
}

static void enter(struct task *task, const struct __ptrace_syscall_info *info)
{
	char path[PATH_MAX], name[64] = "", comm[64];
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
		if ((long)info->entry.nr != calls[i].number)
			continue;
		if (!in_set(calls[i].name) || !changes(&calls[i], info, task->id, path))
			return;
		snprintf(comm, sizeof comm, "/proc/%d/comm", task->id);
		FILE *file = fopen(comm, "r");
		if (file && fgets(name, sizeof name, file))
			name[strcspn(name, "\n")] = 0;
		if (file)
			fclose(file);
		count++;
		fprintf(out, "%s%ld %s%s %s %s\n", count == wanted ? "HIT " : "", count,
			task->process == root ? "main:" : "", name, calls[i].name, path);
		if (count == wanted || (count > wanted && wanted > 0 && !strncmp(mode, "errs:", 5)))
			act(task);
		return;
	}
}

static void leave(struct task *task)
{
	struct user_regs_struct registers;
	if (task->failing && !ptrace(PTRACE_GETREGS, task->id, 0, &registers)) {
		registers.rax = -(long)task->failing;
		ptrace(PTRACE_SETREGS, task->id, 0, &registers);
	}
	task->failing = 0;
}

/* A traced task has stopped: lets it go on, with its signal if that is why. */
static void go_on(struct task *task, int status, const char *own_namespace)
{
	pid_t id = task->id;
	int signal = WSTOPSIG(status), event = status >> 16;
	struct __ptrace_syscall_info info = {0};
	if (signal == (SIGTRAP | 0x80)) {
		if (ptrace(PTRACE_GET_SYSCALL_INFO, id, sizeof info, &info) > 0) {
			if (info.op == PTRACE_SYSCALL_INFO_ENTRY && task->counts)
				enter(task, &info);
			else if (info.op == PTRACE_SYSCALL_INFO_EXIT)
				leave(task);
		}
		signal = 0;
	} else if (event == PTRACE_EVENT_EXEC) {
		char namespace[PATH_MAX];
		task->process = process_of(id);
		task->counts = runs_it(id);
		link_of(id, "ns/pid", namespace);
		if (*namespace && strcmp(namespace, own_namespace)) {
			forget(id);
			ptrace(PTRACE_DETACH, id, 0, 0);
			return;
		}
		signal = 0;
	} else if (event == PTRACE_EVENT_STOP) {
		if (signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU) {
			ptrace(PTRACE_LISTEN, id, 0, 0);
			return;
		}
		signal = 0;
	} else if (event)
		signal = 0;
	ptrace(PTRACE_SYSCALL, id, 0, signal);
}

int main(int argc, char **argv)
{
	int option, status, code = 125, ended = 0;
	char own_namespace[PATH_MAX];
	out = stderr;
	while ((option = getopt(argc, argv, "+n:m:f:s:l:")) != -1)
		switch (option) {
		case 'n': wanted = atol(optarg); break;
		case 'm': mode = optarg; break;
		case 'f': executable = optarg; break;
		case 's': set = optarg; break;
		case 'l': out = fopen(optarg, "w"); break;
		default: return 2;
		}
	if (!out || optind >= argc)
		return 2;
	setvbuf(out, 0, _IOLBF, 0);
	link_of(getpid(), "ns/pid", own_namespace);
	root = fork();
	if (!root) {
		setpgid(0, 0);
		raise(SIGSTOP);
		execvp(argv[optind], argv + optind);
		_exit(127);
	}
	waitpid(root, &status, WUNTRACED);
	if (ptrace(PTRACE_SEIZE, root, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
		   PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC))
		return 125;
	find(root);
	kill(root, SIGCONT);
	while (!ended || (acted && !strcmp(mode, "tree") && known)) {
		pid_t id = waitpid(-1, &status, __WALL);
		if (id < 0 && errno == EINTR)
			continue;
		if (id < 0)
			break;
		if (WIFEXITED(status) || WIFSIGNALED(status)) {
			forget(id);
			if (id == root) {
				code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
				ended = 1;
			}
		} else if (WIFSTOPPED(status)) {
			struct task *task = find(id);
			/* One that was made while the others were killed. */
			if (acted && !strcmp(mode, "tree"))
				kill(task->process, SIGKILL);
			go_on(task, status, own_namespace);
		}
	}
	fprintf(out, "END rc %d count %ld\n", code, count);
	return code;
}

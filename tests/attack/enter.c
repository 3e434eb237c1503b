/* What guest root does to a process of the host's root that enters its guest. Built static, run in the guest.
 *
 *   enter seize          traces whoever comes next, at full speed, until stdin ends; then says what it got
 *   enter files          opens the files of whoever comes next instead, and slows them down meanwhile
 *   enter limit          lets nobody who comes next put a file in the place of its standard streams
 *   enter discipline     makes every new terminal one that is none, before its command has it
 *   enter nothing        a command that has nothing open
 *   enter streams FILE   a command that writes down what it has been given
 *   enter terminal TEXT  a command that writes on the terminal of its session, if that is none of its own
 *   enter reopen FD FD PID FILE   opens for writing what two descriptors are of, once a process has ended
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/tty.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Pids are given in their order: the next process is one of these. */
enum { AHEAD = 16 };

static long entered, got, as_root;

/* Whether whoever started this has closed its stdin. */
static int told_to_end(void)
{
	struct pollfd in = { .fd = 0, .events = POLLIN };
	char byte;

	return poll(&in, 1, 0) > 0 && read(0, &byte, 1) == 0;
}

/* A program that is not to be found in the guest under its own name is the host's. */
static int is_hosts(int pid)
{
	char link[64], path[4096];
	struct stat there, here;

	snprintf(link, sizeof link, "/proc/%d/exe", pid);
	ssize_t length = readlink(link, path, sizeof path - 1);
	if (length < 0)
		return 0;
	path[length] = 0;
	if (stat(link, &there))
		return 0;
	return stat(path, &here) || here.st_dev != there.st_dev || here.st_ino != there.st_ino;
}

/* An id of the host that the guest has no number for is shown as 65534: root's, before it is given up. */
static int is_root_of_host(int pid)
{
	char path[64], line[256];
	int uid = -1;

	snprintf(path, sizeof path, "/proc/%d/status", pid);
	FILE *status = fopen(path, "r");
	while (status && fgets(line, sizeof line, status))
		if (sscanf(line, "Uid: %d", &uid) == 1)
			break;
	if (status)
		fclose(status);
	return uid == 65534;
}

static void examine(int pid)
{
	int status;

	ptrace(PTRACE_INTERRUPT, pid, 0, 0);
	waitpid(pid, &status, __WALL);
	if (is_hosts(pid)) {
		got++;
		as_root += is_root_of_host(pid);
	}
	ptrace(PTRACE_DETACH, pid, 0, 0);
}

/* A process that has ended and was not waited for cannot be traced either. */
static int is_dead(int pid)
{
	char path[64], line[512];
	int dead = 1;

	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	FILE *stat = fopen(path, "r");
	if (stat && fgets(line, sizeof line, stat)) {
		char *name = strrchr(line, ')');
		dead = !name || name[2] == 'Z' || name[2] == 'X';
	}
	if (stat)
		fclose(stat);
	return dead;
}

/* Traces it, or tries to until it is a program of the guest's or gone. */
static int seize(int pid)
{
	int seen = 0;

	for (long tries = 0; tries < 1000000; tries++) {
		if (!ptrace(PTRACE_SEIZE, pid, 0, 0)) {
			examine(pid);
			return 1;
		}
		if (errno != EPERM)
			return seen;
		if (!seen && is_dead(pid))
			return 1;
		entered += !seen;
		seen = 1;
	}
	return 1;
}

static int opens(const char *what, int pid, int number)
{
	char path[64];

	snprintf(path, sizeof path, what, pid, number);
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* Whether a process whose file was opened is one of the guest's own: its init starts some, too, and they have files. Who
 * enters has a parent that is seen from outside alone: 0. */
static int is_guests(int pid)
{
	char path[64], line[128];
	int parent = 0;
	FILE *file;

	snprintf(path, sizeof path, "/proc/%d/status", pid);
	file = fopen(path, "r");
	if (!file)
		return 0;
	while (fgets(line, sizeof line, file))
		if (sscanf(line, "PPid: %d", &parent) == 1)
			break;
	fclose(file);
	return parent != 0;
}

/* The command has no file but its three streams: whatever else is opened is the host's. */
static int files(int pid)
{
	struct sched_param none = { 0 };
	cpu_set_t here;

	if (kill(pid, 0))
		return 0;
	CPU_ZERO(&here);
	CPU_SET(sched_getcpu(), &here);
	sched_setaffinity(pid, sizeof here, &here);
	sched_setscheduler(pid, SCHED_IDLE, &none);
	setpriority(PRIO_PROCESS, pid, 19);
	entered++;
	int pidfd = syscall(SYS_pidfd_open, pid, 0);
	while (!kill(pid, 0)) {
		for (int fd = 3; fd < 32; fd++) {
			int copy = pidfd < 0 ? -1 : syscall(SYS_pidfd_getfd, pidfd, fd, 0);
			if (copy >= 0)
				close(copy);
			if (copy >= 0 || opens("/proc/%d/fd/%d", pid, fd)) {
				if (is_guests(pid)) {
					entered--;
					goto done;
				}
				got++;
				fprintf(stderr, "file %d of %d\n", fd, pid);
				goto done;
			}
		}
		if ((opens("/proc/%d/mem", pid, 0) || opens("/proc/%d/environ", pid, 0)) && is_hosts(pid)) {
			got++;
			break;
		}
	}
done:
	if (pidfd >= 0)
		close(pidfd);
	return 1;
}

/* Stopped before it has its streams, it gets none; what it is then left with are those of the process it came from. */
static int limit(int pid)
{
	struct rlimit old, none;

	if (kill(pid, SIGSTOP))
		return 0;
	entered++;
	if (!syscall(SYS_prlimit64, pid, RLIMIT_NOFILE, NULL, &old)) {
		none = (struct rlimit){ 0, old.rlim_max };
		got += !syscall(SYS_prlimit64, pid, RLIMIT_NOFILE, &none, NULL);
	}
	kill(pid, SIGCONT);
	return 1;
}

static void hunt(int (*attack)(int))
{
	int last = getpid();

	for (long round = 0;; round++) {
		if (round % 1024 == 0) {
			if (told_to_end())
				break;
			FILE *file = fopen("/proc/sys/kernel/ns_last_pid", "r");
			int now = last;
			if (file && fscanf(file, "%d", &now) == 1 && (now > last + AHEAD / 2 || now < last))
				last = now > 4 ? now - 4 : now;
			if (file)
				fclose(file);
		}
		for (int pid = last + 1; pid < last + AHEAD; pid++)
			if (pid != getpid() && attack(pid)) {
				last = pid;
				break;
			}
	}
}

/* A terminal with this line discipline says that it is none. */
static void no_terminal(const char *name)
{
	int null = N_NULL, fd = open(name, O_RDWR | O_NOCTTY);

	if (fd >= 0) {
		got += !ioctl(fd, TIOCSETD, &null);
		close(fd);
	}
}

static void no_terminals(void)
{
	while (!told_to_end()) {
		DIR *folder = opendir("/dev/pts");
		struct dirent *entry;
		while (folder && (entry = readdir(folder)))
			if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9') {
				char name[300];
				snprintf(name, sizeof name, "/dev/pts/%s", entry->d_name);
				no_terminal(name);
			}
		if (folder)
			closedir(folder);
	}
}

/* Of which devpts a terminal is tells the guest's from the host's: both may be called /dev/pts/0. */
static int streams(const char *name)
{
	struct stat own, there, null;
	FILE *out = fopen(name, "a");

	if (!out || stat("/dev/pts", &own) || stat("/dev/null", &null))
		return 1;
	for (int fd = 0; fd < 3; fd++) {
		const char *what = "none";
		if (!fstat(fd, &there)) {
			what = S_ISCHR(there.st_mode) ? "host" : "other";
			if (S_ISCHR(there.st_mode) && there.st_dev == own.st_dev)
				what = "own";
			if (S_ISCHR(there.st_mode) && there.st_rdev == null.st_rdev)
				what = "null";
		}
		fprintf(out, "%s ", what);
	}
	return fclose(out);
}

/* A terminal of its session that is not on its stdin is somebody else's. */
static int terminal(const char *text)
{
	if (isatty(0))
		return 0;
	int fd = open("/dev/tty", O_RDWR);
	return fd < 0 || write(fd, text, strlen(text)) < 0;
}

/* Waits until nobody runs a program any more, and opens it by what was kept of it. */
static int reopen(char **word)
{
	char name[64];

	while (!kill(atoi(word[2]), 0))
		usleep(1000);
	FILE *out = fopen(word[3], "a");
	for (int n = 0; out && n < 2; n++) {
		snprintf(name, sizeof name, "/proc/self/fd/%s", word[n]);
		for (long tries = 0; tries < 20000; tries++) {
			int fd = open(name, O_WRONLY);
			if (fd < 0)
				continue;
			fprintf(out, "reopen\n");
			close(fd);
			break;
		}
	}
	if (out)
		fprintf(out, "end\n");
	return !out || fclose(out);
}

int main(int count, char **word)
{
	const char *what = count > 1 ? word[1] : "";

	if (!strcmp(what, "nothing"))
		return 0;
	if (!strcmp(what, "streams") && count > 2) {
		/* The limit is the guest's to take away again. */
		struct rlimit now;
		getrlimit(RLIMIT_NOFILE, &now);
		now.rlim_cur = now.rlim_max;
		setrlimit(RLIMIT_NOFILE, &now);
		return streams(word[2]);
	}
	if (!strcmp(what, "terminal") && count > 2)
		return terminal(word[2]);
	if (!strcmp(what, "reopen") && count > 5)
		return reopen(word + 2);
	printf("ready\n");
	fflush(stdout);
	if (!strcmp(what, "seize"))
		hunt(seize);
	else if (!strcmp(what, "files"))
		hunt(files);
	else if (!strcmp(what, "limit"))
		hunt(limit);
	else if (!strcmp(what, "discipline"))
		no_terminals();
	else
		return 2;
	printf("met %ld got %ld root %ld\n", entered, got, as_root);
	return 0;
}

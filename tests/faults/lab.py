"""A host in a folder, for the fault driver: the program called in it, and what of it is left anywhere."""

import json
import os
import re
import shutil
import signal
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
# Nothing that is asked for takes so long: what does is stuck.
LIMIT = 60


class Result:
    def __init__(self, code, out, err, seconds):
        self.code, self.seconds = code, seconds
        self.out, self.err = (text.decode(errors="replace") for text in (out, err))
        self.hit, self.count = None, None

    stuck = property(lambda self: self.code is None)

    def __repr__(self):
        code = "no end" if self.stuck else self.code
        return f"exit {code} in {self.seconds:.1f} s: {(self.err or self.out).strip()[-600:]!r}"


class Lab:
    """`place` is a folder of its own, `program` the command; inside scripts/own-network.sh."""

    def __init__(self, place, program, mark, store):
        self.place, self.program, self.mark, self.store = place, program, mark, store
        shutil.rmtree(place, ignore_errors=True)
        os.makedirs(place, mode=0o755)
        self.root = os.path.join(place, "root")
        self.nixpkgs = os.path.join(place, "nixpkgs")
        subprocess.run([f"{HERE}/../nixpkgs/prepare.sh", self.nixpkgs], check=True, stdout=subprocess.DEVNULL)
        self.step_program = os.path.join(place, "step")
        subprocess.run(["gcc", "-O2", "-o", self.step_program, f"{HERE}/step.c"], check=True)
        config = os.path.join(place, "config.toml")
        with open(config, "w") as file:
            file.write(f'root = "{self.root}"\nstore = "{store}"\n[nix]\nnixpkgs = "{self.nixpkgs}"\n[timeouts]\nstart = 6\nstop = 10\nlock = 20\n[ids]\nskip_running = false\n')
        # A long PATH is a call of the kernel for each of its folders and each program.
        nix = os.path.dirname(os.path.realpath(shutil.which("nix-env")))
        path = f"{nix}:/usr/sbin:/usr/bin:/sbin:/bin"
        self.env = dict(os.environ, PATH=path, NIXCLOUD_CONTAINER_CONFIG=config, NIX_CONFIG="substitute = false\nbuild-users-group =")
        self.config = f"NIXCLOUD_CONTAINER_CONFIG={config}".encode()
        self.stuck, self.saved, self.calls = [], {}, []

    def write(self, name, text):
        path = os.path.join(self.place, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def call(self, *words, before=(), limit=LIMIT):
        begin = time.time()
        process = subprocess.Popen([*before, self.program, *words], env=self.env, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        try:
            out, err = process.communicate(timeout=limit)
            return Result(process.returncode, out, err, time.time() - begin)
        except subprocess.TimeoutExpired:
            self.stuck.append(words)
            try:
                os.killpg(process.pid, signal.SIGKILL)
                out, err = process.communicate(timeout=5)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                out, err = b"", b""
            return Result(None, out, err, time.time() - begin)

    def step(self, number, mode, kinds, *words):
        """The same with a fault at the call `number`."""
        log = os.path.join(self.place, "step.log")
        before = [self.step_program, "-n", str(number), "-m", mode, "-s", kinds, "-f", self.program, "-l", log, "--"]
        result = self.call(*words, before=before)
        text = open(log, errors="replace").read() if os.path.exists(log) else ""
        hit, count = re.search(r"^HIT (.*)$", text, re.M), re.search(r"^END .* count (\d+)$", text, re.M)
        result.hit, result.count = hit and hit.group(1), count and int(count.group(1))
        # Who calls what of the kernel, and on what: without numbers, and of a file its folder.
        calls = re.findall(r"^(?:HIT )?\d+ (.*)$", text, re.M)
        self.calls = [re.sub(r"\d+|[0-9a-z]{32}", "N", re.sub(r"[^/ ]*$", "", call)) for call in calls]
        return result

    def listed(self):
        result = self.call("list", "--json")
        try:
            return {one["name"]: one for one in json.loads(result.out)["containers"]}
        except (ValueError, KeyError, TypeError):
            return None

    def destroy_all(self):
        for name in self.listed() or {}:
            self.call("destroy", "--force", name)

    def save(self, name):
        """Keeps what is on disk and in the packet filter of a container that does not run, for `restore`."""
        subprocess.run(["tar", "-C", self.root, "-cf", f"{self.place}/{name}.tar", "."], check=True)
        rules = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
        self.write(f"{name}.nft", f"flush ruleset\n{rules}")
        self.saved[name] = self.roots()

    def restore(self, name):
        """Puts it back where no container is. A tenth of what creating it anew takes."""
        subprocess.run(["tar", "-C", self.root, "--numeric-owner", "-xpf", f"{self.place}/{name}.tar"], check=True)
        subprocess.run(["nft", "-f", f"{self.place}/{name}.nft"], check=True)
        for link, target in self.saved[name].items():
            if not os.path.lexists(link):
                os.symlink(target, link)

    def generations(self, name):
        """The packages of its generations, by their numbers."""
        told = json.loads(self.call("list-generations", "--json", name).out)
        return {one["id"]: one["path"] for one in told["generations"]}

    def paths(self, packages):
        """The names in the store of all that these packages need."""
        told = subprocess.run(["nix-store", "--query", "--requisites", *packages], env=self.env, capture_output=True, text=True, check=True)
        return {path.rsplit("/", 1)[1] for path in told.stdout.split()}

    def seen(self, name):
        """The paths of the store that the running guest sees, each with how much is in it; none where it does not say."""
        script = "cd /nix/store && for path in $(ls -A); do set -- $(ls -A $path); echo $path $#; done"
        told = self.call("run", name, "/bin/sh", "-c", script)
        return dict(line.split(" ") for line in told.out.splitlines()) if told.code == 0 else None

    def roots(self):
        """Nix's notes of links of ours that keep something, and where these are."""
        roots, auto = {}, "/nix/var/nix/gcroots/auto"
        for name in os.listdir(auto):
            try:
                target = os.readlink(f"{auto}/{name}")
            except OSError:
                continue
            if target.startswith(self.place + "/"):
                roots[f"{auto}/{name}"] = target
        return roots

    def left(self):
        """All that there is of containers, by kind."""
        kinds = {"file": set(), "cgroup": set(), "process": set()}
        for folder, folders, files in os.walk(self.root):
            below = folder[len(self.root):]
            if below.endswith("/container/nix"):
                # The expression itself is the host's.
                files = [file for file in files if not file.endswith(".nix")]
            if below.endswith("/resolvers"):
                files = []
            if below.endswith("/rootfs"):
                folders[:] = []
            kinds["file"].update(f"{below}/{name}" for name in files + folders)
        kinds["gc root"] = set(self.roots().values())
        for top, folders, _ in os.walk("/sys/fs/cgroup"):
            found = [name for name in folders if name.startswith("lxc.") and self.mark in name]
            kinds["cgroup"].update(f"{top}/{name}" for name in found)
            folders[:] = [name for name in folders if name not in found]
        kinds["process"] = self.processes()
        kinds["interface"] = set(os.listdir("/sys/class/net"))
        with open("/proc/self/mountinfo") as mounts:
            kinds["mount"] = {line.split(" ")[4] for line in mounts if self.place in line}
        with open("/proc/net/unix") as sockets:
            lines = [line.split(None, 7) for line in sockets]
        kinds["socket"] = {line[7].strip() for line in lines if len(line) > 7 and self.root in line[7]}
        rules = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True).stdout
        kinds["rule"] = set(re.sub(r"counter packets \d+ bytes \d+", "", rules).splitlines())
        kinds["half-written"] = {f"/etc/{name}" for name in os.listdir("/etc") if name.startswith(".nixcloud-")}
        return kinds

    def processes(self):
        found = set()
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    words = file.read().replace(b"\0", b" ").decode(errors="replace")
                with open(f"/proc/{pid}/environ", "rb") as file:
                    ours = self.config in file.read()
                with open(f"/proc/{pid}/cgroup") as file:
                    ours = ours or self.mark in file.read()
                with open(f"/proc/{pid}/stat") as file:
                    state = file.read().rsplit(")", 1)[1].split()[0]
            except OSError:
                continue
            if int(pid) != os.getpid() and state != "Z" and "dnsmasq" not in words and (ours or self.root in words):
                found.add(f"{pid} {words[:100]}")
        return found

    def leaked(self, before, patience=3.0):
        """What is there more than `before`, after the kernel had a moment to let go, and what is missing."""
        end = time.time() + patience
        while True:
            now = self.left()
            found = {kind: sorted(now[kind] ^ before[kind])[:6] for kind in now if now[kind] ^ before[kind]}
            if not found or time.time() > end:
                return found
            time.sleep(0.1)

#!/usr/bin/env python3
"""What `store = "closure"` costs beside `"full"`: both in one run, in turn, on the same containers, medians of each.

    make bench-store            ROUNDS=15 GUESTS=100 SIZES="150 600 1500"

For closures of each size, on busybox guests: a start, a change of the generation of a running guest in which a tenth of
the paths comes and goes, an update that builds that; of each also the processor time of the program and its worker, which a
loaded machine changes less. In guests with systemd: units for mounts, processor time of PID 1
until it has booted and for a change, how long `systemctl` and a service with mounts of its own take. Last the memory of
many busybox guests: a systemd guest's own would hide what a store costs.
"""

import glob
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
STORES = ("full", "closure")


def main():
    if sys.argv[1:2] != ["inside"]:
        os.execv(f"{HERE}/bench-lab.sh", [f"{HERE}/bench-lab.sh", os.path.abspath(__file__)])
    Bench(sys.argv[2]).all()


class Bench:
    def __init__(self, work):
        self.work = work
        self.program = os.environ.get("PROGRAM", f"{HERE}/../target/release/nixcloud-container")
        self.rounds, self.guests = int(os.environ.get("ROUNDS", 15)), int(os.environ.get("GUESTS", 100))
        self.sizes = [int(size) for size in os.environ.get("SIZES", "150 600 1500").split()]
        subprocess.run([f"{HERE}/../tests/nixpkgs/prepare.sh", f"{work}/nixpkgs"], check=True)
        for store in STORES:
            with open(f"{work}/{store}.toml", "w") as file:
                file.write(f'root = "{work}/root"\nstore = "{store}"\n[nix]\nnixpkgs = "{work}/nixpkgs"\n[ids]\nskip_running = false\n')
        os.makedirs(f"{work}/path/deep")
        for name in ("file", "deep/file"):
            with open(f"{work}/path/{name}", "w") as file:
                file.write(name)
        self.names = []

    def call(self, *words, store="closure"):
        """Calls the program as on a host with that store; returns what it printed, the milliseconds that it took, and those of
        processors."""
        begin, before = time.monotonic(), used()
        done = subprocess.run([self.program, "--quiet", "--config", f"{self.work}/{store}.toml", *words],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)
        took = (time.monotonic() - begin) * 1000
        if done.returncode:
            raise SystemExit(f"{words}: {done.returncode}: {done.stderr}")
        return done.stdout.strip(), took, used() - before

    def paths(self, size, version):
        """A store path that refers to `size` others, folders; of another version a tenth of them differs. Made once."""
        number = f'name = "bench-${{toString number}}-${{if number < {size // 10} then "{version}" else "same"}}"'
        text = f'builtins.toFile "paths-{size}" (toString (builtins.genList (number: "${{builtins.path {{ path = {self.work}/path; {number}; }}}}") {size}))'
        made = subprocess.run(["nix-instantiate", "--eval", "--read-write-mode", "--expr", text], capture_output=True, text=True, check=True)
        return made.stdout.strip().strip('"')

    def file(self, kind, size, version):
        """A container file whose closure has about `size` paths."""
        path = f"{self.work}/{kind}-{size}-{version}.nix"
        with open(path, "w") as file:
            file.write(f'''{{
  configuration = {{ ... }}: {{
    standin.guest = "{kind}";
    networking.hostName = "guest";
    systemd.services.own = {{
      wantedBy = [ "multi-user.target" ];
      script = "exec sleep 100000 # {version}";
    }};
    environment.etc."paths".text = "${{builtins.storePath "{self.paths(size, version)}"}}";
  }};
}}
''')
        return path

    def create(self, kind, size):
        """With two generations, of which the first is current."""
        name = f"{kind[0]}{size}x{os.getpid() % 10000}"
        self.call("create", name, self.file(kind, size, "one"))
        self.names.append(name)
        self.call("update", name, self.file(kind, size, "two"))
        self.call("switch-generation", name, "1")
        return name

    def init(self, name):
        return json.loads(self.call("state", "--json", name)[0])["init_pid"]

    def all(self):
        try:
            self.call("host", "up")
            print(f"medians of {self.rounds}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} at the beginning")
            for size in self.sizes:
                self.busybox(size)
            for size in self.sizes:
                self.systemd(size)
            self.memory(600)
            print(f"load {os.getloadavg()[0]:.1f} at the end")
        finally:
            for name in self.names:
                subprocess.run([self.program, "--quiet", "--config", f"{self.work}/full.toml", "destroy", "--force", name], capture_output=True)

    def show(self, what, figures):
        full, closure = (statistics.median(figures[store]) for store in STORES)
        print(f"{what:<62} full {full:>8.1f}   closure {closure:>8.1f}   more {closure - full:>7.1f}", flush=True)

    def each(self, round):
        """Whoever goes first pays for a cold cache: in turn."""
        return STORES if round % 2 else STORES[::-1]

    def busybox(self, size):
        name = self.create("busybox", size)
        shown = len(self.listed(name))
        files = [self.file("busybox", size, f"round{round}") for round in range(5)]
        figures = {}

        def timed(store, *words):
            _, took, processors = self.call(*words, store=store)
            for what, figure in (("ms", took), ("ms of processors", processors)):
                figures.setdefault(f"{words[0]}, {what}", {}).setdefault(store, []).append(figure)

        for round in range(self.rounds):
            for store in self.each(round):
                timed(store, "start", name)
                timed(store, "switch-generation", name, "2")
                self.call("switch-generation", name, "1", store=store)
                if round < len(files):
                    # Built by whoever comes first: what is compared is the rest.
                    if store == self.each(round)[0]:
                        self.call("update", name, files[round], store=store)
                        self.call("switch-generation", name, "1", store=store)
                    timed(store, "update", name, files[round])
                    self.call("switch-generation", name, "1", store=store)
                self.call("terminate", name, store=store)
        for what, of in figures.items():
            self.show(f"{shown} paths: {what}", of)
        self.destroy(name)

    def listed(self, name):
        folder = f"{self.work}/root/var/lib/nixcloud/container/closures/{name}"
        lists = [open(f"{folder}/{file}").read().splitlines() for file in os.listdir(folder)]
        return max(lists, key=len)[:-1]

    def systemd(self, size):
        name = self.create("systemd", size)
        shown = len(self.listed(name))
        whats = ("mount units", "until running, ms", "PID 1 until running, ms of processor time",
                 "PID 1 for switch-generation, ms of processor time", "switch-generation, ms", "systemctl is-active, ms",
                 "service with PrivateTmp and ProtectSystem=strict, ms", "processes and page tables, MB")
        figures = {what: {store: [] for store in STORES} for what in whats}
        for round in range(max(5, self.rounds // 3)):
            for store in self.each(round):
                of = lambda what: figures[what][store]
                begin = time.monotonic()
                self.call("start", name, store=store)
                init = self.init(name)
                self.call("run", name, "/bin/sh", "-c", "systemctl is-system-running --wait; :")
                of(whats[1]).append((time.monotonic() - begin) * 1000)
                of(whats[2]).append(cpu(init))
                units = self.call("run", name, "/bin/sh", "-c", "systemctl list-units --type=mount --all --no-legend --plain | wc -l")[0]
                of(whats[0]).append(int(units))
                before = cpu(init)
                of(whats[4]).append(self.call("switch-generation", name, "2", store=store)[1])
                of(whats[3]).append(cpu(init) - before)
                for what, command in ((whats[5], "systemctl is-active own"),
                                      (whats[6], "systemd-run --quiet --wait -p PrivateTmp=yes -p ProtectSystem=strict true")):
                    script = f"begin=$(date +%s%N); for i in 1 2 3 4 5 6 7 8 9 10; do {command} >/dev/null; done; echo $((($(date +%s%N) - begin) / 10000))"
                    of(what).append(int(self.call("run", name, "/bin/sh", "-c", script)[0]) / 1000)
                of(whats[7]).append(memory_of(init))
                self.call("terminate", name, store=store)
                self.call("switch-generation", name, "1", store=store)
        for what, of in figures.items():
            self.show(f"systemd, {shown} paths: {what}", of)
        self.destroy(name)

    def memory(self, size):
        """What the guests' cgroup has, and the kernel's tables that a view of the store is made of, which are others' as well."""
        file = self.file("busybox", size, "one")
        names = [f"m{number}x{os.getpid() % 10000}" for number in range(self.guests)]
        for name in names:
            self.call("create", name, file)
            self.names.append(name)
        figures = {}
        for round in range(3):
            for store in self.each(round):
                drop()
                before = meminfo()
                for name in names:
                    self.call("start", name, store=store)
                time.sleep(1)
                drop()
                after = meminfo()
                for what in before:
                    figures.setdefault(what, {}).setdefault(store, []).append(after[what] - before[what])
                for name in names:
                    self.call("terminate", name, store=store)
        for what, of in figures.items():
            self.show(f"{self.guests} busybox guests of {size} paths: {what}, MB", of)

    def destroy(self, name):
        self.call("destroy", "--force", name)
        self.names.remove(name)


def used():
    """Milliseconds of processor time of all that has been waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (usage.ru_utime + usage.ru_stime) * 1000


def cpu(pid):
    """Milliseconds of processor time of a process."""
    return int(open(f"/proc/{pid}/schedstat").read().split()[0]) / 1e6


def memory_of(init):
    """What PID 1 and the processes in its pid namespace have for themselves, MB."""
    mine, total = os.readlink(f"/proc/{init}/ns/pid"), 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{pid}/ns/pid") == mine:
                status = open(f"/proc/{pid}/status").read()
                total += sum(int(value) for value in re.findall(r"^(?:RssAnon|VmPTE):\s+(\d+)", status, re.M))
        except OSError:
            pass
    return total / 1024


def drop():
    """Lets the kernel give back what it can do without."""
    subprocess.run(["sync"], check=True)
    with open("/proc/sys/vm/drop_caches", "w") as file:
        file.write("3")


def meminfo():
    """MB of each."""
    figures = {"the cgroup of the guests": 0}
    for kind in ("memory.usage_in_bytes", "memory.current"):
        for file in glob.glob(f"/sys/fs/cgroup/**/nixcloud-guests/{kind}", recursive=True):
            figures["the cgroup of the guests"] += int(open(file).read()) / (1 << 20)
    for line in open("/proc/slabinfo").read().splitlines()[2:]:
        name, active, _, size = line.split()[:4]
        if name in ("shmem_inode_cache", "ovl_inode", "dentry", "mnt_cache"):
            figures[name] = int(active) * int(size) / (1 << 20)
    return figures


main()

#!/usr/bin/env python3
"""A guest takes all that it can of one thing, and the host's own `list` and a neighbour's page are timed meanwhile. `make hogs`.

    hogs.py PROGRAM [--megabytes N] [--seconds N] [--only KIND]

It all happens in a small machine (machine.sh) with a network of its own: a hog of memory never has more than that. Of terminals, which
a machine has once, it takes for two seconds. Prints a table in Markdown; ends with 1 where `list` failed, the neighbour did not
answer afterwards, or its process was ended.
"""

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../faults"))
from lab import Lab  # noqa: E402

HOG, NEIGHBOUR = f"hog{os.getpid()}x", f"web{os.getpid()}x"
# What is taken, and by which kind of hog.
KINDS = {
    "nothing": None,
    "processes": "fork",
    "memory, one process": "heap",
    "memory, many processes": "many",
    "memory, tmpfs": "tmpfs",
    "page cache": "cache",
    "memory of the kernel": "kernel",
    "processors": "cpu",
    "disk, synced": "io",
    "inotify": "inotify",
    "terminals": "pty",
    "cgroups": "cgroups",
    "connections": "connections",
}
# How long a page may take; then it counts as none.
PATIENCE = 5


class Timed:
    """Calls something again and again until it is told to stop."""

    def __init__(self, what):
        self.what, self.seconds, self.failed, self.stop = what, [], 0, threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.stop.is_set():
            begin = time.monotonic()
            good = self.what()
            self.seconds.append(time.monotonic() - begin)
            self.failed += not good
            time.sleep(0.05)

    def end(self):
        self.stop.set()
        self.thread.join()
        middle, most = statistics.median(self.seconds) * 1000, max(self.seconds) * 1000
        return f"{middle:.0f} ({most:.0f})" + (f", {self.failed} failed" if self.failed else "")


def page(address):
    try:
        with socket.create_connection((address, 80), PATIENCE) as connection:
            connection.settimeout(PATIENCE)
            connection.sendall(b"GET /index.html HTTP/1.0\r\n\r\n")
            text = b""
            while part := connection.recv(4096):
                text += part
        return b"hello" in text
    except OSError:
        return False


def timed(lab, address, seconds):
    """`list` and the page, in milliseconds: the median and the longest; and how many of each failed."""
    both = Timed(lambda: lab.call("list").code == 0), Timed(lambda: page(address))
    time.sleep(seconds)
    said = [one.end() for one in both]
    return said, both[0].failed


def killed(name):
    """How many processes of that guest the kernel has ended for want of memory."""
    count = 0
    for top, _, files in os.walk("/sys/fs/cgroup"):
        if f"/lxc.payload.{name}" in top and top.rsplit("/", 1)[1].startswith("lxc.payload."):
            for file in {"memory.oom_control", "memory.events"} & set(files):
                with open(f"{top}/{file}") as text:
                    count += sum(int(line.split()[1]) for line in text if line.startswith("oom_kill "))
    return count


def guest(lab, name, hog):
    file = lab.write(f"{name}.nix", '{ configuration = { ... }: { standin.guest = "busybox"; networking.firewall.enable = false; }; }\n')
    made = lab.call("create", name, file)
    assert made.code == 0, made
    shutil.copy(hog, f"{lab.root}/var/lib/lxc/{name}/rootfs/root/hog")
    started = lab.call("start", name)
    assert started.code == 0, started


def served(lab):
    """Starts the page, and returns its address and the number of its process in the guest."""
    script = "mkdir -p /run/www && echo hello >/run/www/index.html && busybox httpd -f -p 80 -h /run/www >/dev/null 2>&1 </dev/null & echo $!"
    told = lab.call("run", NEIGHBOUR, "--", "/bin/sh", "-c", script)
    address = lab.call("show-ip", NEIGHBOUR).out.strip()
    end = time.time() + 20
    while not page(address):
        assert time.time() < end, f"no page at {address}: {told}"
        time.sleep(0.1)
    return address, told.out.strip()


def measure(lab, kind, word, address, seconds):
    """The row of one kind, and what is wrong."""
    (list_before, page_before), _ = timed(lab, address, 3)
    hog = taken = None
    if word:
        seconds = 2 if word == "pty" else seconds
        hog = subprocess.Popen([lab.program, "run", HOG, "--", "/bin/sh", "-c", f"SECONDS_TO_TAKE={seconds} exec /root/hog {word}"],
                               env=lab.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        time.sleep(0.5)
    (list_during, page_during), failed = timed(lab, address, seconds)
    if hog:
        try:
            taken = hog.communicate(timeout=20)[0].split()[1:]
        except subprocess.TimeoutExpired:
            hog.kill()
    ended, neighbours = str(killed(HOG)), killed(NEIGHBOUR)
    if (lab.listed() or {}).get(HOG, {}).get("state") != "running":
        ended = "the whole guest"
    (list_after, page_after), failed_after = timed(lab, address, 3)
    # What it left goes with it.
    for words in (["terminate", HOG],):
        lab.call(*words)
    for name in os.listdir(f"{lab.root}/var/lib/lxc/{HOG}/rootfs/root"):
        if name.startswith("hog-"):
            os.unlink(f"{lab.root}/var/lib/lxc/{HOG}/rootfs/root/{name}")
    lab.call("start", HOG)
    what = " ".join(taken or []) or ("-" if not word else "did not say")
    row = (kind, what, ended, list_before, list_during, list_after, page_before, page_during, page_after)
    wrong = [text for text, bad in (
        (f"{failed + failed_after} `list` failed", failed + failed_after),
        ("processes of the neighbour were ended", neighbours),
        ("the neighbour does not answer afterwards", not page(address)),
    ) if bad]
    return row, wrong


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--megabytes", type=int, default=700)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--only", choices=KINDS)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if not asked.inside:
        machine = [f"{HERE}/machine.sh", f"hogs-{os.getpid()}", str(asked.megabytes), f"{HERE}/../../scripts/own-network.sh"]
        sys.exit(subprocess.run([*machine, sys.executable, *sys.argv, "--inside"]).returncode)
    place = f"/tmp/nhogs-{os.getppid()}-{int(time.time())}"
    lab = Lab(place, os.path.realpath(asked.program), HOG, "full")
    hog = os.path.join(place, "hog")
    subprocess.run(["gcc", "-O2", "-Wall", "-static", "-o", hog, f"{HERE}/hog.c"], check=True)
    up = lab.call("host", "up")
    if up.code != 0:
        sys.exit(f"host up: {up}")
    for name in (HOG, NEIGHBOUR):
        guest(lab, name, hog)
    address, process = served(lab)
    print("| a hog of | it took | of it ended | `list` before | during | after | page before | during | after |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    bad = []
    for kind, word in KINDS.items():
        if asked.only in (None, kind):
            row, wrong = measure(lab, kind, word, address, asked.seconds)
            print(f"| {' | '.join(row)} |", flush=True)
            bad += [f"{kind}: {what}" for what in wrong]
    if lab.call("run", NEIGHBOUR, "--", "/bin/sh", "-c", f"kill -0 {process}").code != 0:
        bad.append("the neighbour's server is another one")
    lab.destroy_all()
    lab.call("host", "down")
    for what in bad:
        print(f"WRONG: {what}")
    shutil.rmtree(place, ignore_errors=True)
    sys.exit(bool(bad))


main()

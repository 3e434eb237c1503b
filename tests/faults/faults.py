#!/usr/bin/env python3
"""Kills and fails operations at calls of the kernel, and asks what is stuck, leaked or silent afterwards. `make faults`.

    faults.py PROGRAM [--seconds N] [--jobs N] [--only OPERATION] [--mode MODE] [--at STEP] [--seed N] [--store full|closure]

Each pair of operation and fault has its share of the time, and what one leaves the next ones have; in it, calls are chosen evenly
over the whole operation. Of a loop (the same calls by the same process on files of the same folder, at least three times one
after the other) the first round and the last one are tried: those are the calls that differ. Each job is a host of its own. Prints
a table in Markdown, and every problem with the call at which it came to be. Ends with 1 where there is any.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from lab import HERE, Lab

NAME = f"nf{os.getpid()}x"
# What is done, on which container (None, "stopped", "running", "updated"), and what is to be so afterwards.
OPERATIONS = {
    "create": (None, ["create", NAME, "{a}"], ("stopped", 1)),
    "update": ("stopped", ["update", NAME, "{b}"], ("stopped", 2)),
    "update, running": ("running", ["update", NAME, "{b}"], ("running", 2)),
    "rollback, running": ("updated and running", ["rollback", NAME], ("running", 1)),
    "rollback": ("updated", ["rollback", NAME], ("stopped", 1)),
    "start": ("stopped", ["start", NAME], ("running", 1)),
    "stop": ("running", ["stop", NAME], ("stopped", 1)),
    "terminate": ("running", ["terminate", NAME], ("stopped", 1)),
    "destroy": ("stopped", ["destroy", NAME], None),
    "destroy --force": ("running", ["destroy", "--force", NAME], None),
    "apply": (None, ["apply", "{set}"], ("stopped", 1)),
}
KINDS = ("stuck", "leaked", "silent", "missing")
# How it is cut off or fails, and at which calls.
MODES = {
    "kill one": ("self", "mut"),
    "kill command": ("main", "mut"),
    "kill all": ("tree", "mut"),
    "EIO once": ("err:5", "mut"),
    "ENOSPC from then on": ("errs:28", "full"),
}


class Case:
    def __init__(self, lab, files, operation, mode):
        self.lab, self.operation, self.mode = lab, operation, mode
        self.before, words, self.promise = OPERATIONS[operation]
        self.words = [word.format(**files) for word in words]
        self.files, self.problems, self.done, self.total, self.unlike = files, [], 0, 0, 0

    def problem(self, kind, step, what):
        self.problems.append(kind)
        print(f"{kind.upper()}: {self.operation}, {self.mode}, call {step}: {what}", flush=True)

    def prepare(self):
        if self.before is None:
            return
        kept = "updated" if self.before.startswith("updated") else "stopped"
        steps = []
        if kept in self.lab.saved:
            self.lab.restore(kept)
        else:
            steps += [("create", NAME, self.files["a"])]
            if kept == "updated":
                # The first generation is known to have worked.
                steps += [("start", NAME), ("terminate", NAME), ("update", NAME, self.files["b"])]
        if self.before.endswith("running"):
            steps += [("start", NAME)]
        for words in steps:
            result = self.lab.call(*words)
            if result.code != 0:
                self.problem("stuck", "before", f"it cannot be prepared: {result}")
                return

    def now(self):
        """The state and the current generation; None where there is no container."""
        listed = self.lab.listed()
        if listed is None:
            return "no list"
        one = listed.get(NAME)
        return one and (one["state"], one["generation"])

    def once(self, step, base):
        lab = self.lab
        self.prepare()
        mode, kinds = MODES[self.mode]
        result = lab.step(step, mode, kinds, *self.words)
        self.done += result.hit is not None
        where = f"{step} ({result.hit})"
        if result.stuck:
            self.problem("stuck", where, result)
        now = self.now()
        if now == "no list":
            self.problem("stuck", where, f"list: {lab.call('list', '--json')}")
        survived = mode.startswith("err") or mode == "self"
        if result.code == 0 and now != self.promise:
            self.problem("silent", where, f"it said that all is well, and it is {now}")
        if survived and result.code not in (0, None, 137) and not result.err.strip():
            self.problem("silent", where, f"it failed without a word: {result}")
        if survived and result.code not in (0, None, 137) and now == self.promise and self.operation == "create":
            self.problem("silent", where, f"it is there, and the command says it failed: {result}")
        self.shown(where, False)
        again = lab.call(*self.words)
        if again.code != 0 and not self.legal(again, now):
            self.problem("stuck", where, f"again: {again}; after {result}")
        elif self.promise and not self.operation.startswith("rollback") and self.now() != self.promise and not self.more(self.now()):
            self.problem("silent", where, f"again said that all is well, and it is {self.now()}")
        self.shown(where, True)
        if self.promise:
            gone = lab.call("destroy", "--force", NAME)
            if gone.code != 0 and "not exist" not in gone.err:
                self.problem("stuck", where, f"destroy --force: {gone}; after {result}")
        left = lab.leaked(base)
        # The file of a lock that could not be removed is nobody's, and goes with the next who takes it.
        if set(left) == {"file"} and all("/locks/" in file for file in left["file"]):
            lab.call("host", "up")
            left = lab.leaked(base)
        if left:
            self.problem("leaked", where, f"{left}; after {result}")
            lab.destroy_all()
            # An ordinary day later: is it seen to then?
            lab.call("create", NAME, self.files["a"])
            lab.call("destroy", "--force", NAME)
            return lab.left()
        return base

    def shown(self, where, ended):
        """Whether a guest that runs sees of the store what it runs and what it boots next, and, where an operation has `ended`,
        nothing else."""
        lab, now = self.lab, self.now()
        if lab.store != "closure" or not now or now[0] != "running" or not self.before or not self.before.endswith("running"):
            return
        packages = lab.generations(NAME)
        booted = packages.get(2 if self.before.startswith("updated") else 1)
        needed = lab.paths({booted, packages[now[1]]})
        seen = lab.seen(NAME)
        if seen is None:
            return self.problem("missing", where, f"the guest does not say what it sees: {lab.call('run', NAME, '/bin/sh', '-c', ':')}")
        missing = needed - set(seen)
        # Of a file or a link the shell says one word.
        hollow = {name for name in needed & set(seen) if os.path.isdir(f"/nix/store/{name}")
                  and int(seen[name]) != len(os.listdir(f"/nix/store/{name}"))}
        if missing or hollow:
            self.problem("missing", where, f"not seen: {missing}, and empty: {hollow}")
        more = set(seen) - needed
        if more and ended:
            # What a killed activation runs is in use until it has ended.
            time.sleep(1)
            lab.call("switch-generation", NAME, str(now[1]))
            more = set(lab.seen(NAME) or {}) - lab.paths({booted, lab.generations(NAME)[self.now()[1]]})
            if more:
                self.problem("leaked", where, f"seen and not needed: {more}")

    def legal(self, again, now):
        """What may be refused the second time: what is done already."""
        if self.operation == "create":
            return "exists" in again.err and now == self.promise
        if self.promise is None:
            return "not exist" in again.err
        if not self.operation.startswith("rollback"):
            return False
        # A generation that was left untried is gone back to by name alone, as the refusal says.
        if "`nixcloud-container switch-generation NAME 1` goes there" in again.err:
            self.lab.call("switch-generation", NAME, "1")
        # The program that it had called may have got through after it was killed, too.
        return self.now() == self.promise

    def more(self, now):
        """A second update makes a third generation where the first one had got through."""
        return self.operation.startswith("update") and now is not None and now[0] == self.promise[0] and now[1] == 3

    def run(self, seconds, asked, base):
        self.prepare()
        mode, kinds = MODES[self.mode]
        self.total = self.lab.step(0, "none", kinds, *self.words).count or 0
        unlike = differing(self.lab.calls)
        self.unlike = len(unlike)
        self.lab.destroy_all()
        end = time.time() + seconds
        mine = list(even(len(unlike), asked.seed))[asked.job::asked.jobs]
        for step in [asked.at] if asked.at else [unlike[number - 1] for number in mine]:
            if time.time() > end and self.done > 0:
                break
            base = self.once(step, base)
        return base


def differing(calls):
    """The numbers of all calls but those of a loop's inner rounds."""
    inner = set()
    for length in range(1, 7):
        here = length
        while here < len(calls):
            end = here
            while end < len(calls) and calls[end] == calls[end - length]:
                end += 1
            # From `here - length` to `end` the same calls come again and again.
            if end - here >= 2 * length:
                inner.update(range(here, end - length))
            here = max(end, here) + 1
    return [number + 1 for number in range(len(calls)) if number not in inner]


def even(total, seed):
    """All calls, in an order whose beginnings are spread evenly over the whole."""
    golden, seen = 0.6180339887498949, set()
    for number in range(total * 8):
        step = 1 + int((number + seed) * golden % 1 * total)
        if step not in seen:
            seen.add(step)
            yield step


def all_jobs(jobs):
    """Runs each job in a network namespace of its own, and puts together what they came to."""
    network = f"{HERE}/../../scripts/own-network.sh"
    runs = [subprocess.Popen([network, sys.executable, *sys.argv, "--jobs", str(jobs), "--job", str(job)],
                             stdout=subprocess.PIPE, text=True) for job in range(jobs)]
    rows, ended = {}, True
    with ThreadPoolExecutor(jobs) as readers:
        for told in readers.map(read, runs):
            ended = ended and told is not None
            for operation, mode, done, unlike, total, *counts in told or ():
                # A job may have counted a call more, where its host was slower.
                row = rows.setdefault((operation, mode), [0] * (3 + len(KINDS)))
                row[1:3] = max(row[1], unlike), max(row[2], total)
                row[0] += done
                row[3:] = [before + count for before, count in zip(row[3:], counts)]
    print("\n| operation | fault | at | of calls that differ | of all | stuck | leaked | silent | missing |\n|---|---|---|---|---|---|---|---|---|")
    for (operation, mode), row in rows.items():
        print(f"| {operation} | {mode} | {' | '.join(map(str, row))} |")
    sums = [sum(column) for column in zip(*rows.values())]
    print(f"| all | | {' | '.join(map(str, sums))} |")
    return int(not ended or any(run.returncode for run in runs))


def read(run):
    """Passes on what a job says; its rows at the end."""
    rows = None
    for line in run.stdout:
        if line.startswith("ROWS "):
            rows = json.loads(line[5:])
        else:
            print(line, end="", flush=True)
    run.wait()
    return rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--seconds", type=float, default=900)
    parser.add_argument("--only")
    parser.add_argument("--mode")
    parser.add_argument("--at", type=int)
    parser.add_argument("--seed", type=int, default=int(time.time()) // 86400 % 1000)
    # What takes time is waiting, for the disk and for limits: several hosts share two processors well.
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--store", default="full", choices=["full", "closure"])
    parser.add_argument("--job", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.at:
        asked.jobs = 1
    if asked.job is None:
        sys.exit(all_jobs(asked.jobs))
    place = f"/tmp/nfault-{os.getpid()}"
    lab = Lab(place, os.path.realpath(asked.program), NAME, asked.store)
    text = "{{ configuration = {{ ... }}: {{ environment.etc.\"v\".text = \"{0}\"; }}; network.enableNat = true; " \
           "network.forwards = [ {{ hostPort = 180{0}; containerPort = 80; }} ]; }}\n"
    files = {name: lab.write(f"{name}.nix", text.format(version)) for name, version in (("a", "01"), ("b", "02"))}
    files["set"] = lab.write("set.nix", f"{{ {NAME} = import ./a.nix; }}\n")
    up = lab.call("host", "up")
    if up.code != 0:
        sys.exit(f"host up: {up}")
    # What is built once, and folders that stay.
    for file in ("b", "a"):
        lab.call("create", NAME, files[file])
        lab.call("start", NAME)
        lab.call("destroy", "--force", NAME)
    base = lab.left()
    for before in ("stopped", "updated"):
        Case(lab, files, {"stopped": "start", "updated": "rollback"}[before], "kill one").prepare()
        lab.save(before)
        lab.call("destroy", "--force", NAME)
    chosen = [(operation, mode) for operation in OPERATIONS for mode in MODES
              if (not asked.only or asked.only == operation) and (not asked.mode or asked.mode == mode)]
    end, cases = time.time() + asked.seconds, []
    for index, (operation, mode) in enumerate(chosen):
        case = Case(lab, files, operation, mode)
        base = case.run((end - time.time()) / (len(chosen) - index), asked, base)
        cases.append(case)
        print(f"{operation}, {mode}: {case.done} of {case.total}, {len(case.problems)} problems", flush=True)
    down = lab.call("host", "down")
    problems = sum(len(case.problems) for case in cases) + (down.code != 0)
    if down.code != 0:
        print(f"host down: {down}")
    rows = [(case.operation, case.mode, case.done, case.unlike, case.total,
             *(case.problems.count(kind) for kind in KINDS)) for case in cases]
    print("ROWS", json.dumps(rows), flush=True)
    if not problems:
        shutil.rmtree(place)
    sys.exit(problems > 0)


main()

#!/usr/bin/env python3
"""Break checkpoints in every way there is, and see that none is lost.

Each command prints a count and ends with 0 if nothing was lost, else with 1::

    python tools/chaos.py kill --n 200      # kill -9 a training at random times, resume
    python tools/chaos.py interrupt --n 50  # SIGINT and SIGTERM instead
    python tools/chaos.py crash             # states of a disk after a power failure
    python tools/chaos.py iofault           # an error or a short write at every call
    python tools/chaos.py bitflip           # every byte changed, every length
    python tools/chaos.py race --n 1000     # two processes write to one folder
    python tools/chaos.py all

What has to hold: a checkpoint that was there before, or the new one, is always
loaded, whole; damage is a ValueError; a run that was killed and resumed ends with the
bits of one that was not.
"""

import argparse
import errno
import itertools
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

from sklearn_ternary.persistence import (
    _atomic,
    _checkpoint,
    load_checkpoint,
    load_latest,
    save_checkpoint,
)

MODULES = (_atomic, _checkpoint)  # whose calls of `os` are watched


class LostError(AssertionError):
    """A checkpoint was lost, or came back changed."""


def expect(condition, message):
    """Raise LostError unless `condition`."""
    if not condition:
        raise LostError(message)


# -- kill ----------------------------------------------------------------------


class Loop:
    """Momentum descent with random batches: a run that has state of every kind."""

    n_steps = 120

    def __init__(self):
        self.random_state = np.random.RandomState(0)
        self.weight = self.random_state.normal(size=2000)
        self.momentum = np.zeros_like(self.weight)
        self.step = 0
        self.loss = float("nan")

    def advance(self):
        """Take a step."""
        noise = self.random_state.normal(size=self.weight.shape)
        gradient = self.weight + 0.1 * noise
        self.momentum = 0.9 * self.momentum + gradient
        self.weight = self.weight - 0.01 * self.momentum
        self.loss = float(gradient @ gradient)
        self.step += 1

    def save(self, folder):
        """Write a checkpoint."""
        info = {"random": self.random_state.get_state(), "loss": self.loss}
        arrays = {"weight": self.weight, "momentum": self.momentum}
        save_checkpoint(folder, self.step, arrays, info)

    def resume(self, folder):
        """Read the newest checkpoint, if there is one."""
        found = load_latest(folder)
        if found is not None:
            self.step, self.loss = found.step, found.info["loss"]
            self.random_state.set_state(found.info["random"])
            self.weight = found.arrays["weight"]
            self.momentum = found.arrays["momentum"]

    def bits(self):
        """Everything, as bytes."""
        words = self.random_state.get_state()[1].tobytes()
        return self.weight.tobytes() + self.momentum.tobytes() + words

    def run(self, folder):
        """Go on to the end, with a checkpoint every third step."""
        self.resume(folder)
        while self.step < self.n_steps:
            self.advance()
            if self.step % 3 == 0:
                self.save(folder)
        return self.bits()


class Training:
    """A ConstrainedTrainer on the digits, with a checkpoint every 20 steps."""

    def __init__(self, max_iter=30):
        from sklearn.datasets import load_digits

        from sklearn_ternary import ConstrainedTrainer

        X, y = load_digits(return_X_y=True)
        self.X, self.y = X / 16, y
        self.model = ConstrainedTrainer(
            (64, 64),
            step_controller="auxiliary",
            dropout=0.1,
            max_iter=max_iter,
            checkpoint_every=20,
            random_state=0,
        )

    def run(self, folder):
        """Go on to the end, or until Ctrl-C."""
        self.model.set_params(checkpoint_dir=folder)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Training interrupted")
            self.model.fit(self.X, self.y)
        return self.bits()

    def bits(self):
        """Parameters and losses, as bytes."""
        losses = self.model.history_["loss"].tobytes()
        return self.model.parameters_.tobytes() + losses


def in_child(function, *args):
    """Start `function` in a forked process and return its id."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        function(*args)
        code = 0
    finally:
        os._exit(code)


def finished(pid, seconds, codes=(0,)):
    """Whether a child ends in this time with such a code; else it still runs.

    A code below 0 is minus the signal that ended it.
    """
    end = time.monotonic() + seconds
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            expect(code in codes, f"the run failed by itself, with code {code}")
            return True
        left = end - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(left, 0.002))


def run_to_file(run, folder, path):
    """Run to the end, and write the bits there."""
    Path(path).write_bytes(run.run(folder))


def undisturbed(make_run):
    """Result of a run and the time it takes, the first time's imports left out."""
    for _ in range(2):
        with tempfile.TemporaryDirectory() as folder:
            started = time.monotonic()
            expected = make_run().run(folder)
            seconds = time.monotonic() - started
    return expected, seconds


def kill(n=200, seed=0, make_run=Training):
    """Kill runs at random times until there were `n` kills, and resume each."""
    rng = random.Random(seed)
    expected, seconds = undisturbed(make_run)
    kills = runs = orphans = 0
    while kills < n:
        with tempfile.TemporaryDirectory() as folder:
            place, result = Path(folder, "checkpoints"), Path(folder, "result")
            newest, patience = 0, seconds / 2
            while True:
                pid = in_child(run_to_file, make_run(), place, result)
                if finished(pid, rng.uniform(0, patience)):
                    break
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                kills += 1
                orphans += len(list(place.glob(".*.part")))
                with warnings.catch_warnings():
                    warnings.simplefilter("error")  # damage would be passed over
                    found = load_latest(place)
                step = 0 if found is None else found.step
                expect(step >= newest, f"step {newest} was there, now it is {step}")
                # A machine may be too busy, or a fork too large, to come farther.
                patience *= 1 if step > newest else 1.5
                newest = step
            runs += 1
            expect(result.read_bytes() == expected, "the end has other bits")
            expect(not list(place.glob(".*")), "temporary files are left")
    return (
        f"{kills} kills of {runs} runs: every checkpoint intact, every end equal; "
        f"{orphans} temporary files were left and removed"
    )


def interrupt(n=50, seed=0, make_run=Training):
    """Send SIGINT or SIGTERM at random times; trainings have to end, and to go on."""
    rng = random.Random(seed)
    expected, seconds = undisturbed(make_run)
    slowest = hits = runs = 0
    while hits < n:
        expect(runs < 20 * n, "trainings end before a signal can reach them")
        runs += 1
        with tempfile.TemporaryDirectory() as folder:
            place, result = Path(folder, "checkpoints"), Path(folder, "result")
            pid = in_child(run_to_file, make_run(), place, result)
            if not finished(pid, rng.uniform(0.05, 0.6) * seconds):
                sent = time.monotonic()
                if runs % 2:
                    os.kill(pid, signal.SIGINT)
                    # Before training takes it, Python's own handler ends it.
                    codes = (0, 1)
                else:
                    os.kill(pid, signal.SIGTERM)
                    codes = (0, -signal.SIGTERM)
                expect(finished(pid, 60, codes), "it did not end in a minute")
                slowest = max(slowest, time.monotonic() - sent)
            hits += not result.exists() or result.read_bytes() != expected
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                expect(make_run().run(place) == expected, "the end has other bits")
    return (
        f"{hits} trainings interrupted: each ended within {1e3 * slowest:.0f} ms and "
        "went on to the same bits"
    )


# -- a simulated disk ----------------------------------------------------------


class Recorder:
    """Stands for the module `os` and notes what changes the disk."""

    def __init__(self):
        self.events = []
        self._paths = {}

    def __getattr__(self, name):
        return getattr(os, name)

    def open(self, path, flags, *args):
        """Open, and note a new file."""
        fd = os.open(path, flags, *args)
        self._paths[fd] = path
        if flags & os.O_CREAT:
            self.events.append(("create", path))
        return fd

    def write(self, fd, data):
        """Write at the position."""
        offset = os.lseek(fd, 0, os.SEEK_CUR)
        done = os.write(fd, data)
        self.events.append(("write", self._paths[fd], offset, bytes(data[:done])))
        return done

    def pwrite(self, fd, data, offset):
        """Write at an offset."""
        done = os.pwrite(fd, data, offset)
        self.events.append(("write", self._paths[fd], offset, bytes(data[:done])))
        return done

    def fsync(self, fd):
        """Flush a file or a folder."""
        os.fsync(fd)
        self.events.append(("fsync", self._paths[fd]))

    def replace(self, source, target):
        """Rename."""
        os.replace(source, target)
        self.events.append(("rename", source, target))

    def unlink(self, path):
        """Remove."""
        os.unlink(path)
        self.events.append(("unlink", path))


class Disk:
    """What a disk may hold after a power failure.

    Bytes that were not flushed may be there, be missing, be cut, or be there without
    those before them; names that were not flushed may be there or not, in any
    combination.
    """

    def __init__(self, files):
        self.names = dict(files)  # path to inode, as flushed
        self.pending_names = []
        self.content = {}  # inode to flushed bytes
        self.pending = {}  # inode to writes since
        self.live = {}  # path to inode, as the process sees it
        for number, (path, data) in enumerate(files.items()):
            self.names[path] = self.live[path] = number
            self.content[number], self.pending[number] = data, []

    def apply(self, event):
        """Let an event happen."""
        kind, path, *rest = event
        if kind == "create":
            inode = len(self.content)
            self.content[inode], self.pending[inode] = b"", []
            self.live[path] = inode
            self.pending_names.append(("set", path, inode))
        elif kind == "write":
            self.pending[self.live[path]].append(tuple(rest))
        elif kind == "fsync" and path in self.live:
            inode = self.live[path]
            self.content[inode] = written(self.content[inode], self.pending[inode])
            self.pending[inode] = []
        elif kind == "fsync":
            for change in self.pending_names:
                apply_name(self.names, change)
            self.pending_names = []
        elif kind == "rename":
            inode = self.live.pop(path)
            self.live[rest[0]] = inode
            self.pending_names.append(("move", path, rest[0], inode))
        elif kind == "unlink":
            self.live.pop(path, None)
            self.pending_names.append(("drop", path))

    def states(self):
        """Yield path to bytes for every state the disk may be in."""
        dirty = [inode for inode, writes in self.pending.items() if writes]
        choices = [list(self._contents(inode)) for inode in dirty]
        changes = self.pending_names
        seen = set()
        for mask in itertools.product((True, False), repeat=len(changes)):
            names = dict(self.names)
            for change in itertools.compress(changes, mask):
                apply_name(names, change)
            for contents in itertools.product(*choices):
                held = self.content | dict(zip(dirty, contents, strict=True))
                state = {path: held[inode] for path, inode in names.items()}
                key = tuple(sorted((p, hash(data)) for p, data in state.items()))
                if key not in seen:
                    seen.add(key)
                    yield state

    def _contents(self, inode):
        """Yield bytes that a file with writes that were not flushed may have."""
        base, writes = self.content[inode], self.pending[inode]
        yield b""
        for mask in itertools.product((True, False), repeat=len(writes)):
            some = list(itertools.compress(writes, mask))
            whole = written(base, some)
            yield whole
            yield whole[: len(whole) // 2]
            if some:
                offset, data = some[-1]
                yield written(base, [*some[:-1], (offset, data[: len(data) // 2])])


def written(data, writes):
    """Bytes after some writes; what was never written is zero."""
    data = bytearray(data)
    for offset, new in writes:
        data.extend(b"\0" * (offset - len(data)))
        data[offset : offset + len(new)] = new
    return bytes(data)


def apply_name(names, change):
    """Let a change of a folder happen."""
    kind, path, *rest = change
    if kind == "set":
        names[path] = rest[0]
    elif kind == "drop":
        names.pop(path, None)
    else:
        names.pop(path, None)
        names[rest[0]] = rest[1]


class watching:  # noqa: N801 - a context manager, used as a function
    """Let modules of the package use a stand-in for `os`."""

    def __init__(self, stand_in):
        self.stand_in = stand_in

    def __enter__(self):
        for module in MODULES:
            module.os = self.stand_in
        return self.stand_in

    def __exit__(self, *exception):
        for module in MODULES:
            module.os = os


def save(folder, step, size=3000, keep_last=2):
    """Save a checkpoint whose values tell its step."""
    arrays = {"a": np.full(size, step, np.float32), "b": np.arange(step)}
    return save_checkpoint(folder, step, arrays, {"step": step}, keep_last=keep_last)


def check(found):
    """Raise LostError unless a checkpoint is one of `save`; return its step."""
    expect(found is not None, "no checkpoint was found")
    step = found.step
    whole = (
        found.info == {"step": step}
        and (found.arrays["a"] == step).all()
        and np.array_equal(found.arrays["b"], np.arange(step))
    )
    expect(whole, f"checkpoint {step} is not what was saved")
    return step


def loaded_step(folder):
    """Step of the newest checkpoint that is intact."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return check(load_latest(folder))


def crash(keeps=(1, 2, 3), n_saves=4):
    """Load from every state of the disk after a failure at every call."""
    n_states = n_calls = 0
    for keep_last in keeps:
        with tempfile.TemporaryDirectory() as folder:
            place = os.path.join(folder, "checkpoints")
            os.mkdir(place)
            events = []
            for step in range(1, n_saves + 1):
                with watching(Recorder()) as recorder:
                    save(place, step, 300, keep_last)
                events += [(step, event) for event in recorder.events]
                events.append((step, None))  # it has returned
            disk = Disk({})
            kept = 0
            for step, event in events:
                if event is None:
                    kept = step
                else:
                    disk.apply(event)
                    n_calls += 1
                for state in disk.states():
                    found = state_step(place, state)
                    what = f"keep_last={keep_last}, save {step}, after {event}"
                    expect(found in (kept, step), f"{what}: step {found}")
                    n_states += 1
    return f"{n_states} states after {n_calls} calls: old or new in each"


def state_step(place, state):
    """Step that is loaded from a state of the disk; 0 if there is none."""
    shutil.rmtree(place)
    os.mkdir(place)
    for path, data in state.items():
        Path(path).write_bytes(data)
    if not any(name.endswith(".safetensors") for name in os.listdir(place)):
        return 0
    return loaded_step(place)


# -- errors of input and output ------------------------------------------------


class Stop(BaseException):
    """Ends a process, as far as the code can see."""


class Failing:
    """Stands for the module `os`; fails at one call."""

    CALLS = (
        "open",
        "pwrite",
        "fsync",
        "replace",
        "unlink",
        "listdir",
        "stat",
        "fstat",
        "makedirs",
    )

    def __init__(self, call, failure):
        self.left, self.failure = call, failure
        self.failed = None

    def __getattr__(self, name):
        real = getattr(os, name)
        if name not in self.CALLS:
            return real

        def call(*args, **kwargs):
            self.left -= 1
            if self.left >= 0 or self.failed:
                return real(*args, **kwargs)
            self.failed = name
            if self.failure == "short write":
                if name != "pwrite":
                    return real(*args, **kwargs)
                fd, data, offset = args
                return real(fd, data[: max(1, len(data) // 2)], offset)
            if self.failure is Stop:
                raise Stop
            raise OSError(self.failure, os.strerror(self.failure))

        return call


FAILURES = (
    errno.ENOSPC,
    errno.EIO,
    errno.EACCES,
    errno.EINTR,
    errno.EDQUOT,
    "short write",
    Stop,
)


def iofault():
    """Fail at every call in turn, in every way."""
    n_faults = 0
    for failure in FAILURES:
        for call in itertools.count():
            with tempfile.TemporaryDirectory() as folder:
                place = os.path.join(folder, "checkpoints")
                for step in (1, 2):
                    save(place, step)
                raised = None
                with watching(Failing(call, failure)) as stand_in:
                    try:
                        save(place, 3)
                    except (OSError, Stop) as error:
                        raised = error
                if stand_in.failed is None:
                    break  # beyond the last call
                n_faults += 1
                step = loaded_step(place)
                what = f"{failure!r} of {stand_in.failed}, call {call}"
                if failure == "short write":
                    expect(raised is None, f"{what}: {raised!r}")
                if raised is None:
                    expect(step == 3, f"{what}: no error, and step {step}")
                else:
                    expect(step in (2, 3), f"{what}: step {step}")
                save(place, 4)
                expect(loaded_step(place) == 4, f"{what}: the next save")
                left = [name for name in os.listdir(place) if name.startswith(".")]
                expect(not left, f"{what}: {left} are left")
    return f"{n_faults} faults: an error or the new checkpoint, the old one intact"


# -- damage --------------------------------------------------------------------


def bitflip(size=700, stride=1):
    """Change every byte and cut at every length; all has to be noticed."""
    n_damaged = 0
    with tempfile.TemporaryDirectory() as folder:
        path = save(folder, 5, size)
        good = Path(path).read_bytes()
        check(load_checkpoint(path))

        def refuse(data, what):
            Path(path).write_bytes(data)
            try:
                load_checkpoint(path)
            except ValueError:
                return
            raise LostError(f"{what} was not noticed")

        for position in range(0, len(good), stride):
            for mask in (0xFF, 1 << position % 8):
                data = bytearray(good)
                data[position] ^= mask
                refuse(data, f"byte {position} ^ {mask:#x}")
            refuse(good[:position], f"the length {position}")
            n_damaged += 3
        refuse(good + b"\0", "a byte more")
        # The one before is loaded instead, with a warning that names the damaged one.
        Path(path).write_bytes(good)
        newest = save(folder, 6, size)
        data = bytearray(Path(newest).read_bytes())
        data[-1] ^= 1
        Path(newest).write_bytes(data)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            expect(check(load_latest(folder)) == 5, "the one before was not loaded")
        named = any(newest in str(w.message) for w in caught)
        expect(named, "no warning names the damaged file")
    return f"{n_damaged + 1} damaged files of {len(good)} bytes: all refused"


# -- two writers ---------------------------------------------------------------


def race(n=1000):
    """Two processes save to one folder while this one loads from it."""

    def write(place, first):
        for step in range(first, n + 1, 2):
            save(place, step, size=500)

    with tempfile.TemporaryDirectory() as folder:
        place = os.path.join(folder, "checkpoints")
        running = {in_child(write, place, first) for first in (1, 2)}
        n_loaded = 0
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            while running:
                found = load_latest(place)
                if found is not None:
                    check(found)
                    n_loaded += 1
                for pid in list(running):
                    if finished(pid, 0):
                        running.remove(pid)
            last = check(load_latest(place))
        expect(last >= n - 1 - n // 10, f"the last is {last} of {n}")
        left = os.listdir(place)
        expect(not [f for f in left if f.startswith(".")], f"temporary files: {left}")
        expect(1 <= len(left) <= 3, f"{len(left)} checkpoints are left")
    return f"{n} saves by two writers, {n_loaded} loads meanwhile: none mixed"


COMMANDS = {
    "kill": kill,
    "interrupt": interrupt,
    "crash": crash,
    "iofault": iofault,
    "bitflip": bitflip,
    "race": race,
}


def main(argv=None):
    """Run the commands; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=[*COMMANDS, "all"])
    parser.add_argument("--n", type=int, help="kills, interrupts, or saves of race")
    args = parser.parse_args(argv)
    names = list(COMMANDS) if args.command == "all" else [args.command]
    for name in names:
        started = time.monotonic()
        counted = args.n is not None and name in ("kill", "interrupt", "race")
        try:
            found = COMMANDS[name](**({"n": args.n} if counted else {}))
        except LostError as error:
            print(f"{name}: LOST: {error}")
            return 1
        print(f"{name}: {found} ({time.monotonic() - started:.1f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())

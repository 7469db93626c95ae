"""Runs that are killed, interrupted, or write to one folder at once."""

import os
import random
import signal
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

from breaking_checkpoints.checkpoints import check, expect, save
from sklearn_ternary.persistence import load_latest, save_checkpoint


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

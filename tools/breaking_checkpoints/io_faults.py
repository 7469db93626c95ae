"""An error, a short write or an end at each call."""

import errno
import itertools
import os
import tempfile

from breaking_checkpoints.checkpoints import expect, loaded_step, save, watching


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

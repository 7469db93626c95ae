"""Power failures, faults of the disk, kill -9 and two writers: old or new."""

import contextlib
import errno
import itertools
import os
import random
import signal
import time

import numpy as np
import pytest

from sklearn_ternary.persistence import (
    ContainerWriter,
    _atomic,
    read_container,
    write_container,
)


def sample(generation, n=5):
    """Tensors and content that tell which save they come from."""
    tensors = {f"t{i}": np.full((3, i + 1), generation, "<i4") for i in range(n)}
    return tensors, {"generation": generation}


def generation_of(path):
    """Which save a file holds; fails if it is a mixture."""
    tensors, content = read_container(path)
    seen = {int(v) for a in tensors.values() for v in a.ravel()}
    assert seen == {content["generation"]}
    return content["generation"]


def save_in_parts(path, generation):
    tensors, content = sample(generation)
    declared = [(k, a.dtype, a.shape) for k, a in tensors.items()]
    with ContainerWriter(path, declared, content) as writer:
        for name, array in tensors.items():
            for row in array:
                writer.write(name, row)


def record(monkeypatch, shim, path, with_fsync=True):
    """Events of one save that reach the disk, in order."""
    events, names = [], {}

    def hook(call, real, *args, **kwargs):
        if call == "fsync" and not with_fsync:
            return None
        result = real(*args, **kwargs)
        if call == "open":
            names[result] = os.path.basename(args[0])
            if args[1] & os.O_CREAT:
                events.append(("create", names[result]))
        elif call == "pwrite":
            fd, data, offset = args
            events.append(("write", names[fd], bytes(data), offset))
        elif call == "fsync":
            events.append(("fsync", names[args[0]]))
        elif call == "replace":
            events.append(("rename", *map(os.path.basename, args)))
        else:
            events.append((call, *args))
        return result

    with monkeypatch.context() as patch:
        patch.setattr(_atomic, "os", shim(hook))
        save_in_parts(path, 2)
    return events


def apply_writes(writes):
    data = bytearray()
    for part, offset in writes:
        data.extend(bytes(max(0, offset + len(part) - len(data))))
        data[offset : offset + len(part)] = part
    return bytes(data)


def disk_states(events, folder_name, target, old):
    """Everything a disk may hold after a crash behind any of the events.

    What was not flushed may be there, missing, zeros, torn, or out of order;
    a rename that was not flushed may have happened or not.
    """
    for n_done in range(len(events) + 1):
        done = events[:n_done]
        (temporary,) = {e[1] for e in events if e[0] == "create"}
        writes = [e[2:] for e in done if e[0] == "write"]
        flushed = [i for i, e in enumerate(done) if e == ("fsync", temporary)]
        n_safe = sum(e[0] == "write" for e in done[: flushed[-1]]) if flushed else 0
        safe, loose = writes[:n_safe], writes[n_safe:]
        contents = {apply_writes(writes), apply_writes(safe)}
        if loose:
            part, offset = loose[-1]
            torn = (part[: len(part) // 2], offset)
            size = len(apply_writes(writes))
            contents |= {
                apply_writes([*safe, *loose[:-1], torn]),
                apply_writes([*safe, loose[-1]]),
                apply_writes(safe) + bytes(size - len(apply_writes(safe))),
            }
        renamed = any(e[0] == "rename" for e in done)
        synced = done[-1:] == [("fsync", folder_name)]
        for content in contents:
            if renamed:
                yield {target: content}
            if not synced:
                yield {target: old, temporary: content}
                yield {target: old}


def check_states(tmp_path, events, folder_name, old):
    seen, bad = [], 0
    for i, files in enumerate(disk_states(events, folder_name, "a", old)):
        folder = tmp_path / f"state{i}"
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        try:
            seen.append(generation_of(folder / "a"))
        except ValueError:
            bad += 1
            continue
        save_in_parts(folder / "a", 3)
        assert os.listdir(folder) == ["a"]
        assert generation_of(folder / "a") == 3
    return seen, bad


def test_every_crash_state_is_old_or_new(tmp_path, monkeypatch, shim):
    folder = tmp_path / "disk"
    folder.mkdir()
    save_in_parts(folder / "a", 1)
    old = (folder / "a").read_bytes()
    events = record(monkeypatch, shim, folder / "a")
    seen, bad = check_states(tmp_path, events, "disk", old)
    assert bad == 0
    assert set(seen) == {1, 2}
    assert len(seen) > 100


def test_the_crash_states_find_a_missing_fsync(tmp_path, monkeypatch, shim):
    """The check above can fail."""
    folder = tmp_path / "disk"
    folder.mkdir()
    save_in_parts(folder / "a", 1)
    old = (folder / "a").read_bytes()
    events = record(monkeypatch, shim, folder / "a", with_fsync=False)
    _, bad = check_states(tmp_path, events, "disk", old)
    assert bad > 0


FAULTS = {
    "ENOSPC": lambda: OSError(errno.ENOSPC, "No space left on device"),
    "EIO": lambda: OSError(errno.EIO, "Input/output error"),
    "EACCES": lambda: PermissionError(errno.EACCES, "Permission denied"),
    "Ctrl-C": KeyboardInterrupt,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_at_any_call_leaves_old_or_new(tmp_path, monkeypatch, fault, shim):
    path = tmp_path / "a"
    outcomes = []
    for k in itertools.count():
        save_in_parts(path, 1)
        counter = itertools.count()

        def hook(call, real, *args, counter=counter, k=k, **kwargs):
            if next(counter) == k:
                raise FAULTS[fault]()
            return real(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(_atomic, "os", shim(hook))
            try:
                save_in_parts(path, 2)
            except (OSError, KeyboardInterrupt):
                outcomes.append(generation_of(path))
            else:
                break
        assert os.listdir(tmp_path) == ["a"]
    assert generation_of(path) == 2
    # Only flushing the folder comes after the rename: opening it and fsync.
    assert outcomes[-2:] == [2, 2]
    assert set(outcomes[:-2]) == {1}
    assert len(outcomes) > 15


def test_short_and_interrupted_writes_are_continued(tmp_path, monkeypatch, shim):
    def hook(call, real, *args, **kwargs):
        if call == "pwrite":
            fd, data, offset = args
            return real(fd, data[: max(1, len(data) // 3)], offset)
        return real(*args, **kwargs)

    monkeypatch.setattr(_atomic, "os", shim(hook))
    save_in_parts(tmp_path / "a", 7)
    assert generation_of(tmp_path / "a") == 7


def test_a_write_that_writes_nothing_is_an_error(tmp_path, monkeypatch, shim):
    def hook(call, real, *args, **kwargs):
        return 0 if call == "pwrite" else real(*args, **kwargs)

    monkeypatch.setattr(_atomic, "os", shim(hook))
    with pytest.raises(OSError, match="wrote nothing"):
        save_in_parts(tmp_path / "a", 7)
    assert os.listdir(tmp_path) == []


@contextlib.contextmanager
def forked(function):
    pid = os.fork()
    if pid == 0:
        status = 1
        with contextlib.suppress(BaseException):
            function()
            status = 0
        os._exit(status)
    yield pid
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def test_kill_9_loses_nothing(tmp_path):
    path = tmp_path / "a"
    write_container(path, *sample(0))
    rng = random.Random(0)

    def save_for_ever(start):
        big = np.zeros((1 << 16,), np.int64)
        for generation in itertools.count(start):
            tensors, content = sample(generation)
            write_container(path, tensors | {"big": big + generation}, content)

    last, orphans = 0, 0
    for _ in range(20):
        with forked(lambda start=last: save_for_ever(start)) as pid:
            time.sleep(rng.uniform(0.005, 0.05))
            os.kill(pid, signal.SIGKILL)
        assert generation_of(path) >= last
        last = generation_of(path)
        orphans = max(orphans, len(os.listdir(tmp_path)) - 1)
    assert last > 0
    assert orphans <= 1  # each start removes what the one before left
    write_container(path, *sample(0))
    assert os.listdir(tmp_path) == ["a"]


def test_two_writers_never_mix(tmp_path):
    path = tmp_path / "a"
    write_container(path, *sample(0))

    def save(generations):
        for generation in generations:
            write_container(path, *sample(generation))

    with forked(lambda: save(range(1, 200))), forked(lambda: save(range(1000, 1200))):
        for _ in range(100):
            generation_of(path)
    assert generation_of(path) in (199, 1199)
    assert os.listdir(tmp_path) == ["a"]

"""The states that a disk may be in after a power failure."""

import itertools
import os
import shutil
import tempfile
from pathlib import Path

from breaking_checkpoints.checkpoints import expect, loaded_step, save, watching


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

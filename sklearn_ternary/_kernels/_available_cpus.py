"""How many processors this process may keep busy.

The affinity of the process, and on Linux the quota of its control groups, which
is how containers are limited. Small, because importing joblib for this takes
longer than most of what is computed.
"""

import math
import os
from pathlib import Path


def available_cpus(root="/"):
    """Processors that this process may use, at least 1.

    Parameters
    ----------
    root : path-like
        Folder that holds ``proc`` and ``sys``.

    Returns
    -------
    int
        The number of processors it may run on, or, if that is lower, its share
        of processor time in whole processors, rounded up.
    """
    if hasattr(os, "process_cpu_count"):  # Python 3.13
        n_cpus = os.process_cpu_count()
    elif hasattr(os, "sched_getaffinity"):
        n_cpus = len(os.sched_getaffinity(0))
    else:
        n_cpus = os.cpu_count()
    return max(1, math.ceil(min(n_cpus or 1, quota(Path(root)))))


def quota(root):
    """Processors' worth of time that control groups allow; infinity for no limit."""
    return min(map(_limit, _group_folders(root)), default=math.inf)


def _group_folders(root):
    """The folders of the control groups of this process and of all above them.

    Inside a container the path in ``/proc/self/cgroup`` may be the host's; the
    limit is then at the top.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    top = root / "sys/fs/cgroup"
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        # Version 2 has one tree; version 1 one for each set of controllers.
        for tree in {top / controllers, top / "cpu"} if controllers else {top}:
            folder = tree / path.lstrip("/")
            while folder != tree:
                yield folder
                folder = folder.parent
            yield tree


def _limit(folder):
    try:
        if (folder / "cpu.max").exists():  # version 2
            share, period = (folder / "cpu.max").read_text().split()
        else:
            share = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        limit = int(share) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # none, "max", or unreadable
        return math.inf
    return limit if limit > 0 else math.inf

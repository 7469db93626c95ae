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
import sys
import time

from breaking_checkpoints.checkpoints import LostError
from breaking_checkpoints.damage import bitflip
from breaking_checkpoints.io_faults import iofault
from breaking_checkpoints.power_failures import crash
from breaking_checkpoints.processes import interrupt, kill, race

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

"""How long a fresh process takes until it can do something."""

import subprocess
import sys


class Startup:
    """Wall time of a subprocess, the start of Python included."""

    param_names = ("statement",)
    params = (
        [
            "pass",
            "import numpy",
            "import sklearn_ternary",
            "from sklearn_ternary import ternarize",
            "from sklearn_ternary import TernaryQuantizer",
        ],
    )
    number = 1
    repeat = (5, 20, 20.0)

    def setup(self, statement):
        """Compile the bytecode and warm the file cache."""
        self.time_process(statement)

    def time_process(self, statement):
        """Seconds."""
        subprocess.run([sys.executable, "-P", "-c", statement], check=True)


class CommandLine:
    """Wall time of ``python -m sklearn_ternary --help``."""

    number = 1
    repeat = (5, 20, 20.0)

    def setup(self):
        """Compile the bytecode and warm the file cache."""
        self.time_help()

    def time_help(self):
        """Seconds."""
        command = [sys.executable, "-P", "-m", "sklearn_ternary", "--help"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

"""What choosing a backend costs, per call."""

import numpy as np

from sklearn_ternary import _cpu, _dispatch, config_context, get_config
from sklearn_ternary._kernels._cpu_features import supported_isas


class Dispatch:
    """`count_codes` on one byte, through the dispatcher and directly.

    The difference of the first two is the overhead of a call.
    """

    def setup(self):
        """Load the backend."""
        self.packed = np.zeros((1, 1), dtype=np.uint8)
        self.isa = supported_isas()[0]
        self.time_through_dispatch()

    def time_through_dispatch(self):
        """Seconds."""
        _dispatch.count_codes(self.packed, 5, "t5")

    def time_kernel_directly(self):
        """Seconds."""
        _cpu.count_codes(self.packed, 5, "t5", n_threads=1, isa=self.isa)

    def time_get_config(self):
        """Seconds."""
        get_config()

    def time_config_context(self):
        """Seconds."""
        with config_context(n_threads=1):
            pass


class Metrics:
    """The same call while metrics are collected."""

    def setup(self):
        """Enter the context."""
        self.packed = np.zeros((1, 1), dtype=np.uint8)
        self.context = config_context(collect_metrics=True)
        self.context.__enter__()

    def teardown(self):
        """Leave the context."""
        self.context.__exit__(None, None, None)

    def time_through_dispatch(self):
        """Seconds."""
        _dispatch.count_codes(self.packed, 5, "t5")

"""Steps of optimizers on the flat array of all parameters, which lies on a device."""

import numpy as np

from sklearn_ternary._gpu.device import require, runs_kernels
from sklearn_ternary._gpu.kernels import launch, n_blocks
from sklearn_ternary._reference import steps as definitions
from sklearn_ternary._reference.steps import BLOCK, N_SUMS, PIECE

_BLOCKS = PIECE // BLOCK


def make_steps(device=None):
    """The `Steps` of a device, as it can do them."""
    cupy = require(device)
    with cupy.cuda.Device(device):
        return (Steps if runs_kernels(cupy) else ExpressedSteps)(device)


class Steps:
    """The functions of `sklearn_ternary._reference.steps` for arrays of a device.

    They wait for nothing, and what they find is on the device, too, but for
    `square_sums` and `abs_sums`; `read` brings it to the host.

    Parameters
    ----------
    device : int or None
        None for the current one.
    """

    Control = None  # what follows from the sums is computed on the host

    def __init__(self, device=None):
        self._cupy = require(device)
        self._device = self._cupy.cuda.Device(device)
        self._pieces = {}  # {bounds: _Pieces}
        self._bounds = {}  # {bounds: the same on the device}

    def zeros(self, n, dtype):
        """An array for the other functions."""
        with self._device:
            return self._cupy.zeros(n, dtype)

    def read(self, *arrays):
        """Arrays of float64 on the host; waits for the device once."""
        with self._device:
            flat = self._cupy.concatenate([a.ravel() for a in arrays]).get()
        ends = np.cumsum([a.size for a in arrays])
        parts = np.split(flat, ends[:-1])
        return tuple(p.reshape(a.shape) for p, a in zip(parts, arrays, strict=True))

    def adamw_direction(
        self,
        gradient,
        parameters,
        first,
        second,
        direction,
        bounds,
        decay,
        beta_1,
        beta_2,
        correction_1,
        correction_2,
        epsilon,
        gradient_scale,
    ):
        """Direction of AdamW, with a second moment for each element."""
        numbers = (gradient_scale, beta_1, 1 - beta_1, beta_2, 1 - beta_2)
        numbers = (*numbers, correction_1, correction_2, epsilon)
        with self._device:
            pieces = self._pieces_of(bounds)
            arrays = gradient, parameters, first, second, direction
            args = *arrays, self._values(decay), *map(np.float32, numbers)
            return pieces.sums("adamw_direction", *args)

    def sgd_direction(
        self,
        gradient,
        parameters,
        first,
        direction,
        bounds,
        decay,
        momentum,
        gradient_scale,
    ):
        """Direction of gradient descent with momentum."""
        numbers = np.float32(gradient_scale), np.float32(momentum)
        with self._device:
            pieces = self._pieces_of(bounds)
            arrays = gradient, parameters, first, direction, self._values(decay)
            return pieces.sums("sgd_direction", *arrays, *numbers)

    def shared_direction(
        self,
        gradient,
        parameters,
        first,
        divisors,
        direction,
        bounds,
        row_bounds,
        decay,
        beta_1,
        correction_1,
        gradient_scale,
    ):
        """Direction of AdamW where the values of a row have one divisor."""
        numbers = map(np.float32, (gradient_scale, beta_1, 1 - beta_1, correction_1))
        with self._device:
            arrays = gradient, parameters, first, self._values(divisors), direction
            rows = self._rows_of(bounds, row_bounds)
            args = *arrays, rows, self._values(decay), *numbers
            return self._pieces_of(bounds).sums("shared_direction", *args)

    def apply_step(self, parameters, direction, bounds, factors):
        """Add a multiple of the direction to each segment of the parameters."""
        with self._device:
            args = parameters, direction, self._values(factors)
            self._pieces_of(bounds).launch("apply_step", *args)

    def square_sums(self, x, bounds):
        """Sum of the squares of each part. Waits."""
        return self._part_sums(x, bounds, True)

    def abs_sums(self, x, bounds):
        """Sum of the magnitudes of each part. Waits."""
        return self._part_sums(x, bounds, False)

    def ternary_gradient(self, gradient, residual, row_bounds, gradient_scale):
        """Round a gradient to three levels, and keep what that leaves out."""
        with self._device:
            n = len(row_bounds) - 1
            args = gradient, residual, self._on_device(row_bounds), np.int64(n)
            args = *args, np.float32(gradient_scale)
            grid = n_blocks(self._cupy, n, 16)
            launch(self._cupy, "steps", "ternary_gradient", grid, args)

    def _part_sums(self, x, bounds, squares):
        with self._device:
            n = len(bounds) - 1
            sums = self._cupy.empty(n, np.float64)
            args = x, self._on_device(bounds), np.int64(n), np.int32(squares), sums
            launch(self._cupy, "steps", "part_sums", n_blocks(self._cupy, n, 8), args)
            return sums.get()

    def _values(self, numbers):
        """One float32 for each segment or row, moved to the device."""
        return self._cupy.asarray(np.asarray(numbers, dtype=np.float32))

    def _on_device(self, bounds):
        key = bounds.tobytes()
        if key not in self._bounds:
            self._bounds[key] = self._cupy.asarray(bounds)
        return self._bounds[key]

    def _rows_of(self, bounds, row_bounds):
        """Where each segment begins, its first row, and the length of its rows."""
        key = bounds.tobytes(), row_bounds.tobytes()
        if key not in self._bounds:
            starts = bounds[:-1]
            first = np.searchsorted(row_bounds, starts, side="right") - 1
            table = np.stack([starts, first, np.diff(row_bounds)[first]], axis=1)
            self._bounds[key] = self._cupy.asarray(table)
        return self._bounds[key]

    def _pieces_of(self, bounds):
        key = bounds.tobytes()
        if key not in self._pieces:
            self._pieces[key] = _Pieces(self._cupy, bounds.tolist())
        return self._pieces[key]


class ExpressedSteps(Steps):
    """`Steps` as expressions: the definitions, where arrays of the device are given."""

    def adamw_direction(self, *args):
        """Direction of AdamW, with a second moment for each element."""
        return self._defined("adamw_direction", *args)

    def sgd_direction(self, *args):
        """Direction of gradient descent with momentum."""
        return self._defined("sgd_direction", *args)

    def shared_direction(self, *args):
        """Direction of AdamW where the values of a row have one divisor."""
        return self._defined("shared_direction", *args)

    def apply_step(self, *args):
        """Add a multiple of the direction to each segment of the parameters."""
        self._defined("apply_step", *args)

    def square_sums(self, x, bounds):
        """Sum of the squares of each part. Waits."""
        return self._defined("square_sums", x, bounds).get()

    def abs_sums(self, x, bounds):
        """Sum of the magnitudes of each part. Waits."""
        return self._defined("abs_sums", x, bounds).get()

    def ternary_gradient(self, *args):
        """Round a gradient to three levels, and keep what that leaves out."""
        self._defined("ternary_gradient", *args)

    def _defined(self, name, *args):
        with self._device:
            return getattr(definitions, name)(*args)


class _Pieces:
    """Pieces of the segments, on the current device."""

    def __init__(self, cupy, bounds):
        pieces, owner, ends = [], [], [0]
        for i in range(len(bounds) - 1):
            starts = range(bounds[i], bounds[i + 1], PIECE)
            pieces += [(start, min(start + PIECE, bounds[i + 1])) for start in starts]
            owner += [i] * len(starts)
            ends.append(len(pieces))
        self._cupy = cupy
        self._n = len(pieces)
        self._n_segments = len(bounds) - 1
        self._pieces = cupy.asarray(np.array(pieces, dtype=np.int64))
        self._owner = cupy.asarray(np.array(owner, dtype=np.int32))
        self._ends = cupy.asarray(np.array(ends, dtype=np.int64))

    def launch(self, name, *args):
        """Launch a kernel whose half-warps go through the blocks of the pieces."""
        n_items = self._n * _BLOCKS
        args = self._pieces, self._owner, np.int64(n_items), *args
        launch(self._cupy, "steps", name, n_blocks(self._cupy, n_items, 16), args)

    def sums(self, name, *args):
        """The same, and the sums of each segment: float64 of shape (n_segments, 5)."""
        cupy = self._cupy
        blocks = cupy.empty((N_SUMS, self._n * _BLOCKS), np.float32)
        self.launch(name, *args, blocks)
        of_pieces = cupy.empty((N_SUMS, self._n), np.float64)
        n, n_segments = np.int64(self._n), np.int64(self._n_segments)
        grid = n_blocks(cupy, of_pieces.size, 256)
        launch(cupy, "steps", "piece_sums", grid, (blocks, n, of_pieces))
        sums = cupy.empty((self._n_segments, N_SUMS), np.float64)
        args = of_pieces, self._ends, n, n_segments, sums
        launch(cupy, "steps", "segment_sums", n_blocks(cupy, sums.size, 256), args)
        return sums

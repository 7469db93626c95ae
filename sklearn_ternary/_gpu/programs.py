"""Programs of steps of networks: launches on arrays of a device, made ready once.

Products are cuBLAS's. Those of codes have exact sums, since what is multiplied are
small integers. All other steps are kernels, most of them one for an operation, and
each sum has an order of its own; before compute capability 8.0 they are expressions.
"""

import numpy as np

from sklearn_ternary._gpu.arrays import assign, like
from sklearn_ternary._gpu.device import require, runs_kernels
from sklearn_ternary._gpu.expressions.programs import OPERATIONS
from sklearn_ternary._gpu.graphs import Graphs
from sklearn_ternary._gpu.kernels import n_blocks, prepare
from sklearn_ternary._gpu.scales import Groups
from sklearn_ternary._reference.programs import Program as ReferenceProgram

# Sums of codes times 8 bits are exact in float32 up to so many columns.
_EXACT_COLUMNS = 2**17
_SEGMENT = 1024
_ELEMENTWISE = {
    "add": 0,
    "relu": 1,
    "relu_gradient": 2,
    "squared_relu": 3,
    "squared_relu_gradient": 4,
}
_OUTPUT_LOSSES = {
    "sigmoid_loss": 1,
    "squared_loss": 2,
    "absolute_loss": 3,
    "huber_loss": 4,
}


class Program(ReferenceProgram):
    """A list of operations on float32 arrays of a device that stay where they are.

    Parameters
    ----------
    dtype : float32
    device : int or None
        None for the current one.
    """

    block_rows = 8192
    takes_sparse = False

    def __init__(self, dtype=np.float32, *, device=None):
        super().__init__(dtype)
        self._cupy = require(device)
        self._device = self._cupy.cuda.Device(device)
        self._graphs = Graphs(self._cupy)
        with self._device:
            self._runs_kernels = runs_kernels(self._cupy)

    def buffer(self, *shape, dtype=None):
        """An array of zeros on the device."""
        with self._device:
            return self._cupy.zeros(shape, self.dtype if dtype is None else dtype)

    def form(self, n_rows, n_columns):
        """An array for `pack_weights` of codes of that shape."""
        is_wide = n_columns > _EXACT_COLUMNS
        return self.buffer(n_rows, n_columns, dtype=np.float64 if is_wide else None)

    def add(self, operation, *args):
        """Append an operation of `sklearn_ternary._reference.programs.OPERATIONS`.

        Arrays of the host are copied now: they are taken for constants.

        Raises
        ------
        NotImplementedError
            For those of sparse rows.
        """
        with self._device:
            args = self._on_device(args)
            if not self._runs_kernels and operation in OPERATIONS:
                super().call(OPERATIONS[operation], *args)
            elif operation in _ELEMENTWISE:
                self._add_elementwise(operation, *args)
            elif operation in _OUTPUT_LOSSES:
                self._add_output_loss(operation, *args)
            elif hasattr(self, f"_add_{operation}"):
                getattr(self, f"_add_{operation}")(*args)
            else:
                raise NotImplementedError(f"{operation} is not done on devices")

    def call(self, function, *args):
        """Append any function of arrays."""
        with self._device:
            super().call(function, *self._on_device(args))

    def _on_device(self, args):
        """Arguments, of which arrays of the host are moved: they do not change."""
        return [self._cupy.asarray(a) if isinstance(a, np.ndarray) else a for a in args]

    def outputs(self, X):
        """Run all on rows X; return a copy of the output where X is."""
        assign(self._x, X)
        self.run()
        with self._device:
            return like(self._out.copy(), X)

    def run(self):
        """Start all operations in their order."""
        with self._device:
            self._graphs.run(self._steps)

    def _fixed(self, function, *args):
        """Append what only launches kernels, the same ones each time."""
        self._graphs.fixed.add(len(self._steps))
        self._steps.append((function, args))

    def _launch(self, file, name, grid, *args):
        self._fixed(prepare(self._cupy, file, name, grid, args))

    def _by_rows(self, name, X, *args, file="network"):
        """Launch a kernel whose warps have a row each."""
        self._launch(file, name, n_blocks(self._cupy, len(X), 8), *args)

    def _by_segments(self, name, X, *args):
        items = len(X) * -(-X.shape[1] // _SEGMENT)
        self._launch("network", name, n_blocks(self._cupy, items, 8), *args)

    def _by_values(self, name, X, per_block, *args):
        self._launch("network", name, n_blocks(self._cupy, X.size, per_block), *args)

    def _add_elementwise(self, operation, X, *more):
        Y, out = more if len(more) == 2 else (X, *more)
        whole = np.int32(all(a.data.ptr % 16 == 0 for a in (X, Y, out)))
        args = X, Y, np.int64(X.size), whole, out
        kind = np.int32(_ELEMENTWISE[operation])
        self._by_values("elementwise", X, 1024, kind, *args)

    def _add_add_rows(self, X, row, out):
        self._by_segments("add_rows", X, X, row, *_sizes(X), out)

    def _add_scaled_codes(self, codes, scale, out):
        self._by_segments("scaled_codes", codes, codes, scale, *_sizes(codes), out)

    def _add_column_sum(self, X, out, other=None, inverse=None):
        grid = -(-X.shape[1] // 32)
        args = X, other, inverse, *_sizes(X), out
        self._launch("network", "column_sum", grid, *args)

    def _add_dropout(self, X, key, rate, out):
        threshold, factor = np.uint32(rate * 2**32), np.float32(1 / (1 - rate))
        args = X, key, threshold, factor, np.int64(X.size), out
        self._by_values("dropout", X, 256, *args)

    def _add_rms_norm(self, X, gain, out, inverse):
        self._by_rows("rms_norm", X, X, gain, *_sizes(X), out, inverse)

    def _add_rms_norm_gradient(self, X, gain, inverse, dY, dX, dgain):
        self._add_column_sum(dY, dgain, X, inverse)
        args = X, gain, inverse, dY, *_sizes(X), dX
        self._by_rows("rms_norm_gradient", X, *args)

    def _add_round_rows(self, X, rounded, q, step):
        self._by_rows("round_rows", X, X, *_sizes(X), rounded, q, step)

    def _add_ternary_weights(self, latent, kind, codes, scale, flips):
        cupy, size = self._cupy, latent.size
        threshold = cupy.empty(1, np.float32)
        one = latent.reshape(1, -1), size, 3
        found = scale.reshape(1, 1), threshold.reshape(1, 1)
        self._fixed(Groups(cupy, *one, *found).find, kind)
        args = latent, threshold, np.int64(size), codes, flips
        self._by_values("weight_codes", latent, 256, *args)

    def _add_pack_weights(self, codes, form):
        self._fixed(_copy, form, codes)

    def _add_multiply_codes(self, q, step, form, scale, out):
        cupy = self._cupy
        wide = cupy.empty(q.shape, form.dtype)
        dot = out if form.dtype == out.dtype else cupy.empty(out.shape, form.dtype)
        self._fixed(_copy, wide, q)
        self.call(_multiply, cupy, wide, form.T, dot)
        name = "scaled_products" if dot is out else "scaled_wide_products"
        self._by_segments(name, out, dot, scale, step, *_sizes(out), out)

    def _add_multiply_rows(self, A, B, out):
        self.call(_multiply, self._cupy, A, B.T, out)

    def _add_multiply_weights(self, A, B, out):
        self.call(_multiply, self._cupy, A, B, out)

    def _add_multiply_columns(self, A, B, out):
        self.call(_multiply, self._cupy, A.T, B, out)

    def _add_softmax_loss(self, Z, labels, weight, dZ, value):
        self._add_loss("softmax_loss", Z, (Z, labels), weight, dZ, value)

    def _add_output_loss(self, operation, Z, targets, *more):
        *delta, weight, dZ, value = more
        kind, delta = np.int32(_OUTPUT_LOSSES[operation]), np.float32([*delta, 0][0])
        head = kind, Z, targets, delta
        self._add_loss("output_losses", Z, head, weight, dZ, value)

    def _add_loss(self, name, Z, head, weight, dZ, value):
        losses, n = self._cupy.empty(len(Z), np.float64), np.int64(len(Z))
        total = None
        if weight is not None:
            total = self._cupy.empty(1, np.float64)
            self._launch("losses", "total_weight", 1, weight, n, total)
        args = *head, weight, total, *_sizes(Z), dZ, losses
        self._by_rows(name, Z, *args, file="losses")
        self._launch("losses", "total_loss", 1, losses, n, value)


def _sizes(X):
    return np.int64(X.shape[0]), np.int64(X.shape[1])


def _copy(to, values):
    to[...] = values


def _multiply(cupy, A, B, out):
    cupy.dot(A, B, out=out)

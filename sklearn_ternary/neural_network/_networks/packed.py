"""A trained network with packed ternary weights, for predictions."""

import threading

import numpy as np

from sklearn_ternary import _dispatch
from sklearn_ternary._config import current_config
from sklearn_ternary._dispatch import config_of_rows
from sklearn_ternary._gpu.arrays import is_device_array, to_host
from sklearn_ternary.linalg import ternary_matmul
from sklearn_ternary.neural_network._networks.forward import Forward
from sklearn_ternary.quantization import TernaryArray, ternarize

_BLOCK_BYTES = 2**24  # of dense inputs at a time


class PackedNetwork:
    """Layers of products, with RMSNorm in between and perhaps a linear skip.

    Parameters
    ----------
    weights : list of TernaryArray or ndarray
        Of shape (outputs, inputs).
    biases : list of ndarray
    gains : list of ndarray or None
        Of RMSNorm in front of each layer.
    skip : TernaryArray, ndarray or None
        Linear layer beside all others.
    activation : {"relu", "squared_relu"}
    activations : {"int8", None}
        What ternary weights multiply.
    """

    def __init__(self, weights, biases, gains, skip, activation, activations):
        self.weights = weights
        self.biases = biases
        self.gains = gains
        self.skip = skip
        self.activation = activation
        self.activations = activations
        self._prepare()

    @classmethod
    def of(cls, arrays, options):
        """Pack the parameters of a trainer's network.

        Parameters
        ----------
        arrays : dict of str to ndarray
            From `named_parameters`.
        options : dict
            Parameters of the trainer.
        """
        n = sum(name.startswith("weight") for name in arrays)
        kind = options["quantize_weights"]
        weights = []
        for i in range(n):
            W = arrays[f"weight{i}"]
            ternary = kind is not None and (i < n - 1 or options["quantize_output"])
            weights.append(_ternary(W, kind) if ternary else W)
        return cls(
            weights,
            [arrays[f"bias{i}"] for i in range(n)],
            [arrays.get(f"gain{i}") for i in range(n)],
            arrays.get("skip"),
            options["activation"],
            options["quantize_activations"],
        )

    def forward(self, X):
        """Outputs for scaled rows; the bits of one do not depend on the others.

        Parameters
        ----------
        X : {ndarray, CSR matrix} of shape (n_samples, n_features), float32

        Returns
        -------
        Z : ndarray of shape (n_samples, n_outputs)
        """
        # Rows of NumPy are asked for most often, one at a time.
        is_plain = type(X) is np.ndarray
        config = current_config() if is_plain else config_of_rows(X)
        # One at a time: the steps work on arrays of the network.
        with self._lock:
            if config is not self._config:
                if config != self._config:
                    self._outputs = self._lay_out(config)
                self._config = config
            if is_plain or isinstance(X, np.ndarray) or is_device_array(X):
                return self._outputs(X)
            n_rows = max(1, _BLOCK_BYTES // (4 * max(X.shape[1], 1)))
            Z = np.empty((X.shape[0], len(self.biases[-1])), dtype=np.float32)
            for i in range(0, X.shape[0], n_rows):
                Z[i : i + n_rows] = self._outputs(X[i : i + n_rows].toarray())
            return Z

    def _lay_out(self, config):
        """Outputs by products on the configured backend."""
        size = sum(W.size for W in self.weights)
        new_program = _dispatch.choose_program(size, np.float32, config=config)
        products = [self._product(W, new_program) for W in self.weights]
        skip = None if self.skip is None else self._product(self.skip, new_program)
        biases, gains = (
            [None if row is None else np.array(row) for row in rows]
            for rows in (self.biases, self.gains)
        )

        activation = self.activation  # not `self`, or memory is freed late

        def record(program, x):
            y = x
            for i, product in enumerate(products):
                if i > 0:
                    program.add(activation, y, y)
                if gains[i] is not None:
                    scratch = program.buffer(len(y))
                    program.add("rms_norm", y, gains[i], y, scratch)
                y = product(program, y)
                program.add("add_rows", y, biases[i], y)
            if skip is not None:
                program.add("add", y, skip(program, x), y)
            return y

        n_outputs, n_features = len(self.biases[-1]), self.weights[0].shape[1]
        return Forward(new_program, record, n_features, n_outputs)

    def _product(self, W, new_program):
        """What records a product with W, which it lays out once for all of them."""
        if not isinstance(W, TernaryArray):
            return _calling(_multiply_wide, W.T.astype(np.float64), len(W))
        if self.activations is None:
            if is_device_array(new_program().buffer(1)):
                return _calling(_multiply_wide, W.toarray(np.float64).T, len(W))
            return _calling(_multiply_packed, W.T, len(W))
        packing = new_program()
        form = packing.form(*W.shape)
        codes = _dispatch.unpack(W.packed, W.shape[1], W.layout)
        packing.add("pack_weights", codes, form)
        packing.run()
        scale = W.scale.reshape(1).astype(np.float32)

        def record(program, x):
            q, step = program.buffer(*x.shape, dtype=np.int8), program.buffer(len(x))
            y = program.buffer(len(x), len(W))
            program.add("round_rows", x, None, q, step)
            program.add("multiply_codes", q, step, form, scale, y)
            return y

        return record

    def __getstate__(self):
        held = ("_lock", "_config", "_outputs")
        return {k: v for k, v in self.__dict__.items() if k not in held}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._prepare()

    def _prepare(self):
        self._lock = threading.Lock()
        self._config = self._outputs = None

    @property
    def nbytes(self):
        """Memory of everything that is needed to predict."""
        arrays = [*self.weights, *self.biases, *self.gains, self.skip]
        return sum(array.nbytes for array in arrays if array is not None)


def _calling(multiply, W, n_outputs):
    """What records a product that is no compiled step."""

    def record(program, x):
        y = program.buffer(len(x), n_outputs)
        program.call(multiply, x, W, y)
        return y

    return record


def _multiply_wide(x, W, y):
    y[...] = x @ W  # float64, whose sums do not show in float32


def _multiply_packed(x, W, y):
    y[...] = ternary_matmul(x, W)


def _ternary(W, kind):
    return ternarize(np.ascontiguousarray(W), scale=kind, axis=None, layout="t2")


def named_parameters(network, n_layers):
    """Copies of the parameters by the names that `PackedNetwork` knows.

    Parameters
    ----------
    network : Network
        From `build_network`.
    n_layers : int
        Products on the way from the input to the output.

    Returns
    -------
    arrays : dict of str to ndarray of the host
        ``weight0``, ``bias0``, ``gain1``, ...; ``skip`` for the linear skip.
    """
    arrays, place = {}, -1
    for part in network.layout:
        place += part.kind == "weight"
        view = to_host(network.parameters[part.slice].reshape(part.shape).copy())
        if part.kind == "gain":  # it stands in front of its product
            arrays[f"gain{place + 1}"] = view
        elif place == n_layers:
            arrays["skip"] = view
        else:
            arrays[f"{part.kind}{place}"] = view
    return arrays

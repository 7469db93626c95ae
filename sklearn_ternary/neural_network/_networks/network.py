"""A network: layers and a loss on one flat buffer of parameters."""

from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.sparse import issparse

from sklearn_ternary._dispatch import choose_program
from sklearn_ternary._gpu.arrays import assign, is_device_array, to_host
from sklearn_ternary.neural_network._networks.chain import Chain, walk
from sklearn_ternary.neural_network._networks.forward import (
    Forward,
    Recordings,
    csr_room,
    fill_csr,
    new_batch,
)
from sklearn_ternary.neural_network._networks.layout import lay_out
from sklearn_ternary.neural_network._networks.linear import Linear


class _Gradient(NamedTuple):
    """A program of a step of training, and the arrays it reads and writes."""

    program: object
    x: object
    targets: object
    weight: object
    value: object


class Network:
    """Layers one after another, and a loss.

    Parameters
    ----------
    layers : list of Layer
    n_features : int
        Columns of the input.
    loss : Loss or None
        None for a network that only predicts.
    dtype : {float32, float64}, default=float32
        Of parameters and steps. float64 is for checks of gradients.
    config : Config, default=None
        Which backend computes, as for every operation; that of the calling thread
        without it.

    Attributes
    ----------
    parameters : ndarray of shape (n_parameters,)
        All parameters. Change it in place; layers hold views of it.
    gradient : ndarray of shape (n_parameters,)
        What the last `loss_and_gradient` found.
    layout : list of ParameterSlice
        Which parameters lie where.
    n_outputs : int
    ternary_layers : list of Linear
        Those whose weights are rounded.
    n_codes : int
        Ternary weights in all.
    is_random : bool
        Whether steps of training draw random numbers.
    """

    def __init__(self, layers, n_features, loss, *, dtype=np.float32, config=None):
        self.loss_ = loss
        self.n_features = n_features
        self.dtype = np.dtype(dtype)
        self._chain = Chain(layers)
        self.n_outputs = self._chain.build(n_features)
        self.layers = list(walk(self._chain.layers))
        self.layout = lay_out(self.layers)
        size = self.layout[-1].slice.stop if self.layout else 0
        self._new_program = choose_program(size, self.dtype, config=config)
        held = self._new_program()
        self._takes_sparse = held.takes_sparse
        self.parameters, self.gradient = held.buffer(size), held.buffer(size)
        self._bind()

    def _bind(self):
        """Give the layers their arrays, and forget what was recorded."""
        self._gradients = Recordings()
        self._outputs = Forward(
            self._new_program,
            # Of the chain, not of the network: memory is freed with its last name.
            partial(_record_outputs, self._chain),
            self.n_features,
            self.n_outputs,
            self.dtype,
        )
        memory = _Memory(self._new_program())
        values, gradients = (
            [{} for _ in self.layers] for _ in (self.parameters, self.gradient)
        )
        for row in self.layout:
            name = row.name.partition(".")[2]
            for views, flat in ((values, self.parameters), (gradients, self.gradient)):
                views[row.layer][name] = flat[row.slice].reshape(row.shape)
        for layer, mine, slopes in zip(self.layers, values, gradients, strict=True):
            layer.bind(mine, slopes, memory)
        self.ternary_layers = [
            layer
            for layer in self.layers
            if isinstance(layer, Linear) and layer.codes is not None
        ]
        self.n_codes = sum(layer.codes.size for layer in self.ternary_layers)
        self._drawing = [layer for layer in self.layers if hasattr(layer, "draw")]
        self.is_random = bool(self._drawing)
        self._weights = self._new_program()
        for layer in self.layers:
            layer.prepare(self._weights)

    def use_surrogate(self):
        """Replace the roundings by the identity, for checks of gradients.

        The straight-through gradients are then those of the function.
        """
        for layer in self.layers:
            layer.surrogate = True
        self._bind()

    def initialize(self, random_state):
        """Set the parameters to where training starts.

        Parameters
        ----------
        random_state : numpy.random.RandomState
        """
        for layer in self.layers:
            layer.initialize(random_state)
        self.gradient[...] = 0
        self._weights.run()
        self.flips()

    def flips(self):
        """Ternary codes that changed since this was last called."""
        total = 0
        for layer in self.ternary_layers:
            total += int(layer.flips[0])
            layer.flips[0] = 0
        return total

    def forward(self, X):
        """Outputs for rows of X, outside training.

        Parameters
        ----------
        X : {ndarray, CSR matrix} of shape (n_samples, n_features)

        Returns
        -------
        Z : ndarray of shape (n_samples, n_outputs)
        """
        self._weights.run()
        return self._outputs(X)

    def loss(self, X, y, sample_weight=None):
        """Loss of rows of X, outside training.

        Parameters
        ----------
        X : {ndarray, CSR matrix} of shape (n_samples, n_features)
        y : ndarray
            Targets, as the loss takes them.
        sample_weight : ndarray of shape (n_samples,), default=None

        Returns
        -------
        loss : float
        """
        found = self.forward(X), y, sample_weight
        return self.loss_.value_and_gradient(*map(to_host, found))[0]

    def loss_and_gradient(self, X, y, sample_weight=None, random_state=None):
        """Loss of a batch in training; leaves the gradient in `gradient`.

        Parameters
        ----------
        X : {ndarray, CSR matrix} of shape (n_samples, n_features)
        y : ndarray
        sample_weight : ndarray of shape (n_samples,), default=None
        random_state : numpy.random.RandomState, default=None
            Needed if there is dropout.

        Returns
        -------
        loss : float
            On a device a CuPy array of it, which has not been waited for.
        """
        if issparse(X) and not self._takes_sparse:
            X = X.toarray()
        room = csr_room(X) if issparse(X) else None
        weighted = sample_weight is not None
        recorded = self._gradients.get(
            self._record_gradient, X.shape[0], room, weighted
        )
        if room is None:
            assign(recorded.x, X)
        else:
            fill_csr(recorded.x, X)
        assign(recorded.targets, y.reshape(recorded.targets.shape))
        if weighted:
            assign(recorded.weight, sample_weight)
        for layer in self._drawing:
            layer.draw(random_state)
        recorded.program.run()
        loss = recorded.value[0]
        return loss if is_device_array(loss) else float(loss)

    def _record_gradient(self, n_rows, room, weighted):
        program = self._new_program()
        x = new_batch(program, n_rows, self.n_features, room)
        for layer in self.layers:
            layer.prepare(program)
        out, saved = self._chain.forward(program, x, True)
        targets = self.loss_.targets(program, *out.shape)
        weight = program.buffer(n_rows) if weighted else None
        value = program.buffer(1, dtype=np.float64)
        dout = program.buffer(*out.shape)
        self.loss_.record(program, out, targets, weight, dout, value)
        self._chain.backward(program, dout, saved, False)
        return _Gradient(program, x, targets, weight, value)


def _record_outputs(chain, program, x):
    return chain.forward(program, x, False)[0]


class _Memory:
    """Arrays that belong to the weights, whatever the batch."""

    def __init__(self, program):
        self._program = program

    def zeros(self, shape, dtype=None):
        """An array of zeros, of the dtype of the network unless one is given."""
        return self._program.buffer(*shape, dtype=dtype)

    def form(self, n_rows, n_columns):
        """An array for packed codes of that shape."""
        return self._program.form(n_rows, n_columns)

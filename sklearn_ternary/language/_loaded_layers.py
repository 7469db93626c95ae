"""The layers of a model that are ready to multiply, and how they become so."""

import threading
from collections import OrderedDict
from numbers import Integral

import numpy as np

from sklearn_ternary._dispatch.language import layer_stack_options, make_layer_stack
from sklearn_ternary.language._weights import release

STRATEGIES = ("mmap", "preload", "lazy")
# Passes after which all layers are laid out, if each has at most so many tokens: for
# more of them it is faster to wait for that.
_STORED_PASSES = 16
_STORED_TOKENS = 32


class LoadedLayers:
    """Layers and output matrix, laid out when the strategy says so.

    Several threads may run them at a time.

    Parameters
    ----------
    config : LanguageConfig
    weights : Weights
    strategy : {"mmap", "preload", "lazy"}
        See :meth:`Model.from_gguf`.
    max_layers : int or None
        Most layers that ``"lazy"`` keeps; None is 8.

    Attributes
    ----------
    backend : {"cpu", "numpy"}
    """

    def __init__(self, config, weights, strategy, max_layers):
        if strategy not in STRATEGIES:
            raise ValueError(f"strategy={strategy!r} must be one of {list(STRATEGIES)}")
        if max_layers is None:
            max_layers = 8
        elif strategy != "lazy":
            raise ValueError(
                f"max_layers={max_layers!r} goes with strategy='lazy' only"
            )
        if (
            not isinstance(max_layers, Integral)
            or isinstance(max_layers, bool)
            or max_layers < 1
        ):
            raise ValueError(f"max_layers={max_layers!r} must be a positive integer")
        self._config, self._weights = config, weights
        self.strategy, self.max_layers = strategy, max_layers
        self._stack, self.backend = make_layer_stack(config.stack, config.n_layers)
        self._held = OrderedDict()  # layers that are ready, the last used at the end
        self._ready = False  # all layers and the head
        self._stored = None  # layers and head as the file holds them
        self._head = self._embedding = None
        self._lock = threading.RLock()

    def __len__(self):
        return len(self._held)

    @property
    def nbytes(self):
        """Bytes of the weights that are ready in memory."""
        layers = sum(linear.nbytes for layer in self._held.values() for linear in layer)
        return layers + (self._head.nbytes if self._head is not None else 0)

    def load(self):
        """Make everything ready that is not yet, as the strategy allows."""
        with self._lock:
            if self._head is None:
                self._load_head()
            if self.strategy != "lazy":
                for i in range(self._config.n_layers):
                    self._load_layer(i)
                self._ready = True
                self._stored = None

    def after_fork(self):
        """Forget that a thread of the parent was loading; it is not here."""
        self._lock = threading.RLock()

    def run(self, tokens, batch, cache, tables, outputs, trace):
        """Compute all layers of a pass.

        Parameters
        ----------
        tokens : array of int64
        batch : Batch
        cache : KVCache
        tables : tuple of array
            Of :func:`rope_tables`.
        outputs : dict
            What the stack of layers writes: ``out_rows``, ``hidden``, ``logits`` and,
            to be traced, ``times``.
        trace : list or None
            Gets a tuple (step, layer, start, end) for each step.
        """
        options = layer_stack_options(self.backend)
        run = (tokens, batch, cache, tables, outputs, options, trace)
        if self._ready:
            self._run_all(*run)
            return
        with self._lock:
            if self.strategy == "lazy":
                self._run_layers(*run)
            elif self._ready or not self._run_stored(*run):
                self.load()
                self._run_all(*run)

    def _load_layer(self, i):
        if i in self._held:
            self._held.move_to_end(i)
            return
        if self.strategy == "lazy":
            while len(self._held) >= self.max_layers:
                oldest, _ = self._held.popitem(last=False)
                self._stack.set_layer(oldest, None, None)
        options = layer_stack_options(self.backend)
        found = self._weights.linears(i)
        room = self._stack.make_room([matrix[1:] for matrix in found])
        linears = []
        for name, stored, format in found:
            try:
                linear = self._stack.make_linear(stored, format, room, **options)
            except ValueError as error:
                raise self._weights.error(name, error) from None
            linears.append(linear)
            release(stored)
        self._stack.set_layer(i, self._weights.norms(i), linears)
        self._held[i] = linears

    def _load_head(self):
        stored, norm = self._weights.head()
        options = layer_stack_options(self.backend)
        head = self._stack.make_linear(stored, **options)
        release(stored)
        self._stack.set_head(norm, head)
        self._embedding = self._weights.embedding() or head.rows
        self._head = head

    def _run_all(self, tokens, *run):
        n_layers = self._config.n_layers
        return self._stacked(0, n_layers, self._embedding(tokens), *run)

    def _run_stored(self, tokens, batch, cache, tables, outputs, *run):
        """Compute while not all is laid out; return whether that could be."""
        first = self._stored is None
        if len(tokens) > _STORED_TOKENS or not self._attach():
            return False
        if not first:
            waiting = [i for i in range(self._config.n_layers) if i not in self._held]
            for i in waiting[: -(-self._config.n_layers // _STORED_PASSES)]:
                self._load_layer(i)
            if not waiting:
                return False
        # What is wrong there is told where it is laid out, or needs other scales only.
        return self._run_all(tokens, batch, cache, tables, outputs, *run) and all(
            rows is None or np.isfinite(rows).all()
            for rows in (outputs["hidden"], outputs["logits"])
        )

    def _attach(self):
        """Take all matrices as the file holds them; return whether it goes."""
        if self._stored is None:
            self._stored = []
            layers = range(self._config.n_layers)
            if self.strategy != "mmap" or not self._stack.takes_stored or self._held:
                return False
            head = self._weights.stored_head()
            found = [self._weights.stored_linears(i) for i in layers]
            if head is None or None in found:
                return False
            options = layer_stack_options(self.backend)
            for i in layers:
                linears = [self._stack.make_linear(m, **options) for m in found[i]]
                self._stack.set_layer(i, self._weights.norms(i), linears)
            linear = self._stack.make_linear(head[0], **options)
            self._stack.set_head(head[1], linear)
            self._embedding = self._weights.embedding(checked=False) or linear.rows
            self._stored = found, head
        return bool(self._stored)

    def _run_layers(self, tokens, batch, cache, tables, outputs, options, trace):
        """Compute with some layers at a time."""
        if self._head is None:
            self._load_head()
        x = self._embedding(tokens)
        n_layers = self._config.n_layers
        silent = outputs | {"out_rows": None, "hidden": None, "logits": None}
        for i in range(n_layers):
            self._load_layer(i)
            self._stacked(i, i + 1, x, batch, cache, tables, silent, options, trace)
        if outputs["out_rows"] is not None:
            self._stacked(
                n_layers, n_layers, x, batch, cache, tables, outputs, options, trace
            )

    def _stacked(self, first, last, x, batch, cache, tables, outputs, options, trace):
        n = self._stack.run(first, last, x, batch, cache, tables, **outputs, **options)
        if trace is not None and n > 0:
            trace.extend(map(tuple, outputs["times"][:n].tolist()))
        return n >= 0

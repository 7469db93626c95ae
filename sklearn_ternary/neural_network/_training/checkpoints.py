"""Checkpoints of a run: what is saved when, and how it goes on."""

import hashlib
import json

import numpy as np
from scipy import sparse

from sklearn_ternary._gpu.arrays import to_host

# Parameters that may change between a run and what goes on from it.
_FREE = (
    "checkpoint_dir",
    "checkpoint_every",
    "keep_last",
    "random_state",
    "resume",
    "verbose",
    "warm_start",
)


class Checkpoints:
    """Saves the state of a run in a folder, and brings it back.

    Parameters
    ----------
    options : dict
        Parameters of the trainer; without `checkpoint_dir` nothing is done.

    Raises
    ------
    ValueError
        If ``resume=True`` and there is no checkpoint, or all are damaged.
    """

    def __init__(self, options):
        self.options = options
        self.folder = options["checkpoint_dir"]
        self.saved_step = 0
        self.found = None
        self.fingerprint = self.seed = None
        if self.folder is None or options["resume"] is False:
            return
        from sklearn_ternary.persistence import load_latest

        self.found = load_latest(self.folder)
        if self.found is None and options["resume"] is True:
            raise ValueError(
                f"resume=True, and there is no checkpoint in {self.folder!s}"
            )
        if self.found is not None and not _is_ours(self.found):
            raise ValueError(
                f"{self.found.path} is not a checkpoint of a ConstrainedTrainer"
            )

    def choose_seed(self, seed):
        """The seed of the run that goes on, else the given one."""
        self.seed = int(self.found.info["seed"]) if self.found else int(seed)
        return self.seed

    def restore(self, run, stopping, data):
        """Bring back the newest state, if there is one.

        Raises
        ------
        ValueError
            If it is of other data or other parameters.
        """
        if self.folder is None:
            return
        self.fingerprint = _fingerprint(self.options, data)
        if self.found is None:
            return
        if self.found.info["fingerprint"] != self.fingerprint:
            raise ValueError(
                f"{self.found.path} is of other data or other parameters; "
                "resume=False starts anew"
            )
        state = self.found.arrays | self.found.info["numbers"]
        try:
            run.state = _below("run.", state)
            stopping.state = _below("stopping.", state)
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"{self.found.path} does not hold the state of this run: {error!r}"
            ) from None
        self.saved_step = run.n_steps_done
        self.found = None

    def save_if_due(self, run, stopping):
        """Save if `checkpoint_every` steps have been taken since."""
        if run.n_steps_done - self.saved_step >= self.options["checkpoint_every"]:
            self.save(run, stopping)

    def save(self, run, stopping):
        """Save the state, unless it is saved or there is no folder."""
        if self.folder is None:
            return
        from sklearn_ternary.persistence import save_checkpoint

        state = {f"run.{k}": v for k, v in run.state.items()}
        state |= {f"stopping.{k}": v for k, v in stopping.state.items()}
        arrays = {k: v for k, v in state.items() if isinstance(v, np.ndarray)}
        numbers = {k: v for k, v in state.items() if k not in arrays}
        info = {
            "kind": "ConstrainedTrainer",
            "fingerprint": self.fingerprint,
            "seed": self.seed,
            "numbers": numbers,
        }
        save_checkpoint(
            self.folder,
            run.n_steps_done,
            arrays,
            info,
            keep_last=self.options["keep_last"],
        )
        self.saved_step = run.n_steps_done


def _is_ours(found):
    info = found.info
    names = {"kind", "fingerprint", "seed", "numbers"}
    return (
        isinstance(info, dict)
        and set(info) == names
        and info["kind"] == "ConstrainedTrainer"
        and isinstance(info["seed"], int)
        and isinstance(info["numbers"], dict)
    )


def _fingerprint(options, data):
    """Digest of the data and of what a run depends on."""
    fixed = {k: v for k, v in options.items() if k not in _FREE}
    fixed["hidden_layer_sizes"] = np.ravel(fixed["hidden_layer_sizes"]).tolist()
    text = json.dumps(fixed, sort_keys=True, default=_described)
    digest = hashlib.sha256(text.encode())
    X = to_host(data.X)
    arrays = [X.data, X.indices, X.indptr] if sparse.issparse(X) else [X]
    weight = data.weight
    for array in (*arrays, data.targets, *([] if weight is None else [weight])):
        digest.update(repr((array.shape, array.dtype.str)).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _described(value):
    """Text that is the same in every process: a function goes by its name."""
    if not callable(value):
        return repr(value)
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"


def _below(prefix, state):
    return {
        name.removeprefix(prefix): value
        for name, value in state.items()
        if name.startswith(prefix)
    }

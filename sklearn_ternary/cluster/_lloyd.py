"""One run of Lloyd's algorithm."""

from typing import NamedTuple

import numpy as np

from sklearn_ternary.cluster._distances import distance_sums


class Run(NamedTuple):
    """What a run found."""

    labels: np.ndarray
    inertia: float
    centers: np.ndarray
    n_iter: int
    converged: bool


def run_lloyd(steps, centers, *, max_iter, tol, verbose=False, after=None):
    """Move centres to the means of the rows nearest to them until that ends.

    Parameters
    ----------
    steps : what `start_iterations` returned, or DeviceIterations
    centers : ndarray of shape (k, d)
        Where to start from; left as they are.
    max_iter : int
    tol : float
        Ends when the squares of what the centres moved sum up to no more.
    verbose : bool, default=False
        Print the inertia of every iteration.
    after : callable, default=None
        ``after(i, centers)`` ends the run where it is true.

    Returns
    -------
    run : Run
        The labels are those of the centres, exactly. A run that `after` ended
        counts as converged.
    """
    rows, weight = steps.rows, steps.weight
    i, converged = 0, True
    while True:
        step = steps.advance(centers, max_iter - i, tol)
        i, centers = i + step.n_iter, step.means
        if verbose:
            inertia = inertia_of(rows, weight, step.previous, steps.labels)
            print(f"Iteration {i - 1}, inertia {inertia}.")
        if step.strict:
            if verbose:
                print(f"Converged at iteration {i - 1}: strict convergence.")
            break
        if step.shift <= tol:
            if verbose:
                print(
                    f"Converged at iteration {i - 1}: center shift {step.shift} "
                    f"within tolerance {tol}."
                )
            break
        if after is not None and after(i - 1, steps.shown(centers)):
            break
        if i == max_iter:
            converged = False
            break
    labels, centers = steps.finish(centers, step.previous, step.shift)
    inertia = inertia_of(rows, weight, centers, labels)
    return Run(labels, inertia, steps.shown(centers), i, converged)


def inertia_of(rows, weight, centers, labels):
    """Weighted sum of the squared or cosine distances to the centres of the labels."""
    total, _ = distance_sums(rows, weight, centers, labels)
    # Half the squared distance of two directions is their cosine distance.
    return total / 2 if rows.directions else total

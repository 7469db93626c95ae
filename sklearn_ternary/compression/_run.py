"""Compress a whole model and say what came of it."""

from sklearn.base import is_classifier
from sklearn.metrics import r2_score

from sklearn_ternary.compression._job import Job
from sklearn_ternary.compression._report import CompressionReport


def run(estimator, options, X, compress_part):
    """Return the compressed estimator, with its report.

    Parameters
    ----------
    estimator : fitted estimator
    options : Options
    X : array-like or None
        Calibration data.
    compress_part : callable
        Maps an estimator and a `Job` to a compressed estimator.
    """
    job = Job(options, X, X)
    result = compress_part(estimator, job)
    for entry in options.exclude:
        if entry not in job.excluded:
            names = [layer.name for layer in job.layers]
            raise ValueError(
                f"exclude={entry!r} names no part of {type(estimator).__name__}, whose "
                f"weights are {names}"
            )
    if all(layer.layout is None for layer in job.layers):
        raise ValueError(
            f"exclude={list(options.exclude)!r} leaves nothing to compress"
        )
    measure, agreement = (None, None) if X is None else _agreement(estimator, result, X)
    result.compression_report_ = CompressionReport(
        model=type(estimator).__name__,
        layers=tuple(job.layers),
        measure=measure,
        agreement=agreement,
        n_calibration=0 if X is None else _n_samples(X),
    )
    return result


def _n_samples(X):
    return X.shape[0] if hasattr(X, "shape") else len(X)


def _agreement(original, compressed, X):
    if is_classifier(original):
        equal = original.predict(X) == compressed.predict(X)
        if equal.ndim == 2:  # several labels for each sample
            equal = equal.all(axis=1)
        return "equal predictions", float(equal.mean())
    method = "predict" if hasattr(original, "predict") else "transform"
    wanted, found = (_dense(getattr(e, method)(X)) for e in (original, compressed))
    return "r2", float(r2_score(wanted, found, multioutput="variance_weighted"))


def _dense(values):
    return values.toarray() if hasattr(values, "toarray") else values

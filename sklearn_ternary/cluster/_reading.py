"""From what users pass as X to the rows that k-means works on."""

from functools import partial
from typing import NamedTuple

import numpy as np
from scipy import sparse
from sklearn.utils.validation import assert_all_finite, validate_data

from sklearn_ternary import _dispatch
from sklearn_ternary._gpu.arrays import from_device, is_device_array, to_host
from sklearn_ternary._in_kind import validated
from sklearn_ternary.cluster._blocked_rows import BlockedRows, rows_per_block
from sklearn_ternary.cluster._chunks import Parts, aligned_blocks, chunks_of
from sklearn_ternary.cluster._dense_rows import DenseRows
from sklearn_ternary.cluster._device_rows import DeviceRows
from sklearn_ternary.cluster._directions import unit_rows
from sklearn_ternary.cluster._magnitude import (
    exponent_for,
    largest_of,
    times_power,
)
from sklearn_ternary.cluster._sparse_rows import SparseRows

_DTYPES = [np.float64, np.float32]


class Data(NamedTuple):
    """Validated data.

    Parameters
    ----------
    X : ndarray, csr_matrix or sequence of chunks
        What functions of users are given.
    rows : DenseRows, SparseRows, BlockedRows or DeviceRows
        Scaled by ``2**-exponent``, or of length 1.
    exponent : int
    zero : ndarray of shape (n,), bool, or None
        Rows without direction, where directions are clustered and there are any.
    """

    X: object
    rows: object
    exponent: int
    zero: object


class _Survey(NamedTuple):
    """What a first pass found; the largest magnitude is that of float64 alone."""

    shape: tuple
    dtype: np.dtype
    largest: float
    zero: np.ndarray


def read(
    estimator,
    X,
    config,
    *,
    reset,
    centers=None,
    dtype=None,
    widen=False,
    measured=False,
):
    """Validate X and make rows of it.

    Parameters
    ----------
    estimator : ClusteredKMeans
        Its `metric` says whether rows become directions.
    X : {array-like, sparse matrix} of shape (n, d) or sequence of chunks
    config : Config
    reset : bool
        Whether `estimator` learns the number and the names of the features.
    centers : ndarray of shape (k, d), default=None
        Are scaled with the rows.
    dtype : dtype, default=None
        Of the rows; None keeps that of X where it is float32 or float64.
    widen : bool, default=False
        Make the rows float64 where X and `centers` differ.
    measured : bool, default=False
        Whether the rows are measured next: `check_measured` then sees what is not
        finite in rows of float32, and they are not read for that alone.

    Returns
    -------
    data : Data
    """
    given = X = from_device(X)
    chunks = None if is_device_array(X) else chunks_of(X)
    if chunks is None and _is_large_to_convert(X, config):
        chunks = Parts([X])
    if is_device_array(X):
        X = given = validated(estimator, X, reset=reset)
    elif chunks is None:
        late = measured and not sparse.issparse(X) and estimator.metric == "euclidean"
        if late and reset and is_checked(X):
            _learn_features(estimator, X)
        else:
            # Sums of the largest numbers, which validation takes, may be none.
            with np.errstate(invalid="ignore"):
                X = validate_data(
                    estimator,
                    X,
                    accept_sparse="csr",
                    reset=reset,
                    dtype=_DTYPES,
                    order="C",
                    accept_large_sparse=False,
                    ensure_all_finite=not late,
                )
        if late and X.dtype == np.float64:
            _assert_finite(estimator, X)
        if sparse.issparse(X) and not X.has_canonical_format:
            X = X.copy()
            X.sum_duplicates()
        given = given if is_device_array(given) else X
    if chunks is None:
        largest = largest_of(X) if X.dtype == np.float64 else 0.0
        survey = _Survey(X.shape, X.dtype, largest, None)
    else:
        survey = _survey(estimator, chunks, config, reset)
    dtype = np.dtype(survey.dtype if dtype is None else dtype)
    if widen and dtype != centers.dtype:
        dtype = np.dtype(np.float64)
    if dtype == np.float32 and survey.largest > float(np.finfo(dtype).max):
        raise ValueError(
            f"X has values up to {survey.largest:g}, beyond the range of {dtype}, "
            "which the centers are of"
        )
    directions = estimator.metric == "cosine"
    exponent = 0
    if not directions and dtype == np.float64:
        others = [] if centers is None else [largest_of(centers)]
        exponent = exponent_for(max(survey.largest, *others, 0.0))
    prepare = partial(
        _prepared, dtype=dtype, exponent=exponent, directions=directions, config=config
    )
    zero = survey.zero
    to_device = chunks is None and not sparse.issparse(X)
    to_device = to_device and _dispatch.goes_to_device(X, config=config)
    if chunks is None and sparse.issparse(X):
        X = X.astype(dtype, copy=False)
        if directions:
            X, zero = unit_rows(X, config)
        rows = SparseRows(times_power(X, -exponent), config)
    elif to_device:
        X = X.astype(dtype, copy=False)
        if directions:
            X, zero = unit_rows(X, config)
            zero = to_host(zero)
        rows = DeviceRows(times_power(X, -exponent), config)
    else:
        same = survey.dtype == dtype and exponent == 0 and not directions
        if chunks is None and not same and X.size * dtype.itemsize > _bytes(config):
            chunks = Parts([X])
        if chunks is not None:
            rows = BlockedRows(chunks, survey.shape, dtype, prepare, config)
            if directions and zero is None:
                zero = _zero_rows(X, config)
        elif directions:
            X, zero = unit_rows(X.astype(dtype, copy=False), config)
            rows = DenseRows(X, config)
        else:
            rows = DenseRows(prepare(X), config)
    rows.directions = directions
    return Data(given, rows, exponent, zero if directions and zero.any() else None)


def is_checked(X):
    """Whether `check_array` would return X as it is, if X is finite."""
    return (
        type(X) is np.ndarray
        and X.dtype in (np.float64, np.float32)
        and X.ndim == 2
        and X.size > 0
        and X.flags.c_contiguous
    )


def _learn_features(estimator, X):
    """What `validate_data` lets an estimator learn of an array, which has no names."""
    estimator.n_features_in_ = X.shape[1]
    estimator.__dict__.pop("feature_names_in_", None)


def make_rows(X, config):
    """The `DenseRows` or `SparseRows` of validated data."""
    return SparseRows(X, config) if sparse.issparse(X) else DenseRows(X, config)


def check_measured(estimator, rows):
    """Raise ValueError where measured rows were not finite, as `validate_data` does."""
    looked_at = isinstance(rows, (DenseRows, DeviceRows))
    if not looked_at or is_device_array(rows.X):
        return
    if not np.isfinite(rows.about_center):
        _assert_finite(estimator, rows.X)


def _assert_finite(estimator, X):
    with np.errstate(invalid="ignore"):
        assert_all_finite(X, estimator_name=type(estimator).__name__, input_name="X")


def _bytes(config):
    return config.working_memory * 2**20


def _is_large_to_convert(X, config):
    """Whether X is an array of which no copy for validation should be made."""
    return (
        isinstance(X, np.ndarray)
        and X.ndim == 2
        and X.dtype.kind in "fiub"
        and X.dtype.itemsize <= 8
        and X.size * 8 > _bytes(config)
        and not (X.dtype in _DTYPES and X.flags.c_contiguous)
    )


def _survey(estimator, chunks, config, reset):
    """Validate all chunks: their common shape and dtype, and what is in them."""
    n, largest, zero = 0, 0.0, []
    n_features, single = None, True
    for i, chunk in enumerate(chunks):
        for part in _parts(chunk, config):
            try:
                part = validate_data(
                    estimator,
                    part,
                    reset=reset,
                    dtype=_DTYPES,
                    order="C",
                    ensure_min_samples=0,
                )
            except ValueError as error:
                raise ValueError(f"chunk {i} of X: {error}") from error
            reset = False
            n += len(part)
            n_features, single = part.shape[1], single and part.dtype == np.float32
            if estimator.metric == "cosine":
                zero.append(~part.any(axis=1))
            if part.dtype == np.float64:
                largest = max(largest, largest_of(part))
    if n == 0:
        raise ValueError(
            f"Found no rows in X={chunks!r}: a minimum of 1 is required; a function "
            "must return a new iterator whenever it is called"
        )
    zero = np.concatenate(zero) if zero else None
    dtype = np.dtype(np.float32 if single else np.float64)
    return _Survey((n, n_features), dtype, largest, zero)


def _parts(chunk, config):
    """A chunk in parts that can be looked at without much memory."""
    if not isinstance(chunk, np.ndarray) or chunk.ndim != 2 or not chunk.shape[1]:
        yield chunk
        return
    size = rows_per_block(chunk.shape[1], config.working_memory)
    for start in range(0, max(1, len(chunk)), size):
        yield chunk[start : start + size]


def _prepared(block, dtype, exponent, directions, config):
    """Rows as they are worked on."""
    block = np.ascontiguousarray(block, dtype=dtype)
    if directions:
        return unit_rows(block, config)[0]
    return times_power(block, -exponent)


def _zero_rows(X, config):
    """Which rows are zero."""
    zero = np.empty(len(X), dtype=bool)
    size = rows_per_block(X.shape[1], config.working_memory)
    for start, block in aligned_blocks([X], size, X.shape[1], X.dtype):
        zero[start : start + len(block)] = ~block.any(axis=1)
    return zero

"""Models made of models: pipelines, column transformers, one-vs-rest."""

import copy

from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.utils.validation import check_is_fitted


def _compress_pipeline(pipeline, job, parts):
    """Steps one after the other; X goes through the original and the new steps."""
    steps = []
    X, X_packed = job.X, job.X_packed
    n_steps = len(pipeline.steps)
    for i, (name, step) in enumerate(pipeline.steps):
        child = job.child(name, i, n_steps, X, X_packed)
        n_packed = len(job.layers)
        new = _compress_child(step, child, parts)
        steps.append((name, new))
        if X is not None and i < n_steps - 1 and isinstance(step, BaseEstimator):
            same = X_packed is X and len(job.layers) == n_packed
            X = step.transform(X)
            X_packed = X if same else new.transform(X_packed)
    result = _shallow(pipeline)
    result.steps = steps
    return result


def _compress_union(union, job, parts):
    """Transformers side by side, all of which see the same X."""
    new = []
    n = len(union.transformer_list)
    for i, (name, transformer) in enumerate(union.transformer_list):
        child = job.child(name, i, n, job.X, job.X_packed)
        new.append((name, _compress_child(transformer, child, parts)))
    result = _shallow(union)
    result.transformer_list = new
    return result


def _compress_columns(columns, job, parts):
    """Transformers of columns; they are compressed without calibration."""
    check_is_fitted(columns)
    # Fitted ones and those that the next `fit` clones are kept apart.
    jobs, fitted = {}, []
    n = len(columns.transformers_)
    for i, (name, transformer, selected) in enumerate(columns.transformers_):
        jobs[name] = job.child(name, i, n)
        new = _compress_child(transformer, jobs[name], parts)
        fitted.append((name, new, selected))
    result = _shallow(columns)
    result.transformers_ = fitted
    result.transformers = [
        (name, _prototype(transformer, jobs[name], parts), selected)
        for name, transformer, selected in columns.transformers
    ]
    return result


def _compress_one_vs_rest(classifier, job, parts):
    """One binary classifier for each class, all of which see the same X."""
    check_is_fitted(classifier)
    n = len(classifier.estimators_)
    result = _shallow(classifier)
    result.estimators_ = [
        _compress_child(estimator, job.child(i, i, n, job.X, job.X_packed), parts)
        for i, estimator in enumerate(classifier.estimators_)
    ]
    # Other classes may come with the next `fit`: nothing is excluded then.
    everything = job.child("", n, 0, job.X, job.X_packed)
    result.estimator = _prototype(classifier.estimator, everything, parts)
    return result


def _prototype(part, job, parts):
    """What the next `fit` of a container clones: unfitted, but compressing."""
    if job.is_excluded() or not isinstance(part, BaseEstimator):
        return copy.deepcopy(part)
    return parts.prototype(part, job)


def _compress_child(part, job, parts):
    """Compress a part, or copy it if it cannot be or is not to be."""
    if job.is_excluded() or not parts.supports(part):
        return copy.deepcopy(part)
    return parts.compress(part, job)


def _shallow(container):
    """Copy of a container; its parts are replaced by the caller."""
    result = copy.copy(container)
    for name, value in vars(container).items():
        parts = name.startswith(("steps", "transformer", "estimator"))
        if not parts and name != "_skl_callbacks":
            setattr(result, name, copy.deepcopy(value))
    return result


def parts_of(container):
    """Parts of a container, fitted where it keeps fitted ones apart."""
    names = ("estimators_", "transformers_", "steps", "transformer_list")
    names += ("transformers", "estimator")
    parts = next(getattr(container, name) for name in names if hasattr(container, name))
    parts = parts if isinstance(parts, list) else [parts]
    return [part[1] if isinstance(part, tuple) else part for part in parts]


# Class -> function of (container, job, parts).
CONTAINERS = {
    Pipeline: _compress_pipeline,
    FeatureUnion: _compress_union,
    ColumnTransformer: _compress_columns,
    OneVsRestClassifier: _compress_one_vs_rest,
}

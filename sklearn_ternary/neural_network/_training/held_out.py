"""Samples that are held out of training, for scores."""

import numpy as np
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import train_test_split

from sklearn_ternary._gpu.arrays import to_host


class HeldOut:
    """Scores a network that is being trained.

    Parameters
    ----------
    estimator : ConstrainedTrainer
        With targets and standardization.
    samples : Samples
    """

    def __init__(self, estimator, samples):
        X, y, self.weight = samples
        self.X = estimator._standardization.apply(X)
        self.targets = estimator._targets
        self.measure = r2_score
        if estimator.loss == "log_loss":
            self.measure = accuracy_score
            if not self.targets.is_multilabel:
                y = self.targets.classes[y.ravel().astype(int)]
        self.y = y

    def score(self, network):
        """Accuracy or R²; NaN where outputs are not finite."""
        predicted = self.targets.decode(to_host(network.forward(self.X)))
        if predicted.dtype.kind == "f" and not np.isfinite(predicted).all():
            return float("nan")
        return float(self.measure(self.y, predicted, sample_weight=self.weight))


def split(estimator, samples, random_state):
    """Samples to train on, and those that are held out, or None.

    Parameters
    ----------
    estimator : ConstrainedTrainer
        With targets.
    samples : Samples
    random_state : RandomState

    Returns
    -------
    samples : Samples
    held_out : Samples or None
    """
    if not estimator.early_stopping:
        return samples, None
    is_classifier = estimator.loss == "log_loss"
    single = is_classifier and not estimator._targets.is_multilabel
    parts = train_test_split(
        np.arange(len(samples.y)),
        random_state=random_state,
        test_size=estimator.validation_fraction,
        stratify=samples.y if single else None,
    )
    if len(parts[1]) < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' or "
            "the size of your dataset."
        )
    return tuple(map(samples.of_rows, parts))

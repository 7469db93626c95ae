"""Between the targets that users have and those that losses take."""

import numpy as np
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from sklearn_ternary._gpu.arrays import like, to_host
from sklearn_ternary.neural_network._networks.losses import (
    AbsoluteError,
    HuberLoss,
    SigmoidLoss,
    SoftmaxLoss,
    SquaredError,
)
from sklearn_ternary.neural_network._training.standardization import (
    find_standardization,
)

REGRESSION_LOSSES = {
    "squared_error": SquaredError,
    "absolute_error": AbsoluteError,
    "huber": HuberLoss,
}


class ClassTargets:
    """Classes: two, more, or any number of labels at once.

    Parameters
    ----------
    classes : ndarray
        Sorted classes; for labels their numbers.
    is_multilabel : bool
    """

    def __init__(self, classes, is_multilabel):
        self.classes = classes
        self.is_multilabel = is_multilabel

    @classmethod
    def of(cls, y, classes=None):
        """Targets of a set, with its classes or given ones."""
        check_classification_targets(y)
        is_multilabel = type_of_target(y).startswith("multilabel")
        found = LabelBinarizer().fit(y).classes_
        if classes is not None:
            classes = np.unique(classes)
            extra = np.setdiff1d(found, classes)
            if len(extra):
                raise ValueError(
                    f"y has classes {list(extra)} that are not among "
                    f"classes={list(classes)}"
                )
            found = classes
        if len(found) < 2 and not is_multilabel:
            raise ValueError(
                f"y has one class, {found.tolist()}; a classifier needs at least two "
                "classes among the samples of positive weight"
            )
        return cls(found, is_multilabel)

    @property
    def n_outputs(self):
        """Outputs of a network for them."""
        if self.is_multilabel:
            return len(self.classes)
        return 1 if len(self.classes) == 2 else len(self.classes)

    def loss(self):
        """The loss for them."""
        return SoftmaxLoss() if self.out_activation == "softmax" else SigmoidLoss()

    @property
    def out_activation(self):
        """What makes probabilities of outputs."""
        several = self.n_outputs > 1 and not self.is_multilabel
        return "softmax" if several else "logistic"

    @property
    def attributes(self):
        """What the estimator shows of them."""
        return {"classes_": self.classes}

    def encode(self, y):
        """What the loss takes: int32 classes, or float32 zeros and ones."""
        if self.is_multilabel:
            y = y.toarray() if hasattr(y, "toarray") else np.asarray(y)
            if y.shape[1] != len(self.classes):
                raise ValueError(f"y has {y.shape[1]} labels, not {len(self.classes)}")
            return y.astype(np.float32)
        y = np.asarray(y).ravel()
        places = np.searchsorted(self.classes, y)
        places = np.minimum(places, len(self.classes) - 1)
        strange = self.classes[places] != y
        if strange.any():
            raise ValueError(
                f"y has classes {np.unique(y[strange]).tolist()} that were not there "
                "in the first fit"
            )
        if self.n_outputs == 1:
            return places.astype(np.float32)[:, None]
        return places.astype(np.int32)

    def decode(self, Z):
        """Predicted classes for outputs."""
        if self.is_multilabel:
            return (Z > 0).astype(int)
        if self.n_outputs == 1:
            return self._named((Z[:, 0] > 0).astype(int))
        return self._named(Z.argmax(axis=1))

    def _named(self, places):
        # Names cannot be on a device.
        if self.classes.dtype.kind not in "biuf":
            return self.classes[to_host(places)]
        return like(self.classes, places)[places]


class NumberTargets:
    """Numbers, standardized for training.

    Parameters
    ----------
    standardization : Standardization
    loss_name : str
    is_flat : bool
        Whether y had one dimension.
    """

    out_activation = "identity"

    def __init__(self, standardization, loss_name, is_flat):
        self.standardization = standardization
        self.loss_name = loss_name
        self.is_flat = is_flat

    @classmethod
    def of(cls, y, weight, loss_name):
        """Targets of a set."""
        y_2d = y.reshape(len(y), -1)
        found = find_standardization(y_2d, weight, "feature")
        return cls(found, loss_name, y.ndim == 1)

    @property
    def attributes(self):
        """What the estimator shows of them."""
        return {}

    @property
    def n_outputs(self):
        """Outputs of a network for them."""
        return len(self.standardization.mean)

    def loss(self):
        """The loss for them."""
        return REGRESSION_LOSSES[self.loss_name]()

    def encode(self, y):
        """Standardized float32."""
        y = y.reshape(len(y), -1)
        if y.shape[1] != self.n_outputs:
            raise ValueError(f"y has {y.shape[1]} outputs, not {self.n_outputs}")
        mean, scale = self.standardization
        return ((y - mean) / scale).astype(np.float32)

    def decode(self, Z):
        """Predictions for outputs, float64."""
        mean, scale = self.standardization
        y = Z.astype(np.float64) * like(scale, Z) + like(mean, Z)
        return y.ravel() if self.is_flat else y

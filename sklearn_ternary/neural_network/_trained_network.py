"""What a trained network does: predict, score, be packed, saved and loaded."""

import copy
import os

import numpy as np
from scipy.special import expit, softmax
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from sklearn_ternary._gpu.arrays import (
    from_device,
    is_device_array,
    like,
    on_its_device,
    to_host,
)
from sklearn_ternary._validation import (
    check_finite,
    is_of_fitted_kind,
    validated_on_device,
)
from sklearn_ternary.neural_network._trained_files import (
    fill,
    is_model,
    numpy_state,
    to_parts,
)
from sklearn_ternary.neural_network._training.summary import summary_text
from sklearn_ternary.persistence import load_tensors, save_tensors

_DTYPES = [np.float64, np.float32]


def is_classifier(estimator):
    """Whether a network with the loss of `estimator` predicts classes."""
    return estimator.loss == "log_loss"


class TrainedNetwork:
    """Methods of an estimator once its network is trained."""

    @on_its_device
    def predict(self, X):
        """Predict classes, labels or numbers.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        Z = self._outputs(X)
        return self._targets.decode(Z)

    @available_if(is_classifier)
    @on_its_device
    def decision_function(self, X):
        """Outputs of the network: the larger, the likelier.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        Z : ndarray of shape (n_samples,) for two classes, else (n_samples, n_classes)
        """
        Z = self._outputs(X).astype(np.float64)
        is_binary = Z.shape[1] == 1 and not self._targets.is_multilabel
        return Z.ravel() if is_binary else Z

    @available_if(is_classifier)
    @on_its_device
    def predict_proba(self, X):
        """Probabilities of the classes, or of each label.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
        """
        Z = self._outputs(X).astype(np.float64)
        if self._targets.is_multilabel:
            return like(expit(to_host(Z)), Z)
        if Z.shape[1] == 1:
            return like(expit(to_host(Z) * [-1, 1]), Z)
        return like(softmax(to_host(Z), axis=1), Z)

    @available_if(is_classifier)
    @on_its_device
    def predict_log_proba(self, X):
        """Logarithms of the probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, n_classes)
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def score(self, X, y, sample_weight=None):
        """Accuracy of a classifier, R² of a regressor.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            True targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights.

        Returns
        -------
        score : float
        """
        measure = accuracy_score if is_classifier(self) else r2_score
        found = y, self.predict(X), sample_weight
        y, predicted, weight = (to_host(from_device(a)) for a in found)
        return measure(y, predicted, sample_weight=weight)

    def summary(self):
        """The figures of ``training_summary_`` as text.

        Returns
        -------
        text : str
        """
        check_is_fitted(self)
        return summary_text(self.training_summary_)

    def pack(self):
        """Copy without latent weights, for predictions alone.

        It cannot go on training; its predictions have the same bits.

        Returns
        -------
        packed : ConstrainedTrainer
        """
        check_is_fitted(self)
        packed = copy.copy(self)
        for name in ("_run", "_run_state", "_stopping"):
            packed.__dict__.pop(name, None)
        packed.parameters_ = packed.grad_residual_ = None
        return packed

    def save(self, path):
        """Write the packed model to a file that `load` reads.

        The file is a safetensors file of numbers and a JSON description, without
        code. It holds what predictions take: neither latent weights nor
        ``history_``. Parameters that JSON cannot hold are not kept.

        Parameters
        ----------
        path : str or path-like

        Raises
        ------
        ValueError
            If classes are neither numbers nor text.
        """
        check_is_fitted(self)
        save_tensors(path, to_parts(self))

    @classmethod
    def load(cls, path):
        """Read a model written by `save`.

        Every byte is checked; nothing in the file is executed.

        Parameters
        ----------
        path : str or path-like

        Returns
        -------
        model : ConstrainedTrainer

        Raises
        ------
        ValueError
            If the file is damaged or holds something else.
        """
        parts = load_tensors(path)
        try:
            if not is_model(parts):
                raise ValueError("holds no ConstrainedTrainer")
            return fill(cls, parts)
        except ValueError as error:
            raise ValueError(f"{os.fsdecode(path)}: {error}") from None

    def to_numpy_state(self):
        """Everything that predictions take, as plain arrays.

        Returns
        -------
        state : dict of str to ndarray
            For each layer ``codes0`` (int8, of shape (outputs, inputs)) and
            ``scale0``, or ``weight0`` of float ones; ``bias0``; ``gain1`` of RMSNorm
            in front of the layer; ``skip`` of the linear skip; ``input_mean`` and
            ``input_scale``; ``classes``, or ``target_mean`` and ``target_scale``.
        """
        check_is_fitted(self)
        return numpy_state(self)

    def _outputs(self, X):
        if not self.__sklearn_is_fitted__():
            check_is_fitted(self)
        if (
            type(X) is np.ndarray
            and is_of_fitted_kind(self, X)
            and np.isfinite(X).all()
        ):
            return self._packed.forward(self._standardization.apply(X))
        if is_device_array(X):
            X = validated_on_device(self, X, reset=False)
            check_finite(X, "X")
        else:
            X = validate_data(
                self,
                X,
                accept_sparse="csr",
                dtype=_DTYPES,
                reset=False,
                accept_large_sparse=False,
            )
        return self._packed.forward(self._standardization.apply(X))

    def __getstate__(self):
        state = dict(super().__getstate__())
        run = state.pop("_run", None)
        if run is not None:
            state["_run_state"] = run.state
        # A file that is read where there is no device.
        if "parameters_" in state:
            for name in ("parameters_", "grad_residual_"):
                state[name] = to_host(state[name])
            for name in ("coefs_", "intercepts_"):
                state[name] = list(map(to_host, state[name]))
        return state

    def __sklearn_is_fitted__(self):
        return hasattr(self, "_packed")

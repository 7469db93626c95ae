"""ConstrainedTrainer: training on what a function makes of each batch."""

from functools import partial

import numpy as np
import pytest
from scipy import sparse
from small_trainers import few_digits, same, trainer


def with_noise(X, random_state):
    return X + random_state.normal(0, 1, X.shape)


def with_other_noise(X, random_state):
    return X + random_state.uniform(-1, 1, X.shape)


@pytest.mark.parametrize("sparsely", [False, True])
def test_an_augmentation_that_changes_nothing_changes_no_bit(sparsely):
    X, y = few_digits()
    X = sparse.csr_array(X) if sparsely else X
    options, weight = {"input_dropout": 0.1}, np.linspace(0.5, 1, len(y))
    plain = trainer(**options).fit(X, y, sample_weight=weight)
    same_rows = trainer(**options, augment=lambda X, random_state: X)
    assert same(plain, same_rows.fit(X, y, sample_weight=weight))
    for model in (plain, same_rows):
        model.partial_fit(X, y).partial_fit(X, y)
    assert same(plain, same_rows)


def test_augmentation_is_of_batches_in_training_alone():
    """It gets the rows as they are, and may spoil its copy of them."""
    X, y = few_digits()
    given = X.copy()
    seen = []

    def spoil(rows, random_state):
        seen.append(rows.copy())
        rows[...] = 0
        return rows

    model = trainer(augment=spoil, early_stopping=True, batch_size=30)
    model.fit(X, y)
    assert np.array_equal(X, given)
    n = len(X) - len(X) // 10  # a tenth is held out
    rows = np.concatenate(seen)
    assert len(rows) == model.n_iter_ * n
    epochs = rows.reshape(model.n_iter_, n, -1)
    one = np.unique(epochs[0], axis=0)
    assert all(np.array_equal(np.unique(e, axis=0), one) for e in epochs[1:])
    assert {row.tobytes() for row in one} <= {row.tobytes() for row in X}
    n_calls = len(seen)
    model.predict(X)
    assert len(seen) == n_calls
    # Of zeros alone nothing is learned.
    assert len(np.unique(model.decision_function(0 * X), axis=0)) == 1
    assert model.score(X, y) < 0.5


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        (lambda X, random_state: X[:, 1:], r"augment.* has shape \(20, 63\)"),
        (lambda X, random_state: X[1:], r"augment.* has shape \(19, 64\)"),
        (lambda X, random_state: X / 0, r"augment.* contains (NaN|infinity)"),
        (lambda X, random_state: None, "Expected 2D array, got scalar"),
    ],
)
@pytest.mark.filterwarnings("ignore:(divide|invalid):RuntimeWarning")
def test_augmentations_that_fail(augment, message):
    X, y = few_digits(100)
    with pytest.raises(ValueError, match=message):
        trainer(augment=augment, batch_size=20).fit(X, y)


def test_functions_of_a_run_go_by_their_names(tmp_path):
    X, y = few_digits(50)
    options = {"checkpoint_dir": tmp_path, "max_iter": 1}
    # Two partial functions, as two processes would have them.
    trainer(**options, augment=partial(with_noise)).fit(X, y)
    trainer(**options, augment=partial(with_noise)).fit(X, y)
    trainer(**options, augment=with_noise, resume=False).fit(X, y)
    with pytest.raises(ValueError, match="other parameters"):
        trainer(**options, augment=with_other_noise).fit(X, y)

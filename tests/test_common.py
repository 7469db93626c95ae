"""scikit-learn's own checks of every estimator; none is expected to fail."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_ternary import TernaryQuantizer

pytestmark = pytest.mark.estimator_checks


@parametrize_with_checks(
    [
        TernaryQuantizer(),
        TernaryQuantizer(n_levels=5),
        TernaryQuantizer(granularity="tensor"),
        TernaryQuantizer(granularity="sample"),
        TernaryQuantizer(granularity="block", block_size=2),
        TernaryQuantizer(scale="absmax"),
        TernaryQuantizer(scale="twn"),
        TernaryQuantizer(scale="mse"),
        TernaryQuantizer(scale="norm", n_levels=5, granularity="tensor"),
        TernaryQuantizer(scale=0.5),
        TernaryQuantizer(output="codes"),
        TernaryQuantizer(output="packed"),
        TernaryQuantizer(copy=False),
    ]
)
def test_ternary_quantizer(estimator, check):
    check(estimator)

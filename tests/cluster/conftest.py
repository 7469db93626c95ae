"""Fixtures shared by the tests of clustering."""

import numpy as np
import pytest


@pytest.fixture(params=[np.float32, np.float64], ids=lambda t: t.__name__)
def dtype(request):
    return request.param


@pytest.fixture(params=["lloyd", "hamerly"])
def algorithm(request):
    return request.param

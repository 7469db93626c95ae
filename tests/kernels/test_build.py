"""How the package was built."""

import os

import pytest

from sklearn_ternary._kernels._cpu_features import (
    ISA_LEVELS,
    build_options,
    supported_isas,
)
from sklearn_ternary._kernels._openmp import effective_n_threads, openmp_enabled


@pytest.mark.skipif(
    not os.environ.get("SKLEARN_TERNARY_REQUIRE_OPENMP"),
    reason="OpenMP is not required; SKLEARN_TERNARY_REQUIRE_OPENMP requires it",
)
def test_required_openmp_is_there():
    assert openmp_enabled()
    assert effective_n_threads(2) == 2


def test_the_build_has_the_options_that_were_asked_for():
    """``tools/build_options`` says which; without it they are what they are."""
    options = build_options()
    assert set(options) == {"simd", "openmp", "bounds_checks"}
    assert options["openmp"] == str(openmp_enabled()).lower()
    asked = os.environ.get("SKLEARN_TERNARY_BUILD_OPTIONS", "").split()
    for name, value in (option.split("=") for option in asked):
        if name == "openmp":
            value = {"enabled": "true", "disabled": "false"}.get(value, options[name])
        assert options[name] == value
    # A level is built with all that are below it.
    order = ("generic", "avx2", "avx512")
    if options["simd"] in order:
        assert set(supported_isas()) <= set(order[: order.index(options["simd"]) + 1])


def test_the_generic_level_is_always_there():
    assert supported_isas()[-1] == "generic"
    assert set(supported_isas()) <= set(ISA_LEVELS)


def test_zero_threads_are_refused():
    with pytest.raises(ValueError, match="n_threads=0"):
        effective_n_threads(0)


def test_negative_counts_are_counted_back_from_all():
    everything = effective_n_threads(None)
    assert effective_n_threads(-1) == everything
    assert effective_n_threads(-1000) == 1

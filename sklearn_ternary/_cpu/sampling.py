"""Which tokens of a vocabulary can come next, in compiled loops."""

from sklearn_ternary._kernels import _sampling

# A vocabulary is read faster than threads are woken.
keep = _sampling.keep

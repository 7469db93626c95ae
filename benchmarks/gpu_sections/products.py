"""Ternary weights times activations of 8 bits."""

import itertools

import numpy as np
from gpu_sections.sizes import product_work

from sklearn_ternary import _dispatch, ternarize

# Weights for one row of activations take turns: one set would stay in the cache.
_SETS = 4


def products(bench):
    """Measure them beside cuBLAS in float16, bfloat16 and int8."""
    torch = bench.torch()
    for n_rows, n_inner, n_results in bench.sizes.products:
        work = product_work(n_rows, n_inner, n_results)
        if not bench.in_time(work):
            continue
        X = bench.normal(n_rows, n_inner)
        n_sets = _SETS if n_rows == 1 else 1
        W = bench.normal(n_results, n_inner)
        matrices = [_matrix(W * np.float32(1 + i)) for i in range(n_sets)]
        others = {"cuBLAS float16": _half(bench.cupy, W, X)}
        if torch:
            others |= _in_torch(torch, W, X)
        if n_rows == 1:
            limit = bench.seconds_for(n_results * n_inner / 4, "bytes")
        else:
            limit = bench.seconds_for(2 * n_results * n_inner * n_rows, "int8")
        ours = _ours(itertools.cycle(matrices), X, bench.config)
        bench.measure(work, ours, limit, others)


def _matrix(W):
    return ternarize(W, axis=1, layout="t2")._stored_matrix(transposed=False)


def _ours(matrices, X, config):
    return lambda: _dispatch.multiply_int8(next(matrices), X, config=config)


def _half(cupy, W, X):
    def make():
        halves = W.astype(np.float16), X.astype(np.float16)
        return lambda: halves[1] @ halves[0].T

    return make


def _in_torch(torch, W, X):
    W, X = (torch.as_tensor(a, device="cuda") for a in (W, X))

    def bfloat16():
        w, x = W.bfloat16(), X.bfloat16()
        return lambda: x @ w.t()

    def compiled():
        w, x = W.bfloat16(), X.bfloat16()
        multiply = torch.compile(lambda x, w: x @ w.t())
        return lambda: multiply(x, w)

    def int8():
        w = torch.clip(torch.round(W / W.abs().mean()), -1, 1).to(torch.int8)

        def multiply():
            step = X.abs().amax(1, keepdim=True) / 127
            return torch._int_mm(torch.round(X / step).to(torch.int8), w.t())

        return multiply

    found = {"torch bfloat16": bfloat16, "torch.compile bfloat16": compiled}
    if len(X) > 16:  # fewer rows are refused
        found["torch int8 (cuBLAS)"] = int8
    return found

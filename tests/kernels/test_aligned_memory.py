"""Memory for weights, where a system gives less than it could."""

import mmap

import numpy as np
import pytest

pytest.importorskip("sklearn_ternary._cpu", reason="the kernels are not built")

from sklearn_ternary._cpu import aligned_memory

N_BYTES = 5 << 20


def test_lines_and_zeros():
    for n_bytes in (0, 1, 3 << 20, N_BYTES):
        assert aligned_memory.allocate(n_bytes).ctypes.data % 64 == 0
    zeros = aligned_memory.zeros((3, 7), np.float32)
    assert zeros.shape == (3, 7) and not zeros.any()


def test_a_system_without_huge_pages(monkeypatch):
    class WithoutHugePages(mmap.mmap):
        def madvise(self, *args):
            raise OSError(22, "Invalid argument")

    monkeypatch.setattr(mmap, "mmap", WithoutHugePages)
    memory = aligned_memory.allocate(N_BYTES)
    assert memory.nbytes == N_BYTES and not memory.any()


@pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="no huge pages")
def test_memory_that_runs_out(monkeypatch):
    """A MemoryError, after which no other backend is tried."""

    def fails(*args, **options):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(mmap, "mmap", fails)
    with pytest.raises(MemoryError, match=r"no memory for \d+ bytes"):
        aligned_memory.allocate(N_BYTES)

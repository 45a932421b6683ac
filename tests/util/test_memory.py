"""Repetition of work that runs out of memory."""

import weakref

import pytest

from singula.util.memory import retry_with_less_memory


class Buffer:
    """Object that represents the memory of an attempt."""


def test_work_is_repeated_with_a_reduced_size_until_it_fits() -> None:
    sizes, reasons = [], []

    def work(size: int) -> str:
        sizes.append(size)
        if size > 3:
            raise RuntimeError(f"CUDA out of memory for {size}\nmore")
        return f"done with {size}"

    def reduce(size: int, reason: str) -> int:
        reasons.append(reason)
        return size // 2

    assert retry_with_less_memory(work, 16, reduce) == "done with 2"
    assert sizes == [16, 8, 4, 2]
    assert reasons == [f"CUDA out of memory for {size}" for size in (16, 8, 4)]


def test_memory_of_a_failed_attempt_is_free_before_the_next() -> None:
    buffers: list[weakref.ref[Buffer]] = []

    def work(size: int) -> int:
        buffer = Buffer()
        buffers.append(weakref.ref(buffer))
        if size > 1:
            raise MemoryError
        return size

    def reduce(size: int, reason: str) -> int:
        assert buffers[-1]() is None
        return size - 1

    assert retry_with_less_memory(work, 3, reduce) == 1
    assert len(buffers) == 3


def test_other_errors_and_errors_of_reduce_are_raised() -> None:
    def fails(size: int) -> int:
        raise ZeroDivisionError if size else MemoryError("out of memory")

    def cannot(size: int, reason: str) -> int:
        raise KeyError(reason)

    with pytest.raises(ZeroDivisionError):
        retry_with_less_memory(fails, 1, lambda size, reason: size)
    with pytest.raises(KeyError, match="out of memory"):
        retry_with_less_memory(fails, 0, cannot)

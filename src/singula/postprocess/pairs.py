"""Counting which two numbers occur together, in time and memory that follow what is counted."""

from __future__ import annotations

from typing import Any

import numpy as np

from singula.runtime import compiled

_FIRST = 1 << 12


class Pairs:
    """How often each pair of numbers occurs, counted part by part.

    A hash table: a pair that comes again is found where it lies, so neighbouring parts of an image,
    which hold the same pairs, find them in the processor's cache. Sorted is only the result.
    """

    def __init__(self) -> None:
        self._slots = np.full(2 * _FIRST, -1, np.int64)
        self._pairs = np.empty((_FIRST, 2), np.int64)
        self._counts = np.zeros(_FIRST, np.int64)
        self._used = 0

    def add(self, first: np.ndarray, second: np.ndarray, counts: np.ndarray) -> None:
        """Count pairs of unsigned integers, each so many times."""
        first, second, counts = (a.astype(np.int64, copy=False) for a in (first, second, counts))
        done = 0
        while True:
            done, self._used = compiled(_add)(
                first, second, counts, done, self._slots, self._pairs, self._counts, self._used
            )
            if done == len(first):
                return
            self._grow()

    def table(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """First and second numbers (uint64), in order of the first and then the second; counts."""
        first, second = self._pairs[: self._used].view(np.uint64).T
        order = _order(first, second)
        return first[order], second[order], self._counts[: self._used][order]

    def _grow(self) -> None:
        self._slots = np.full(2 * len(self._slots), -1, np.int64)
        self._pairs = np.concatenate((self._pairs, np.empty_like(self._pairs)))
        self._counts = np.concatenate((self._counts, np.zeros_like(self._counts)))
        known, self._used = self._pairs[: self._used].copy(), 0
        _, self._used = compiled(_add)(
            *known.T, np.zeros(len(known), np.int64), 0, self._slots, self._pairs, self._counts, 0
        )


def _order(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Places in order of two numbers; those of one word are sorted several times as quickly."""
    width = int(second.max(initial=0)) + 1
    if (int(first.max(initial=0)) + 1) * width < 1 << 64:
        return np.argsort(first * np.uint64(width) + second)
    return np.lexsort((second, first))


def _add(
    first: Any,
    second: Any,
    counts: Any,
    start: Any,
    slots: Any,
    pairs: Any,
    totals: Any,
    used: Any,
) -> Any:
    """Count from `start` on until the table is full; where that was, pairs met; compiled."""
    for at in range(start, len(first)):
        one, two = first[at], second[at]
        mixed = one * -7046029254386353131 + two  # odd numbers without a pattern
        mixed = (mixed ^ (mixed >> 32)) * -4417276706812531889
        slot = (mixed ^ (mixed >> 29)) & (len(slots) - 1)
        while True:
            place = slots[slot]
            if place < 0:
                if used == len(pairs):
                    return at, used
                place, slots[slot] = used, used
                pairs[used, 0], pairs[used, 1] = one, two
                used += 1
            if pairs[place, 0] == one and pairs[place, 1] == two:
                totals[place] += counts[at]
                break
            slot = (slot + 1) & (len(slots) - 1)
    return len(first), used

"""Counts of pairs of numbers, in time and memory that depend on the number of distinct pairs."""

from __future__ import annotations

from typing import Any

import numpy as np

from singula.util.process import compiled

_FIRST = 1 << 12


class Pairs:
    """Counts of pairs of numbers, added in several steps.

    The pairs are in a hash table. Neighboring parts of an image hold the same pairs, so that their
    entries are still in the processor's cache. Only the result is sorted.
    """

    def __init__(self) -> None:
        self._slots = np.full(2 * _FIRST, -1, np.int64)
        self._pairs = np.empty((_FIRST, 2), np.int64)
        self._counts = np.zeros(_FIRST, np.int64)
        self._used = 0

    def add(self, first: np.ndarray, second: np.ndarray, counts: np.ndarray) -> None:
        """Add pairs of unsigned integers.

        Parameters
        ----------
        first, second : ndarray of unsigned int, shape (n,)
            The two numbers of each pair; pairs may be repeated.
        counts : ndarray of int, shape (n,)
            How often each pair occurs.
        """
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
        """Return the first numbers, the second numbers (uint64) and the counts, sorted by pair."""
        first, second = self._pairs[: self._used].view(np.uint64).T
        order = _order(first, second)
        return first[order], second[order], self._counts[: self._used][order]

    def _grow(self) -> None:
        self._slots = np.full(2 * len(self._slots), -1, np.int64)
        self._pairs = np.concatenate((self._pairs, np.empty_like(self._pairs)))
        self._counts = np.concatenate((self._counts, np.zeros_like(self._counts)))
        pairs, self._used = self._pairs[: self._used].copy(), 0
        _, self._used = compiled(_add)(
            *pairs.T, np.zeros(len(pairs), np.int64), 0, self._slots, self._pairs, self._counts, 0
        )


def _order(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the order of pairs; pairs that fit into 64 bits are sorted as one number, faster."""
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
    """Add pairs until the table is full; compiled.

    Parameters
    ----------
    first, second, counts : int64, (n,)
        Pairs, and how often they occur.
    start : int
        Index of the first pair to add.
    slots : int64, (power of 2,)
        Hash table with open addressing: index of an entry, or -1.
    pairs : int64, (entries, 2)
        Entries; half as many as slots.
    totals : int64, (entries,)
        Count of each entry.
    used : int
        Number of entries in use.

    Returns
    -------
    stop, used : int
        Index of the first pair that was not added, and the number of entries in use.
    """
    for at in range(start, len(first)):
        low, high = first[at], second[at]
        mixed = low * -7046029254386353131 + high  # odd numbers without a pattern
        mixed = (mixed ^ (mixed >> 32)) * -4417276706812531889
        slot = (mixed ^ (mixed >> 29)) & (len(slots) - 1)
        while True:
            place = slots[slot]
            if place < 0:
                if used == len(pairs):
                    return at, used
                place, slots[slot] = used, used
                pairs[used, 0], pairs[used, 1] = low, high
                used += 1
            if pairs[place, 0] == low and pairs[place, 1] == high:
                totals[place] += counts[at]
                break
            slot = (slot + 1) & (len(slots) - 1)
    return len(first), used

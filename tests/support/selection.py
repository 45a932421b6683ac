"""Choice of the parameters that `make test` uses."""

from collections.abc import Iterable
from typing import Any

import pytest


def fast_first(values: Iterable[Any], count: int = 1) -> list[Any]:
    """Mark all parameters but the first ones as slow."""
    return [value if number < count else _slow(value) for number, value in enumerate(list(values))]


def _slow(value: Any) -> Any:
    values = value if isinstance(value, tuple) else (value,)
    return pytest.param(*values, marks=pytest.mark.slow)

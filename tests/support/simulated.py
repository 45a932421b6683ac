"""Pages in this process, for tests that control the order of events."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def simulated_user() -> AsyncIterator[Any]:
    """NiceGUI's simulated user; modules that hold pages, and all above them, stay imported.

    NiceGUI drops them, and later tests would meet a second copy of the package.
    """
    from nicegui.testing.user_simulation import user_simulation

    kept = {name: module for name, module in sys.modules.items() if name.startswith("singula")}
    try:
        async with user_simulation() as user:
            yield user
    finally:
        sys.modules.update(kept)

"""How Lightning writes checkpoints: whole or not at all.

Apart from reading them, so that prediction does not wait for the import of Lightning.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytorch_lightning.plugins.io import CheckpointIO

from singula.training.checkpoint import read_checkpoint, write_checkpoint


class AtomicCheckpointIO(CheckpointIO):
    """Lightning's checkpoints under a temporary name, renamed within the same folder."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write everything, then rename."""
        write_checkpoint(checkpoint, path)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Read tensors and plain types only."""
        return read_checkpoint(Path(path), map_location)

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete a checkpoint."""
        Path(path).unlink(missing_ok=True)

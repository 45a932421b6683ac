"""How Lightning writes checkpoints: whole or not at all.

Apart from reading them, so that prediction does not wait for the import of Lightning.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import CheckpointIO

from singula.io.atomic import atomic_path
from singula.training.checkpoint import read_checkpoint


class AtomicCheckpointIO(CheckpointIO):
    """Lightning's checkpoints under a temporary name, renamed within the same folder."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write everything, then rename.

        Through memory, as torch's own file writer reports a full disk without saying so.
        """
        contents = io.BytesIO()
        torch.save(checkpoint, contents)
        with atomic_path(path) as temporary:
            temporary.write_bytes(contents.getbuffer())

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Read tensors and plain types only."""
        return read_checkpoint(Path(path), map_location)

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete a checkpoint."""
        Path(path).unlink(missing_ok=True)

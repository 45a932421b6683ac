"""What a process must know to work on any block of an image, in one small file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

from singula.scaleout.grid import Grid
from singula.scaleout.job import JobFolder

StoredPlace = tuple[str, str | None, int | None, int | None, str, str, bool]
"""The fields of an `ArrayPlace`."""
_NOTE = "plan"
_TUPLES = ("shape", "block", "spacing", "halo", "image_place", "label_place")


@dataclass(frozen=True)
class Plan:
    """How an image is done.

    Parameters
    ----------
    name : str
        Of the image.
    config : str
        The whole configuration, as YAML.
    image, label, mask, checkpoint : str
        Files; empty for none.
    image_place, label_place : tuple, optional
        The fields of `singula.io.image.ArrayPlace`.
    maps, instances, processed : str
        Folders of the results; the last is empty where no step follows decoding.
    shape, block : tuple of int
        Spatial shapes of the image and of a block.
    spacing : tuple of float, optional
        Size of a pixel as configured, else as the file says.
    unit : str, optional
    most : int
        Pixels of a box that may be decoded at once.
    network : int
        Bytes that a forward pass may take on a CPU.
    halo : tuple of int
        What a block is predicted together with, the same in all processes.
    maps_key, key : str
        What the maps, and everything else, was made from: files, weights and settings.
    """

    name: str
    config: str
    image: str
    label: str
    mask: str
    checkpoint: str
    image_place: StoredPlace | None
    label_place: StoredPlace | None
    maps: str
    instances: str
    processed: str
    shape: tuple[int, ...]
    block: tuple[int, ...]
    spacing: tuple[float, ...] | None
    unit: str | None
    most: int
    network: int
    halo: tuple[int, ...]
    maps_key: str
    key: str

    @property
    def grid(self) -> Grid:
        """The blocks."""
        return Grid(self.shape, self.block)

    def save(self, job: JobFolder) -> None:
        """Write it for the processes that work on blocks."""
        job.write_note(_NOTE, json.loads(json.dumps(asdict(self))))

    @staticmethod
    def is_in(job: JobFolder) -> bool:
        """Return True if a folder has a plan of any version, or is empty."""
        return job.has_note(_NOTE) or not any(job.path.glob("*"))

    @classmethod
    def load(cls, job: JobFolder) -> Plan | None:
        """Read what `save` wrote; None where there is no plan of this version."""
        values = job.read_note(_NOTE)
        if values is None or set(values) != {f.name for f in fields(cls)}:
            return None
        plain: dict[str, Any] = {
            name: tuple(value) if name in _TUPLES and value is not None else value
            for name, value in values.items()
        }
        return cls(**plain)

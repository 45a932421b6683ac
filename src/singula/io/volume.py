"""OME-Zarr images and label images that are written box by box, from any number of processes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from singula.arguments import text
from singula.boxes import Box, boxes, clipped
from singula.io import ngff, written
from singula.io.atomic import make_folder, write_error
from singula.io.containers import library
from singula.io.downsample import mean, nearest
from singula.io.entries import reader_path
from singula.io.external import Boundary
from singula.io.image import AnyArray, ArrayPlace
from singula.io.stream import write_hdf5_from, write_tiff_from
from singula.io.write import write_json

__all__ = ["BlockArray", "mean", "nearest", "write_hdf5_from", "write_tiff_from"]

_CHUNKS = {2: (1024, 1024), 3: (64, 256, 256)}
_OWN = "singula"  # attribute of the group that says how the image was begun


class BlockArray:
    """An image or label image in an OME-Zarr 0.5, written box by box.

    Made by `create` or `open`. It holds a path, not data: it may be sent to another process, and
    several may write to it at once, as long as no two write into one shard. Boxes that begin and
    end on the grid of `grid` (or at the end of the image) never share one.

    The first level is written with `write`, the coarser ones with `build_level`, each when the one
    before it is complete; `finish` writes the metadata that make it an image for other programs.

    Parameters
    ----------
    path : Path
        The container.
    inside : str
        Its group in there, such as ``labels/instances``; empty for the container itself.

    Attributes
    ----------
    shape : tuple of int
        (y, x) or (z, y, x), with one more for channels, if there are any.
    dtype : dtype
    ndim : int
        Spatial axes.
    names : tuple of str, optional
        Of the channels.
    spacing : tuple of float, optional
        Size of a pixel along each spatial axis, in `unit`.
    unit : str, optional
    kind : {'image', 'labels'}
    levels : list of Level
        All levels, the first one included.
    """

    def __init__(self, path: Path, inside: str = "") -> None:
        self.path, self.inside = reader_path(path), text(inside, "inside")
        said = self._attributes()[_OWN]
        self.ndim = int(said["ndim"])
        self.shape = tuple(said["shape"])
        self.dtype = np.dtype(said["dtype"])
        self.kind = str(said["kind"])
        self.names = tuple(said["names"]) if said["names"] else None
        self.spacing = tuple(said["spacing"]) if said["spacing"] else None
        self.unit = said["unit"]
        self.levels = ngff.plan_levels(self.spatial_shape, self.spacing)
        self._arrays: dict[int, Any] = {}

    @classmethod
    def open(cls, path: Path | str, inside: str = "") -> BlockArray:
        """Open what `create` made, finished or not.

        Raises
        ------
        ValueError
            When there is no such image, or another program made it.
        """
        return cls(reader_path(path), inside)

    @classmethod
    def create(
        cls,
        path: Path | str,
        shape: Sequence[int],
        dtype: np.dtype[Any] | type,
        *,
        ndim: int,
        names: Sequence[str] | None = None,
        spacing: Sequence[float] | None = None,
        unit: str | None = None,
        kind: str = "image",
        chunks: Sequence[int] | None = None,
        shards: Sequence[int] | None = None,
        inside: str = "",
    ) -> BlockArray:
        """Begin an image, all zeros; a file or folder of that name is replaced.

        In protected folders (`singula.io.written`) a file of the user is moved first.

        Parameters
        ----------
        path : Path or str
            The container, ``NAME.zarr``.
        shape : sequence of int
            (y, x) or (z, y, x), also with channels, as the last.
        dtype : dtype
        ndim : int
            Spatial axes.
        names : sequence of str, optional
            Of the channels.
        spacing, unit : optional
            Size of a pixel along each spatial axis, z first, and its unit, such as "µm".
        kind : {'image', 'labels'}
            Labels may have a second channel, the class of each instance.
        chunks : sequence of int, optional
            What is compressed at once, along each spatial axis.
        shards : sequence of int, optional
            What is stored in one file, along each spatial axis, a multiple of `chunks`; all
            channels of a place lie in one. None: a file for each chunk.
        inside : str
            Group in the container, such as ``labels/instances``.

        Raises
        ------
        UserError
            When zarr is not installed, the disk is full, or the folder cannot be written.
        """
        path = reader_path(path)
        zarr = library("zarr", path, "Zarr")
        if kind not in ("image", "labels") or len(shape) - ndim not in (0, 1):
            raise ValueError(f"shape {tuple(shape)} is none of {kind} with {ndim} spatial axes")
        said = {
            "shape": [int(size) for size in shape],
            "dtype": np.dtype(dtype).name,
            "ndim": ndim,
            "kind": kind,
            "names": list(names) if names else None,
            "spacing": [float(size) for size in spacing] if spacing else None,
            "unit": unit,
        }
        try:
            make_folder(path.parent)
            written.make_way(path)
            written.record_open(path)
            _make_groups(zarr, path, inside)
            group = zarr.open_group(path / inside, mode="w", zarr_format=3, attributes={_OWN: said})
            begun = cls(path, inside)
            begun._create_levels(group, chunks or _CHUNKS[ndim], shards)
        except OSError as error:
            raise write_error(path, error) from error
        return begun

    def _create_levels(
        self, group: Any, chunks: Sequence[int], shards: Sequence[int] | None
    ) -> None:
        lead = () if self.channels is None else (self.channels,)
        for number, level in enumerate(self.levels):
            small = tuple(min(c, size) for c, size in zip(chunks, level.shape, strict=True))
            large = None
            if shards is not None:
                wanted = zip(small, shards, chunks, level.shape, strict=True)
                large = tuple(c * min(s // full, -(-size // c)) for c, s, full, size in wanted)
            group.create_array(
                str(number),
                shape=lead + level.shape,
                dtype=self.dtype,
                chunks=(1,) * len(lead) + small,
                shards=None if large is None else lead + large,
                fill_value=0,
                dimension_names=list("c" * len(lead) + "zyx"[-self.ndim :]),
            )

    @property
    def channels(self) -> int | None:
        """Number of channels; None without a channel axis."""
        return self.shape[-1] if len(self.shape) > self.ndim else None

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """Size along (y, x) or (z, y, x)."""
        return self.shape[: self.ndim]

    @property
    def chunks(self) -> tuple[int, ...]:
        """What is compressed at once along each spatial axis."""
        return tuple(self._array(0).chunks)[-self.ndim :]

    def grid(self, level: int = 0) -> tuple[int, ...]:
        """What one file of a level holds along each spatial axis; boxes are aligned to it."""
        array = self._array(level)
        return tuple(array.shards or array.chunks)[-self.ndim :]

    def blocks(self, level: int = 0) -> Iterator[Box]:
        """Boxes that cover a level, one for each of its files."""
        return boxes(self.levels[level].shape, self.grid(level))

    def write(self, box: Sequence[slice], array: AnyArray, level: int = 0) -> None:
        """Write a box; if its bounds lie on the grid, others may be written at the same time.

        Parameters
        ----------
        box : sequence of slice
            One for each spatial axis.
        array : ndarray
            Of the box's shape, channels last.
        level : int

        Raises
        ------
        UserError
            When the disk is full or the folder cannot be written.
        ValueError
            When the box is not aligned to `grid`, or the array is of another shape.
        """
        shape = self.levels[level].shape
        bounds = clipped(box, shape)
        aligned = zip(bounds, self.grid(level), shape, strict=True)
        if any(b.start % g or (b.stop % g and b.stop != size) for b, g, size in aligned):
            raise ValueError(f"{bounds} is not aligned to the grid {self.grid(level)}")
        wanted = (*(b.stop - b.start for b in bounds), *self.shape[self.ndim :])
        if array.shape != wanted:
            raise ValueError(f"the array has shape {array.shape}, the box {wanted}")
        index, stored = bounds, array
        if self.channels is not None:
            index, stored = (slice(None), *bounds), np.moveaxis(array, -1, 0)
        try:
            self._array(level)[index] = np.ascontiguousarray(stored, dtype=self.dtype)
        except OSError as error:
            raise write_error(self.path, error) from error

    def read(self, box: Sequence[slice], level: int = 0) -> AnyArray:
        """Read a box, channels last (in memory they come first); what was never written is 0."""
        bounds = clipped(box, self.levels[level].shape)
        if self.channels is None:
            return np.ascontiguousarray(self._array(level)[bounds])
        return np.moveaxis(self._array(level)[(slice(None), *bounds)], 0, -1)

    def read_ids(self, box: Sequence[slice]) -> AnyArray:
        """Read a box of labels without classes."""
        array = self.read(box)
        return array if self.channels is None else np.ascontiguousarray(array[..., 0])

    def build_level(self, level: int, box: Sequence[slice]) -> None:
        """Make a box of a coarser level from the level before it, which must be complete there.

        Labels take every second pixel, so ids are never mixed and the first pixel stays in its
        place; images the mean of the pixels that become one.

        Parameters
        ----------
        level : int
            From 1.
        box : sequence of slice
            In pixels of that level, as for `write`.
        """
        if level < 1:
            raise ValueError("the first level is written, not built")
        halved = self.levels[level].halved
        bounds = clipped(box, self.levels[level].shape)
        source = tuple(
            slice(b.start * 2, b.stop * 2) if half else b
            for b, half in zip(bounds, halved, strict=True)
        )
        self.write(bounds, self._coarser(source, level, halved), level)

    def _coarser(self, source: Box, level: int, halved: Sequence[bool]) -> AnyArray:
        """A box of the level before, made smaller.

        It is read slab by slab: it has 8 times the pixels there, and their mean takes several times
        that.
        """
        make = nearest if self.kind == "labels" else mean
        first, *rest = source
        stored = self._array(level - 1).chunks[-self.ndim]
        step = stored + stored % 2  # pairs of pixels stay together
        parts = [
            make(self.read((slice(start, min(start + step, first.stop)), *rest), level - 1), halved)
            for start in range(first.start, first.stop, step)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def finish(
        self, name: str = "", properties: Sequence[Mapping[str, Any]] = (), method: str = ""
    ) -> None:
        """Write the metadata that make it an OME-Zarr image; once, when all levels are there.

        Parameters
        ----------
        name : str
            Of the image; by default that of the file.
        properties : sequence of mappings, optional
            Of labels, each with its ``label-value``.

        Raises
        ------
        UserError
            When the disk is full or the folder cannot be written.
        """
        labels = self.kind == "labels"
        entry = ngff.multiscale(
            name or self.path.name.split(".")[0],
            self.ndim,
            self.levels,
            self.spacing,
            self.unit,
            channels=self.channels is not None,
            method=method or ("nearest" if labels else "mean"),
        )
        ome: dict[str, Any] = {"version": ngff.VERSION, "multiscales": [entry]}
        # Viewers take a label image for one of ids alone, so with classes it is none.
        if labels and self.channels is None:
            ome["image-label"] = {"version": ngff.VERSION}
            if properties:
                ome["image-label"]["properties"] = [dict(one) for one in properties]
        if self.names is not None and self.channels is not None and not labels:
            ome["omero"] = {"channels": [_channel(one, self.dtype) for one in self.names]}
        parent, _, last = self.inside.rpartition("/")
        if parent.rpartition("/")[2] == "labels":
            _list_labels(self.path / parent, last)
        _set_attributes(self.path / self.inside, {"ome": ome})
        try:
            written.record(self.path)
        except OSError as error:
            raise write_error(self.path, error) from error

    def _array(self, level: int) -> Any:
        if level not in self._arrays:
            zarr = library("zarr", self.path, "Zarr")
            from singula.io.zarr_store import BoundedStore

            folder = self.path / self.inside / str(level)
            store = BoundedStore(folder, self._boundary(), read_only=False)
            self._arrays[level] = zarr.open_array(store, mode="r+")
        return self._arrays[level]

    def _boundary(self) -> Boundary:
        return Boundary(self.path, self.path, ArrayPlace())

    def _attributes(self) -> dict[str, Any]:
        self._boundary().check(self.path / self.inside / "zarr.json")
        found = _read_group(self.path / self.inside)
        if _OWN not in found:
            raise ValueError(f"{self.path / self.inside}: was not begun by this program")
        return found

    def __getstate__(self) -> dict[str, Any]:
        """What goes to another process: everything but open arrays."""
        return {**self.__dict__, "_arrays": {}}


def _make_groups(zarr: Any, path: Path, inside: str) -> None:
    """The groups above that of the image, as far as they are missing."""
    parts = inside.split("/") if inside else []
    for depth in range(len(parts)):
        zarr.open_group(path.joinpath(*parts[:depth]), mode="a", zarr_format=3)


def _channel(name: str, dtype: np.dtype[Any]) -> dict[str, Any]:
    """How a viewer is to show a channel at first."""
    largest = float(np.iinfo(dtype).max) if dtype.kind in "iu" else 1.0
    window = {"min": 0.0, "max": largest, "start": 0.0, "end": largest}
    return {"label": name, "color": "FFFFFF", "window": window, "active": True}


def _list_labels(folder: Path, name: str) -> None:
    """Add the name to the label images that a ``labels`` group lists."""
    listed = _read_group(folder).get("ome", {}).get("labels", [])
    _set_attributes(
        folder, {"ome": {"version": ngff.VERSION, "labels": [*dict.fromkeys([*listed, name])]}}
    )


def _read_group(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / "zarr.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder}: holds no Zarr ({error})") from error
    attributes: dict[str, Any] = found.get("attributes", {})
    return attributes


def _set_attributes(folder: Path, attributes: Mapping[str, Any]) -> None:
    """Change attributes of a group; its file is replaced in one step."""
    kept = {**_read_group(folder), **attributes}
    write_json(folder / "zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": kept})

"""OME-Zarr images and label images that several processes write box by box."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from singula.io import written
from singula.io.atomic import make_folder, write_error
from singula.io.block_files import ArrayFiles
from singula.io.downsample import mean, nearest
from singula.io.entries import reader_path
from singula.io.external import Boundary
from singula.io.formats import ngff
from singula.io.formats.containers import library
from singula.io.image import AnyArray, ArrayPlace
from singula.io.write_large import write_hdf5_from, write_tiff_from
from singula.io.zarr_groups import list_labels, make_groups, read_group, set_attributes
from singula.util.arguments import text
from singula.util.boxes import Box, boxes, clipped

__all__ = ["BlockArray", "mean", "nearest", "write_hdf5_from", "write_tiff_from"]

_CHUNKS = {2: (1024, 1024), 3: (64, 256, 256)}
_ATTRIBUTE = "singula"  # attribute of the group with the parameters of `create`
_MAX_KNOWN = 64  # coarser boxes that are copied if the files below them recur


class BlockArray:
    """Image or label image in an OME-Zarr 0.5 that is written box by box.

    `create` and `open` return it. It can be sent to another process. Several processes may write
    at the same time if no two of them write to the same shard. Boxes aligned to `grid` (or to the
    end of the image) never share a shard.

    Write the first level with `write`, and each coarser level with `build_level` after the level
    before it is complete. `finish` then writes the OME-Zarr metadata.

    Parameters
    ----------
    path : Path
        Zarr folder.
    inside : str
        Group of the image in the folder, such as ``labels/instances``; empty for the folder.

    Attributes
    ----------
    shape : tuple of int
        Shape (y, x) or (z, y, x), followed by the number of channels if there is a channel axis.
    dtype : dtype
        Type of the pixels.
    ndim : int
        Number of spatial axes.
    names : tuple of str, optional
        Names of the channels.
    spacing : tuple of float, optional
        Voxel size along each spatial axis, z first, in `unit`.
    unit : str, optional
        Unit of `spacing`.
    kind : {'image', 'labels'}
        Kind of image.
    levels : list of Level
        All levels of the pyramid, finest first.
    """

    def __init__(self, path: Path, inside: str = "") -> None:
        self.path, self.inside = reader_path(path), text(inside, "inside")
        self._boundary = Boundary(self.path, self.path, ArrayPlace())
        settings = self._attributes()[_ATTRIBUTE]
        self.ndim = int(settings["ndim"])
        self.shape = tuple(settings["shape"])
        self.dtype = np.dtype(settings["dtype"])
        self.kind = str(settings["kind"])
        self.names = tuple(settings["names"]) if settings["names"] else None
        self.spacing = tuple(settings["spacing"]) if settings["spacing"] else None
        self.unit = settings["unit"]
        self.levels = ngff.plan_levels(self.spatial_shape, self.spacing)
        self._arrays: dict[int, Any] = {}
        self._known: dict[tuple[int, bytes], Box] = {}

    @classmethod
    def open(cls, path: Path | str, inside: str = "") -> BlockArray:
        """Open an image of `create`, finished or not.

        Raises
        ------
        ValueError
            The path does not exist, or another program wrote the image.
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
        """Create an image of zeros; replace a file or folder at this path.

        In protected folders (`singula.io.written`), a file of the user is moved first.

        Parameters
        ----------
        path : Path or str
            Zarr folder, ``NAME.zarr``.
        shape : sequence of int
            Shape (y, x) or (z, y, x), optionally followed by the number of channels.
        dtype : dtype
            Type of the pixels.
        ndim : int
            Number of spatial axes.
        names : sequence of str, optional
            Names of the channels.
        spacing : sequence of float, optional
            Voxel size along each spatial axis, z first.
        unit : str, optional
            Unit of `spacing`, such as "µm".
        kind : {'image', 'labels'}
            Kind of image. Labels may have a second channel, the class of each instance.
        chunks : sequence of int, optional
            Shape of a compressed chunk, along each spatial axis.
        shards : sequence of int, optional
            Shape of a file along each spatial axis, a multiple of `chunks`, with all channels.
            None: a file for each chunk.
        inside : str
            Group in the folder, such as ``labels/instances``.

        Raises
        ------
        UserError
            ``io.library_missing``: zarr is not installed; ``storage.…``: the disk is full, or the
            folder cannot be written.
        ValueError
            `shape`, `ndim` and `kind` do not fit together.
        """
        path = reader_path(path)
        zarr = library("zarr", path, "Zarr")
        if kind not in ("image", "labels") or len(shape) - ndim not in (0, 1):
            raise ValueError(
                f"shape {tuple(shape)} and kind {kind!r} do not fit {ndim} spatial axes"
            )
        settings = {
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
            make_groups(zarr, path, inside)
            group = zarr.open_group(
                path / inside, mode="w", zarr_format=3, attributes={_ATTRIBUTE: settings}
            )
            image = cls(path, inside)
            image._create_levels(group, chunks or _CHUNKS[ndim], shards)
        except OSError as error:
            raise write_error(path, error) from error
        return image

    def _create_levels(
        self, group: Any, chunks: Sequence[int], shards: Sequence[int] | None
    ) -> None:
        lead = () if self.channels is None else (self.channels,)
        for number, level in enumerate(self.levels):
            small = tuple(min(c, size) for c, size in zip(chunks, level.shape, strict=True))
            large = None
            if shards is not None:
                sizes = zip(small, shards, chunks, level.shape, strict=True)
                large = tuple(c * min(s // full, -(-size // c)) for c, s, full, size in sizes)
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
        """Shape of a compressed chunk, along each spatial axis."""
        return tuple(self._array(0).chunks)[-self.ndim :]

    def grid(self, level: int = 0) -> tuple[int, ...]:
        """Return the shape of the part of a level in one file, to which boxes are aligned."""
        array = self._array(level)
        return tuple(array.shards or array.chunks)[-self.ndim :]

    def blocks(self, level: int = 0) -> Iterator[Box]:
        """Iterate over boxes that cover a level, one for each of its files."""
        return boxes(self.levels[level].shape, self.grid(level))

    def write(self, box: Sequence[slice], array: AnyArray, level: int = 0) -> None:
        """Write a box; other processes may write other boxes at the same time.

        Parameters
        ----------
        box : sequence of slice
            One slice for each spatial axis, in pixels of the level, aligned to `grid`.
        array : ndarray, shape (y, x[, c]) or (z, y, x[, c])
            Pixels of the box.
        level : int
            Number of the level; 0 is the finest.

        Raises
        ------
        UserError
            ``storage.…``: the disk is full, or the folder cannot be written.
        ValueError
            The box is not aligned to `grid`, or the array has another shape.
        """
        shape = self.levels[level].shape
        bounds = clipped(box, shape)
        aligned = zip(bounds, self.grid(level), shape, strict=True)
        if any(b.start % g or (b.stop % g and b.stop != size) for b, g, size in aligned):
            raise ValueError(f"{bounds} is not aligned to the grid {self.grid(level)}")
        expected = (*(b.stop - b.start for b in bounds), *self.shape[self.ndim :])
        if array.shape != expected:
            raise ValueError(f"the array has shape {array.shape}, the box {expected}")
        index, stored = bounds, array
        if self.channels is not None:
            index, stored = (slice(None), *bounds), np.moveaxis(array, -1, 0)
        try:
            self._array(level)[index] = np.ascontiguousarray(stored, dtype=self.dtype)
        except OSError as error:
            raise write_error(self.path, error) from error

    def read(self, box: Sequence[slice], level: int = 0) -> AnyArray:
        """Read a box, channels last, as a view of an array with channels first; default value 0."""
        bounds = clipped(box, self.levels[level].shape)
        if self.channels is None:
            return np.ascontiguousarray(self._array(level)[bounds])
        return np.moveaxis(self._array(level)[(slice(None), *bounds)], 0, -1)

    def is_blank(self, box: Sequence[slice], level: int = 0) -> bool:
        """Return True if no file overlaps a box: all of its pixels are 0; no pixel is read."""
        return not self._files(level).exist(clipped(box, self.levels[level].shape))

    def copy(self, source: Box, target: Box, level: int = 0) -> None:
        """Write the pixels of a box into a box of the same shape by copying its files.

        Raises
        ------
        UserError
            ``storage.…``: the disk is full, or the folder cannot be written.
        """
        try:
            self._files(level).copy(source, target)
        except OSError as error:
            raise write_error(self.path, error) from error

    def read_ids(self, box: Sequence[slice]) -> AnyArray:
        """Read a box of labels without classes."""
        array = self.read(box)
        return array if self.channels is None else np.ascontiguousarray(array[..., 0])

    def build_level(self, level: int, box: Sequence[slice]) -> None:
        """Compute a box of a coarser level from the previous level, which must be complete there.

        Labels keep every second pixel, so that ids are never mixed. Images are averaged. Empty
        boxes stay without a file, and the result of an earlier box with equal files is copied.

        Parameters
        ----------
        level : int
            Number of the level, from 1.
        box : sequence of slice
            Box in pixels of that level, as for `write`.
        """
        if level < 1:
            raise ValueError("the first level is written, not built")
        halved = self.levels[level].halved
        bounds = clipped(box, self.levels[level].shape)
        source = tuple(
            slice(b.start * 2, b.stop * 2) if half else b
            for b, half in zip(bounds, halved, strict=True)
        )
        source = clipped(source, self.levels[level - 1].shape)
        files = self._files(level - 1)
        if not files.exist(source):
            return
        key = level, files.digest(source)
        if key in self._known:
            self.copy(self._known[key], bounds, level)
            return
        self.write(bounds, self._coarser(source, level, halved), level)
        if len(self._known) >= _MAX_KNOWN:
            self._known.pop(next(iter(self._known)))
        self._known[key] = bounds

    def _coarser(self, source: Box, level: int, halved: Sequence[bool]) -> AnyArray:
        """Downsample a box of the previous level.

        The box is read in slabs: it has up to 8 times as many pixels, and their mean needs several
        times as much memory.
        """
        downsample = nearest if self.kind == "labels" else mean
        first, *rest = source
        stored = self._array(level - 1).chunks[-self.ndim]
        step = stored + stored % 2  # pairs of pixels stay together
        parts = [
            downsample(
                self.read((slice(start, min(start + step, first.stop)), *rest), level - 1), halved
            )
            for start in range(first.start, first.stop, step)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def finish(
        self, name: str = "", properties: Sequence[Mapping[str, Any]] = (), method: str = ""
    ) -> None:
        """Write the OME-Zarr metadata after all levels are complete.

        Parameters
        ----------
        name : str
            Name of the image; by default, the file name.
        properties : sequence of mappings, optional
            Properties of labels, each with its ``label-value``.
        method : str
            Method of downsampling in the metadata; by default, the method of `build_level`.

        Raises
        ------
        UserError
            ``storage.…``: the disk is full, or the folder cannot be written.
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
        # Viewers expect label images without classes.
        if labels and self.channels is None:
            ome["image-label"] = {"version": ngff.VERSION}
            if properties:
                ome["image-label"]["properties"] = [dict(item) for item in properties]
        if self.names is not None and self.channels is not None and not labels:
            ome["omero"] = {"channels": [_channel(title, self.dtype) for title in self.names]}
        parent, _, last = self.inside.rpartition("/")
        if parent.rpartition("/")[2] == "labels":
            list_labels(self.path / parent, last)
        set_attributes(self.path / self.inside, {"ome": ome})
        try:
            written.record(self.path)
        except OSError as error:
            raise write_error(self.path, error) from error

    def _array(self, level: int) -> Any:
        if level not in self._arrays:
            zarr = library("zarr", self.path, "Zarr")
            from singula.io.formats.zarr_store import BoundedStore

            folder = self.path / self.inside / str(level)
            store = BoundedStore(folder, self._boundary, read_only=False)
            self._arrays[level] = zarr.open_array(store, mode="r+")
        return self._arrays[level]

    def _files(self, level: int) -> ArrayFiles:
        folder = self.path / self.inside / str(level)
        return ArrayFiles(self._array(level), folder, self._boundary, self.ndim)

    def _attributes(self) -> dict[str, Any]:
        self._boundary.check(self.path / self.inside / "zarr.json")
        attributes = read_group(self.path / self.inside)
        if _ATTRIBUTE not in attributes:
            raise ValueError(f"{self.path / self.inside}: was not created by this program")
        return attributes

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for another process, without open arrays and known files."""
        return {**self.__dict__, "_arrays": {}, "_known": {}}


def _channel(name: str, dtype: np.dtype[Any]) -> dict[str, Any]:
    """Return the default display settings of a channel for viewers."""
    max_value = float(np.iinfo(dtype).max) if dtype.kind in "iu" else 1.0
    window = {"min": 0.0, "max": max_value, "start": 0.0, "end": max_value}
    return {"label": name, "color": "FFFFFF", "window": window, "active": True}

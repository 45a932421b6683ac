"""Readers of the plugin: functions that napari calls with a path."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from singula.napari_plugin.layers import LayerData, run_layers, zarr_layers
from singula.runs.run import SUMMARY, is_finished

Reader = Callable[[str | Sequence[str]], list[LayerData]]


def get_run_reader(path: str | Sequence[str]) -> Reader | None:
    """Return a reader for the folder of a finished run or its ``run.json``; None for other paths.

    Parameters
    ----------
    path : str or sequence of str
        Path of one folder or file.
    """
    folder = _single(path)
    if folder is not None and folder.name == SUMMARY:
        folder = folder.parent
    if folder is None or not is_finished(folder):
        return None
    return partial(_read_run, folder)


def get_zarr_reader(path: str | Sequence[str]) -> Reader | None:
    """Return a reader for an OME-Zarr folder; None for other paths.

    Parameters
    ----------
    path : str or sequence of str
        Path of one folder.
    """
    folder = _single(path)
    if folder is None or not folder.is_dir():
        return None
    if not zarr_layers(folder):
        return None
    return partial(_read_zarr, folder)


def _single(path: str | Sequence[str]) -> Path | None:
    if isinstance(path, str):
        return Path(path)
    return Path(path[0]) if len(path) == 1 else None


def _read_run(folder: Path, _: str | Sequence[str]) -> list[LayerData]:
    return run_layers(folder)


def _read_zarr(folder: Path, _: str | Sequence[str]) -> list[LayerData]:
    return zarr_layers(folder)

"""Versions, machine and data of a run, which are recorded to repeat it."""

from __future__ import annotations

import logging
import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from singula.config import Config
from singula.config.keys import key_table
from singula.errors import UserError
from singula.io.digest import digest_images, file_sha256
from singula.io.run_folder import ResultsTree
from singula.util.locations import is_remote, location
from singula.util.messages import captured_messages
from singula.zoo.models import portable_name

if TYPE_CHECKING:
    from singula.training.device import Device

_log = logging.getLogger(__name__)
# Libraries that compute or read values of the results
_LIBRARIES = (
    "torch", "numpy", "scipy", "scikit-image", "bioimage-cpp", "connected-components-3d",
    "fastremap", "edt", "numba", "pandas", "tifffile", "imagecodecs", "pillow", "zarr", "h5py",
)  # fmt: skip
_OPTIONAL = ("openvino", "nibabel")


@dataclass(frozen=True)
class RunInputs:
    """Data, weights and options of a run, which are recorded to repeat it.

    Parameters
    ----------
    data : dict
        Digests of `data_digests`.
    without_digests : tuple of str
        Warnings of `data_digests`.
    model : dict, optional
        Result of `first_model`.
    processes : int
        Number of processes of the run.
    dask : str, optional
        Dask workers of the run.
    resumed : bool
        True if the run continued an interrupted one.
    """

    data: dict[str, dict[str, str]] = field(default_factory=dict)
    without_digests: tuple[str, ...] = ()
    model: dict[str, Any] | None = None
    processes: int = 1
    dask: str | None = None
    resumed: bool = False


def versions() -> dict[str, str]:
    """Return the versions of Singula, Python and the libraries that determine results."""
    from importlib.metadata import PackageNotFoundError, version

    from singula import __version__

    numbers = {"singula": __version__, "python": platform.python_version()}
    commit = source_commit(Path(__file__).resolve().parents[3])
    if commit:
        numbers["singula commit"] = commit
    for name in (*_LIBRARIES, *_OPTIONAL):
        with suppress(PackageNotFoundError):
            numbers[name] = version(name)
    return numbers


def source_commit(checkout: Path) -> str:
    """Return the commit of a git checkout of Singula, marked if files were changed.

    Parameters
    ----------
    checkout : Path
        Folder of the checkout.

    Returns
    -------
    str
        Empty if it is not a checkout, or if git is not installed.
    """
    if not (checkout / ".git").exists() or not (checkout / "src" / "singula").is_dir():
        return ""
    line = ["git", "-C", str(checkout), "describe", "--always", "--abbrev=40", "--dirty"]
    line += ["--exclude", "*"]
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(line, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()
    return ""


def machine(device: Device) -> dict[str, str | int]:
    """Return the processor, its instruction set, the threads and the GPU of a run.

    Parameters
    ----------
    device : Device
        Device of the network.
    """
    import torch

    from singula.training.device import gpu_name, has_bfloat16

    instructions = torch.backends.cpu.get_cpu_capability()
    properties: dict[str, str | int] = {
        "system": platform.platform(),
        "device": device.kind,
        "cores": os.cpu_count() or 1,
        "processor": _processor(),
        "instructions": f"{instructions} bfloat16" if has_bfloat16() else instructions,
        "threads": torch.get_num_threads(),
    }
    if device.kind == "cuda":
        properties["gpu"] = gpu_name(device.torch)
        properties["cuda"] = str(torch.version.cuda)
        properties["cudnn"] = str(torch.backends.cudnn.version())  # type: ignore[no-untyped-call]
    elif device.kind == "mps":
        properties["gpu"] = gpu_name(device.torch)
    return properties


def _processor() -> str:
    """Return the name of the processor."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def data_keys(config: Config) -> Iterator[str]:
    """Yield the keys of the folders of images, labels and masks that a run reads.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    """
    data, test = config.DATA, config.TEST
    parts = []
    if config.TRAIN.ENABLE or (test.ENABLE and data.TEST.USE_VAL_AS_TEST):
        needs_train = config.TRAIN.ENABLE or data.VAL.FROM_TRAIN
        parts = ["TRAIN"] * needs_train + ["VAL"] * (not data.VAL.FROM_TRAIN)
    for part in parts:
        yield f"DATA.{part}.PATH"
        if not getattr(data, part).INPUT_ZARR_MULTIPLE_DATA:
            yield f"DATA.{part}.GT_PATH"
        if getattr(data, part).IGNORE_PATH:
            yield f"DATA.{part}.IGNORE_PATH"
    if test.ENABLE and not data.TEST.USE_VAL_AS_TEST:
        yield "DATA.TEST.PATH"
        has_truth = data.TEST.LOAD_GT and test.EVALUATE
        if has_truth and not test.BY_CHUNKS.INPUT_ZARR_MULTIPLE_DATA:
            yield "DATA.TEST.GT_PATH"
        if has_truth and data.TEST.IGNORE_PATH:
            yield "DATA.TEST.IGNORE_PATH"
    if test.ENABLE and test.POST_PROCESSING.APPLY_MASK:
        yield "DATA.TEST.BINARY_MASKS"
    steps = data.PREPROCESS
    if steps.MATCH_HISTOGRAM.ENABLE and (steps.TRAIN or steps.VAL or steps.TEST):
        yield "DATA.PREPROCESS.MATCH_HISTOGRAM.REFERENCE_PATH"


def check_data_paths(config: Config) -> None:
    """Raise an error for a folder of images whose key is not set.

    Parameters
    ----------
    config : Config
        Configuration of the run.

    Raises
    ------
    UserError
        ``io.no_such_folder``: the default folder of such a key does not exist.
    """
    values = config.dotted()
    for key in data_keys(config):
        is_images = key.endswith(".PATH")
        if is_images and not config.is_set(key) and not location(values[key]).exists():
            folder = key_table()[key].description.rstrip(".")
            raise UserError(
                f"{key}: is not set, expected the {folder[0].lower()}{folder[1:]}",
                f"add {key} to the configuration",
                "io.no_such_folder",
            )


def data_digests(config: Config) -> tuple[dict[str, dict[str, str]], tuple[str, ...]]:
    """Return digests of the images, label images and masks, and warnings.

    Parameters
    ----------
    config : Config
        Configuration of the run.

    Returns
    -------
    digests : dict
        Digest of each file, by configuration key and file name. Folders that cannot be read
        completely are omitted.
    warnings : tuple of str
        One for each omitted folder. A folder without images also stops the run, so that the
        warnings are logged when ``run.json`` is written.
    """
    values, digests, warnings = config.dotted(), {}, []
    for key in data_keys(config):
        folder = location(values[key])
        if is_remote(folder):
            warnings.append(f"run.json has no digests of {key}, because it is a URL: {folder}")
            continue
        try:
            digests[key] = digest_images(folder, key)
        except (UserError, OSError) as error:
            reason = str(error).splitlines()[0]
            warnings.append(
                f"run.json has no digests of {key}, because a file is unreadable: {reason}"
            )
    return digests, tuple(warnings)


def first_model(config: Config, tree: ResultsTree) -> dict[str, Any] | None:
    """Return path and hash of the checkpoint that a run reads but does not train; None without one.

    The path of a built-in model is its name.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    tree : ResultsTree
        Results folder.
    """
    from singula.pipeline.checkpoints import find_checkpoint, find_start

    find = find_start if config.TRAIN.ENABLE else find_checkpoint
    if config.TRAIN.ENABLE and not config.MODEL.LOAD_CHECKPOINT:
        return None
    with suppress(UserError), captured_messages():  # the run itself reports a missing file
        path = find(config, tree)
        return {"path": portable_name(path), "sha256": file_sha256(path)}
    return None

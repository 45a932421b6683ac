"""Reading of model packages: zip files in the format of the BioImage Model Zoo.

Only two entries are read, by name and into memory: the description of the network, and its weights
as tensors. Nothing is extracted, and neither code nor TorchScript of a package is executed.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from singula.errors import UserError
from singula.io.record_files import parse_record
from singula.io.records.checkpoints import PackageInfo
from singula.training.tensor_files import load_tensors
from singula.util.format import counted
from singula.util.paths import open_regular

KEY = "singula"
"""Key of the description in the contents of a checkpoint."""
SUFFIX = ".zip"
MANIFEST = "bioimageio.yaml"
INFO = "singula.json"
"""Entry of a package with the description that Singula reads (`PackageInfo`)."""
_MANIFESTS = (MANIFEST, "rdf.yaml")
_MAX_ENTRIES = 1000
_MAX_INFO = 64 << 20
_MAX_WEIGHTS = 4 << 30
_MAX_RATIO = 100  # of the size of an entry to its compressed size; weights hardly compress
_REMEDY = "use an intact copy of the package"
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    RuntimeError,  # an encrypted entry
    NotImplementedError,  # a newer version of the format
    ValueError,
)


def is_package(path: Path) -> bool:
    """Return True if the name of a file is that of a model package."""
    return path.suffix.lower() == SUFFIX


def read_package(path: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Return the network of a model package as the contents of a checkpoint.

    Parameters
    ----------
    path : Path
        Zip file that `singula package` wrote, or a copy of it from the BioImage Model Zoo.
    map_location : str or torch.device
        Device of the tensors.

    Returns
    -------
    dict
        ``epoch``, ``state_dict`` and the description, not verified.

    Raises
    ------
    UserError
        ``package.unreadable``: the file is damaged; ``package.foreign``: Singula cannot build its
        network; ``package.too_large``: an entry is larger than any network; as for `load_tensors`
        and `parse_record`.
    """
    with open_regular(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                entries = _entries(path, archive)
                text = _read(path, archive, entries[INFO], _MAX_INFO)
                info = parse_record(text, PackageInfo, f"{path}: {INFO}", _REMEDY)
                if info.weights not in entries:
                    raise _foreign(path, info.weights)
                weights = _read(path, archive, entries[info.weights], _MAX_WEIGHTS)
        except UserError:
            raise
        except _DAMAGED as error:
            raise _unreadable(path, str(error) or type(error).__name__) from error
    # The digest covers the description with all of its fields.
    description = from_json(text)["checkpoint"]
    state = load_tensors(path, io.BytesIO(weights), map_location)
    return {"epoch": info.epoch, "state_dict": state, KEY: description}


def _entries(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the entries of a package by name; raise an error for packages of other programs."""
    listed = archive.infolist()
    if len(listed) > _MAX_ENTRIES:
        raise UserError(
            f"{path}: got a zip file with {counted(len(listed), 'entry', 'entries')}, expected at "
            f"most {_MAX_ENTRIES}",
            "check that this is the right file",
            "package.too_large",
        )
    entries = {entry.filename: entry for entry in listed}
    if len(entries) < len(listed):
        raise _unreadable(path, "two entries have the same name")
    missing = [] if any(name in entries for name in _MANIFESTS) else [MANIFEST]
    missing += [] if INFO in entries else [INFO]
    if missing:
        raise _foreign(path, " and ".join(missing))
    return entries


def _read(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, max_bytes: int) -> bytes:
    """Read an entry of limited size into memory."""
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise _unreadable(path, f"{entry.filename} has an unusual compression")
    if entry.file_size > min(max_bytes, _MAX_RATIO * (entry.compress_size + 1024)):
        raise UserError(
            f"{path}: {entry.filename}: got {entry.file_size} bytes from {entry.compress_size} "
            f"compressed bytes, expected at most {max_bytes} bytes with a compression of at most "
            f"{_MAX_RATIO}",
            "check that this is the right file",
            "package.too_large",
        )
    return archive.read(entry)


def _foreign(path: Path, missing: str) -> UserError:
    return UserError(
        f"{path}: has no {missing}, expected a package that describes a network of Singula",
        "use a package that `singula package` wrote, and other models with the program that wrote "
        "them",
        "package.foreign",
    )


def _unreadable(path: Path, reason: str) -> UserError:
    return UserError(
        f"{path}: is not a readable model package ({reason[:200]})",
        "use a zip file that `singula package` wrote",
        "package.unreadable",
    )

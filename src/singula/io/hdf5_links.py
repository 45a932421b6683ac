"""Find objects in an HDF5 file, and refuse what is stored in other files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from singula.io.external import external_file
from singula.io.image import ArrayPlace

_MOST_SOFT_LINKS = 64


def find_object(h5py: Any, path: Path, file: Any, name: str, place: ArrayPlace) -> Any:
    """Return the dataset or group of that path in a file; None if it does not exist.

    HDF5 opens the files of external links on the way, so each link is looked at before it is
    followed.

    Parameters
    ----------
    h5py : module
    path : Path
        The file, for messages.
    file : h5py.File
    name : str
    place : ArrayPlace
        Allows external files, or not.

    Raises
    ------
    UserError
        ``io.external_file``: the path leads to another file.
    """
    if place.external_files:
        return file.get(name)
    node, parts, followed = file, name.split("/")[::-1], 0
    while parts:
        part = parts.pop()
        if part in ("", "."):
            continue
        if not isinstance(node, h5py.Group):
            return None
        links, key = node.id.links, part.encode()
        if not links.exists(key):
            return None
        kind = links.get_info(key).type
        if kind == h5py.h5l.TYPE_HARD:
            node = node[part]
            continue
        if kind != h5py.h5l.TYPE_SOFT:
            raise external_file(path, _target_file(h5py, links, key), place)
        followed += 1
        if followed > _MOST_SOFT_LINKS:
            raise ValueError(f"its links to {name} lead in a circle")
        target = links.get_val(key).decode()
        if target.startswith("/"):
            node = file
        parts += target.split("/")[::-1]
    return node


def check_links(h5py: Any, path: Path, group: Any, place: ArrayPlace) -> None:
    """Refuse a group that links to another file.

    Parameters
    ----------
    h5py, path, place
        As for `find_object`.
    group : h5py.Group

    Raises
    ------
    UserError
        ``io.external_file``
    """
    names: list[str] = []
    if not place.external_files:
        group.visit_links(names.append)  # errors do not leave the library's own loop
    for name in names:
        parent, _, last = name.rpartition("/")
        links, key = (group[parent] if parent else group).id.links, last.encode()
        if links.get_info(key).type not in (h5py.h5l.TYPE_HARD, h5py.h5l.TYPE_SOFT):
            raise external_file(path, _target_file(h5py, links, key), place)


def check_storage(h5py: Any, path: Path, file: Any, dataset: Any, place: ArrayPlace) -> None:
    """Refuse a dataset whose values are in other files, also through virtual datasets.

    Parameters
    ----------
    h5py, path, file, place
        As for `find_object`.
    dataset : h5py.Dataset

    Raises
    ------
    UserError
        ``io.external_file``
    """
    if place.external_files:
        return
    waiting, seen = [dataset], {dataset.name}
    while waiting:
        dataset = waiting.pop()
        for name, _, _ in dataset.external or ():
            raise external_file(path, name, place)
        for source in dataset.virtual_sources() if dataset.is_virtual else ():
            own = source.file_name == "." or _is_same(path, source.file_name)
            # HDF5 replaces %b by numbers, for any number of files or arrays.
            if not own or "%b" in source.dset_name:
                raise external_file(path, f"{source.file_name}:{source.dset_name}", place)
            found = find_object(h5py, path, file, source.dset_name, place)
            if isinstance(found, h5py.Dataset) and found.name not in seen:
                seen.add(found.name)
                waiting.append(found)


def _is_same(path: Path, name: str) -> bool:
    return (path.parent / name).resolve() == path.resolve()


def _target_file(h5py: Any, links: Any, key: bytes) -> str:
    if links.get_info(key).type != h5py.h5l.TYPE_EXTERNAL:
        return f"the link {key.decode(errors='replace')!r} of an unknown kind"
    file, name = links.get_val(key)
    return f"{file.decode(errors='replace')}:{name.decode(errors='replace')}"

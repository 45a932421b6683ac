"""Find objects in an HDF5 file, and refuse objects in other files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from singula.io.external import external_file
from singula.io.image import ArrayPlace

_MAX_SOFT_LINKS = 64


def find_object(h5py: Any, path: Path, file: Any, name: str, place: ArrayPlace) -> Any:
    """Return a dataset or group by its path in the file; None if it does not exist.

    HDF5 opens the files of external links on its way. Therefore, each link is checked before it is
    followed.

    Parameters
    ----------
    h5py : module
        The imported library.
    path : Path
        HDF5 file, for messages.
    file : h5py.File
        The open file.
    name : str
        Path of the object in the file.
    place : ArrayPlace
        Selection of the user, which allows external files or not.

    Raises
    ------
    UserError
        ``io.external_file``: the path leads to another file.
    ValueError
        Soft links form a cycle.
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
        if followed > _MAX_SOFT_LINKS:
            raise ValueError(f"its links to {name} form a cycle")
        target = links.get_val(key).decode()
        if target.startswith("/"):
            node = file
        parts += target.split("/")[::-1]
    return node


def check_links(h5py: Any, path: Path, group: Any, place: ArrayPlace) -> None:
    """Raise an error if a group links to another file.

    Parameters
    ----------
    h5py, path, place
        As for `find_object`.
    group : h5py.Group
        Group whose links are checked, with the links of its subgroups.

    Raises
    ------
    UserError
        ``io.external_file``: a link leads to another file.
    """
    names: list[str] = []
    if not place.external_files:
        group.visit_links(names.append)  # the library catches errors of the callback
    for name in names:
        parent, _, last = name.rpartition("/")
        links, key = (group[parent] if parent else group).id.links, last.encode()
        if links.get_info(key).type not in (h5py.h5l.TYPE_HARD, h5py.h5l.TYPE_SOFT):
            raise external_file(path, _target_file(h5py, links, key), place)


def check_storage(h5py: Any, path: Path, file: Any, dataset: Any, place: ArrayPlace) -> None:
    """Raise an error if the values of a dataset are in other files, also by virtual datasets.

    Parameters
    ----------
    h5py, path, file, place
        As for `find_object`.
    dataset : h5py.Dataset
        Dataset to check.

    Raises
    ------
    UserError
        ``io.external_file``: values are in another file.
    """
    if place.external_files:
        return
    waiting, seen = [dataset], {dataset.name}
    while waiting:
        dataset = waiting.pop()
        for name, _, _ in dataset.external or ():
            raise external_file(path, name, place)
        for source in dataset.virtual_sources() if dataset.is_virtual else ():
            is_same_file = source.file_name == "." or _is_same(path, source.file_name)
            # HDF5 replaces %b by numbers, for any number of files or arrays.
            if not is_same_file or "%b" in source.dset_name:
                raise external_file(path, f"{source.file_name}:{source.dset_name}", place)
            target = find_object(h5py, path, file, source.dset_name, place)
            if isinstance(target, h5py.Dataset) and target.name not in seen:
                seen.add(target.name)
                waiting.append(target)


def _is_same(path: Path, name: str) -> bool:
    return (path.parent / name).resolve() == path.resolve()


def _target_file(h5py: Any, links: Any, key: bytes) -> str:
    if links.get_info(key).type != h5py.h5l.TYPE_EXTERNAL:
        return f"the link {key.decode(errors='replace')!r} of an unknown kind"
    file, name = links.get_val(key)
    return f"{file.decode(errors='replace')}:{name.decode(errors='replace')}"

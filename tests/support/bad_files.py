"""Bad files, folders and names, and snapshots of folders."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

Make = Callable[[Path], object]


def missing(path: Path) -> None:
    pass


def fifo(path: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    before = Path.cwd()
    os.chdir(path.parent)  # names of sockets are short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(before)


def endless_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def full_device(path: Path) -> None:
    path.symlink_to("/dev/full")


def dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


def link_loop(path: Path) -> None:
    path.symlink_to(path.name)


def unreadable(path: Path) -> None:
    """Return a regular file that cannot be read, even by root."""
    path.symlink_to("/proc/self/mem" if Path("/proc/self/mem").exists() else "nowhere")


def garbage(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 8)


def text(path: Path) -> None:
    path.write_text("these are words\n")


def json_list(path: Path) -> None:
    path.write_text("[1, 2, {}]")


def nested(path: Path) -> None:
    path.write_text("[" * 50_000)


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)  # takes no space


def folder_of_garbage(path: Path) -> None:
    path.mkdir()
    for name in ("run.json", "zarr.json", "attributes.json", "image.tif", "a.yaml", ".zarray"):
        garbage(path / name)


def folder_of_pipes(path: Path) -> None:
    path.mkdir()
    for name in ("run.json", "zarr.json", "attributes.json", "image.tif", "a.yaml", ".zarray"):
        fifo(path / name)


def linked_folder_loop(path: Path) -> None:
    path.mkdir()
    (path / "train").symlink_to(path)
    (path / "x").symlink_to(path)


# Of these no command can make anything.
BAD_INPUTS: tuple[Make, ...] = (
    missing, Path.touch, Path.mkdir, fifo, unix_socket, endless_device, full_device, dangling_link,
    link_loop, unreadable, garbage, text, json_list, nested, sparse, folder_of_garbage,
    folder_of_pipes, linked_folder_loop,
)  # fmt: skip
# Nothing can be written here, neither a file nor a folder.
BAD_OUTPUTS: tuple[Make, ...] = (fifo, unix_socket, endless_device, full_device, link_loop)
# Names that no file can have.
BAD_NAMES = ("a\0b", "x" * 300, "x/" * 3000, "~nosuchuser/x", "/proc/nothing/x", "")


def state(folder: Path) -> dict[str, tuple[object, ...]]:
    """Return kind, size, time and target of all entries below a folder."""
    found: dict[str, tuple[object, ...]] = {}
    for place, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = os.path.join(place, name)
            about = os.lstat(path)
            kind = os.readlink(path) if os.path.islink(path) else about.st_mode
            is_folder = os.path.isdir(path) and not os.path.islink(path)
            contents = () if is_folder else (about.st_size, about.st_mtime_ns, about.st_ino)
            found[path] = (kind, *contents)
    return found


def changed(before: dict[str, tuple[object, ...]], folder: Path) -> list[str]:
    """Return entries below a folder that were replaced, changed or removed, without new files."""
    now = state(folder)
    return [path for path in before if now.get(path) != before[path]]


def remove(path: Path) -> None:
    """Remove a file, link or folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

"""Images that the programs predict, written at run time from the shared data."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
SMALL_SIDE = 256
Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Workload:
    """Images and label images of one measurement.

    Parameters
    ----------
    title : str
        Text for tables.
    ndim : int
        Dimensions of the images.
    images, labels : list of Path
        TIFF files, in the same order.
    pixels : int
        Number of pixels of all images.
    """

    title: str
    ndim: int
    images: list[Path]
    labels: list[Path]
    pixels: int


def write_workload(name: str, folder: Path, *, count: int, side: int | None = None) -> Workload:
    """Write the images of a workload into a folder, and return them.

    Parameters
    ----------
    name : str
        ``large``: one image of 4096²; ``small``: images of 256²; ``volume``: one volume of
        96×384×384; ``test``: the test images of ``dsb2018``.
    folder : Path
        Folder for ``NAME/raw`` and ``NAME/label``.
    count : int
        Number of images of ``small`` and ``test``.
    side : int, optional
        Cut ``large`` and ``volume`` to this length along each axis, for slow programs.
    """
    import tifffile

    pairs = _small(count) if name == "small" else _test()[:count]
    if name in ("large", "volume"):
        pairs = [_large(side) if name == "large" else _volume(side)]
        folder = folder / str(side or "")
    for kind in ("raw", "label"):
        # Some programs predict the whole folder, so it must not contain images of an earlier call.
        shutil.rmtree(folder / name / kind, ignore_errors=True)
        (folder / name / kind).mkdir(parents=True)
    files: dict[str, list[Path]] = {"raw": [], "label": []}
    for number, pair in enumerate(pairs):
        for kind, image in zip(files, pair, strict=True):
            path = folder / name / kind / f"{number:03}.tif"
            tifffile.imwrite(path, image)
            files[kind].append(path)
    shapes = {"×".join(map(str, image.shape)) for image, _ in pairs}
    count = len(pairs)
    title = (
        f"{count} image{'s' * (count > 1)}, {shapes.pop() if len(shapes) == 1 else 'dsb2018/test'}"
    )
    pixels = sum(image.size for image, _ in pairs)
    return Workload(title, pairs[0][0].ndim, files["raw"], files["label"], pixels)


def dsb2018(part: str) -> list[tuple[Path, Path]]:
    """Return the files of images and labels of a part of ``dsb2018``."""
    folder = SHARED / "dsb2018" / part
    return [(raw, folder / "label" / raw.name) for raw in sorted((folder / "raw").glob("*.tif"))]


def _large(side: int | None) -> Pair:
    from tifffile import imread

    mosaic = [SHARED / "bench" / f"mosaic_4096_{kind}.tif" for kind in ("raw", "label")]
    raw, label = (imread(path)[:side, :side] for path in mosaic)
    return raw, label.astype(np.int32)


def _small(count: int) -> list[Pair]:
    rng = np.random.default_rng(0)
    sources = [pair for pair in _test() if min(pair[0].shape) >= SMALL_SIDE]
    crops = []
    for number in range(count):
        image, label = sources[number % len(sources)]
        begin = [int(rng.integers(0, size - SMALL_SIDE + 1)) for size in image.shape]
        box = tuple(slice(start, start + SMALL_SIDE) for start in begin)
        crops.append((image[box], label[box]))
    return crops


def _test() -> list[Pair]:
    from tifffile import imread

    return [(imread(raw), imread(label).astype(np.int32)) for raw, label in dsb2018("test")]


def _volume(side: int | None) -> Pair:
    """Draw an image of touching cells: a brightness for each cell, blurred, with noise."""
    from scipy import ndimage
    from tifffile import imread

    label = imread(SHARED / "bench" / "volume_96x384x384_label.tif").astype(np.int32)
    label = label[:side, :side, :side]
    rng = np.random.default_rng(0)
    brightness = rng.uniform(80, 160, int(label.max()) + 1).astype(np.float32)
    brightness[0] = 20
    image = ndimage.gaussian_filter(brightness[label], 1)
    image += rng.normal(0, 8, label.shape).astype(np.float32)
    return image.clip(0, 255).astype(np.uint8), label

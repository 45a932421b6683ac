"""Draw the pictures of "First result" with the built-in models: `python docs/make/examples.py`.

An image of each kind is drawn and predicted with `singula predict`, without the choice of a model.
Each picture shows the image next to the outlines that the command wrote; of a volume, a slice. The
program prints the rows of the table of the page, with the measured times. Run it again when the
weights of a built-in model change. A kind of images without a built-in model is skipped.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import tifffile
from PIL import Image

import singula
from singula.io.read import read_labels
from singula.io.write import write_tiff
from singula.report.overlay import middle_plane, to_gray
from singula.synthetic.fluorescence import make_image
from singula.synthetic.slide import make_slide
from singula.zoo.models import built_in_models

HERE = Path(__file__).parents[1]
SEED = 5
GAP = 8  # white columns between the image and the outlines


def main(folder: Path = HERE) -> list[Path]:
    """Draw all pictures, print a row of the table for each, and return the paths."""
    drawn = []
    for name, (model, draw) in KINDS.items():
        if model not in built_in_models():
            continue
        with TemporaryDirectory() as temporary:
            place = Path(temporary)
            truth = draw(place / f"{name}.tif")
            wall, processor = predict(place / f"{name}.tif", place / "out")
            labels = read_labels(place / "out" / f"{name}.tif", truth.ndim).array[..., 0]
            score = singula.match(truth, labels, 0.5)
            print(
                f"| {name} | {'×'.join(map(str, truth.shape))} | `{model}` | {score.n_true} | "
                f"{score.n_pred} | {score.f1:.3f} | {processor:.1f} s | {wall:.1f} s |"
            )
            target = folder / f"start_{name}.png"
            side_by_side(target, place / f"{name}.tif", labels, place / f"out/{name}_overlay.png")
        drawn.append(target)
    return drawn


def fluorescence(path: Path) -> np.ndarray:
    """Write an image of fluorescent nuclei, and return its labels."""
    drawn = make_image((256, 256), np.random.default_rng(SEED))
    write_tiff(path, drawn.image, "YX")
    return drawn.labels


def tissue(path: Path) -> np.ndarray:
    """Write an image of stained nuclei, cut from a drawn slide, and return its labels."""
    slide = path.with_suffix(".svs")
    drawn = make_slide(slide, (2048, 2048), np.random.default_rng(SEED), pieces=1, tissue=0.6)
    with tifffile.TiffFile(slide) as file:
        pixels = file.pages[0].asarray()
    half = pixels.reshape(1024, 2, 1024, 2, 3).mean((1, 3))  # nuclei of 12 to 18 pixels
    box = (slice(512, 768), slice(512, 768))  # within a pattern of the slide
    write_tiff(path, np.rint(half[box]).astype(np.uint8), "YXS")
    rows, columns = np.mgrid[box] + 0.5
    labels = np.zeros(rows.shape, np.uint16)
    for number, ((y, x), (high, wide)) in enumerate(
        zip(drawn.centers / 2, drawn.radii / 2, strict=True), start=1
    ):
        labels[((rows - y) / high) ** 2 + ((columns - x) / wide) ** 2 <= 1] = number
    return labels


def volume(path: Path) -> np.ndarray:
    """Write a volume of fluorescent nuclei, and return its labels."""
    spacing = (2.0, 1.0, 1.0)
    drawn = make_image((32, 192, 192), np.random.default_rng(SEED), spacing=spacing)
    write_tiff(path, drawn.image, "ZYX", spacing)
    return drawn.labels


KINDS = {
    "fluorescence": ("nuclei", fluorescence),
    "tissue": ("nuclei_he", tissue),
    "volume": ("nuclei_3d", volume),
}
"""Name of the picture, built-in model that the command chooses, and function that draws."""


def predict(image: Path, output: Path) -> tuple[float, float]:
    """Run `singula predict`, and return the elapsed and the processor time in seconds."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "singula", "predict", image, "-o", output, "--gpu", "cpu"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def side_by_side(target: Path, image: Path, labels: np.ndarray, outlines: Path) -> None:
    """Write the image, or its slice with the most labels, next to the picture of the outlines."""
    pixels = tifffile.imread(image)
    if labels.ndim == 3:
        pixels = pixels[middle_plane(labels)]
    with Image.open(outlines) as picture:
        outlined = np.asarray(picture.convert("RGB"))
    original = to_gray(pixels if pixels.ndim == 3 else pixels[..., None])
    factor = len(outlined) // len(original)  # the picture of a small image is enlarged
    original = original.repeat(factor, axis=0).repeat(factor, axis=1)
    gap = np.full((len(original), GAP, 3), 255, np.uint8)
    whole = Image.fromarray(np.concatenate([original, gap, outlined], axis=1))
    whole.quantize(192, dither=Image.Dither.NONE).save(target, optimize=True)


if __name__ == "__main__":
    print(*main(*map(Path, sys.argv[1:])), sep="\n")

"""Prediction of whole slides: resolution, glass, and results in coordinates of the slide."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from scipy.spatial import cKDTree

import singula
from singula.errors import ExitCode, UserError
from singula.inference import plan_predictions, predict_files
from singula.inference.model import Model
from singula.inference.slides import downsample_for, slide_pair
from singula.io.formats.slide import Slide
from singula.io.image import ArrayPlace
from singula.io.read import read_image, read_labels
from singula.io.slide_notes import slide_of
from singula.io.write import write_tiff
from singula.pipeline.common_spacing import CommonSpacing
from singula.pipeline.object_size import TrainedObjects
from singula.synthetic.slide import SlideTruth, make_slide

SIDE, TRAINED = 2000, 0.375  # pixels; µm per pixel of the training images
pytestmark = pytest.mark.xdist_group("slides")


# Pixel size of the slide in µm, training objects, levels, expected factor
@pytest.mark.parametrize(
    ("pixel_size", "objects", "levels", "expected"),
    [
        (0.25, TrainedObjects(size=(20.0, 20.0)), (1, 4, 16), 1.5),  # 7.5 µm in 20 pixels
        (0.5, TrainedObjects(size=(20.0, 20.0)), (1, 4, 16), 0.75),  # enlarged
        (0.25, TrainedObjects(size=(7.6, 7.6)), (1, 4, 16), 4),  # a level within 5 %
        (0.25, TrainedObjects(size=(7.0, 7.0)), (1, 4, 16), 7.5 / 7 / 0.25),
        (0.25, TrainedObjects(size=(20.0, 20.0), spacing=(0.5, 0.5), unit="µm"), (1,), 2),
        (0.25, TrainedObjects(size=(20.0, 20.0), spacing=(500, 500), unit="nm"), (1,), 2),
        (0.25, TrainedObjects(size=(20.0, 20.0), spacing=(2.0, 2.0)), (1,), 1.5),  # no unit
    ],
)
def test_resolution_of_a_model(pixel_size, objects, levels, expected) -> None:
    assert downsample_for(pixel_size, objects, levels) == pytest.approx(expected)


def test_a_model_without_sizes_needs_a_factor() -> None:
    with pytest.raises(UserError) as caught:
        downsample_for(0.25, TrainedObjects())
    assert caught.value.code == "predict.scale_unknown"


@pytest.fixture(scope="session")
def drawn(make_once) -> Path:
    """Return a folder with a slide, its truth, and training images of another slide."""
    pytest.importorskip("openslide", reason="no slides: the extra slides is not installed")

    def fill(folder: Path) -> None:
        truth = make_slide(
            folder / "a.svs", (SIDE, SIDE), np.random.default_rng(1), pieces=1, tissue=0.15
        )
        np.savez(folder / "truth.npz", centers=truth.centers, radii=truth.radii)
        path = folder / "training.svs"
        truth = make_slide(path, (1200, 1200), np.random.default_rng(2), pieces=1, tissue=0.6)
        image = read_image(path, 2, 3, arrays=ArrayPlace(downsample=TRAINED / 0.25)).array
        labels = np.zeros(image.shape[:2], np.uint16)
        y, x = (np.indices(labels.shape) + 0.5) * 1200 / len(labels)
        for number, (center, radius) in enumerate(zip(truth.centers, truth.radii, strict=True), 1):
            labels[((y - center[0]) / radius[0]) ** 2 + ((x - center[1]) / radius[1]) ** 2 < 1] = (
                number
            )
        for number, (part, row) in enumerate(
            [("train", 100), ("train", 260), ("train", 420), ("val", 540)]
        ):
            box = (slice(row, row + 160), slice(200, 600))
            write_tiff(
                folder / part / "x" / f"{number}.tif", image[box], "YXS", (TRAINED, TRAINED), "µm"
            )
            write_tiff(folder / part / "y" / f"{number}.tif", labels[box], "YX")
        for part in ("x", "y"):
            (folder / "test").mkdir(exist_ok=True)
            (folder / "test" / part).symlink_to(folder / "val" / part)

    return make_once("slide", fill)


@pytest.fixture
def model(drawn: Path, run_once, write_config, tmp_path: Path) -> Path:
    config = write_config(
        drawn, name="slide.yaml", **{
            "DATA.PATCH_SIZE": "(64, 64, 3)", "TRAIN.EPOCHS": 12, "TEST.ENABLE": False,
            "PROBLEM.INSTANCE_SEG.DATA_REMOVE_SMALL_OBJ_BEFORE": 40,
        },
    )  # fmt: skip
    out = run_once("slide", config, tmp_path / "results")
    return next(out.glob("**/*-checkpoint-best.pth"))


def truth_of(folder: Path) -> SlideTruth:
    stored = np.load(folder / "truth.npz")
    return SlideTruth(stored["centers"], stored["radii"], 0.0)


def polygons(path: Path) -> dict[str, np.ndarray]:
    features = json.loads(path.read_text(encoding="utf-8"))["features"]
    return {
        f["properties"]["name"]: np.array(f["geometry"]["coordinates"][0])
        for f in features
        if f["geometry"]["type"] == "Polygon"
    }


def iou(ring: np.ndarray, center: np.ndarray, radius: np.ndarray) -> float:
    """Return the IoU of a polygon (x, y) and an ellipse, on a grid of quarter pixels."""
    from matplotlib.path import Path as Polygon

    steps = [np.arange(c - 30, c + 30, 0.25) + 0.125 for c in center]
    y, x = np.meshgrid(*steps, indexing="ij")
    inside = Polygon(ring).contains_points(np.stack([x.ravel(), y.ravel()], 1))
    ellipse = ((y - center[0]) / radius[0]) ** 2 + ((x - center[1]) / radius[1]) ** 2 < 1
    ellipse = ellipse.ravel()
    return float((inside & ellipse).sum() / (inside | ellipse).sum())


def test_instances_of_a_slide(command, drawn, model, tmp_path) -> None:
    out, truth = tmp_path / "out", truth_of(drawn)
    line = ("predict", drawn / "a.svs", "--model", model, "-o", out, "--tables")
    assert command(*line) == 0, command.err
    assert "level 0, scale 0.667, 0.375 µm per pixel; tissue on" in command.out
    note = slide_of(out / "a.zarr")
    assert note is not None
    assert note.downsample == pytest.approx((SIDE / 1333, SIDE / 1333))
    assert note.file == "a.svs"
    rings = polygons(out / "a.geojson")
    centers = np.array([ring[:-1].mean(0)[::-1] for ring in rings.values()])
    distance, nearest = cKDTree(centers).query(truth.centers)
    matched = distance < 6
    assert matched.mean() > 0.95
    assert len(centers) < 1.05 * len(truth.centers)
    shift = (centers[nearest] - truth.centers)[matched].mean(0)
    assert np.abs(shift).max() < 0.5
    names = list(rings)
    overlaps = [
        iou(rings[names[nearest[row]]], truth.centers[row], truth.radii[row])
        for row in np.flatnonzero(matched)
    ]
    assert np.median(overlaps) > 0.75

    table = pd.read_csv(out / "a_stats.csv")
    assert {str(label) for label in table["label"]} >= rings.keys()
    true_area = np.pi * truth.radii.prod(1).mean() * 0.25**2
    assert table["area_µm²"].mean() == pytest.approx(true_area, rel=0.25)
    np.testing.assert_allclose(table["centroid_x_µm"], (table["centroid_x_px"] + 0.5) * 0.25)
    assert table["intensity_mean_ch1"].between(60, 200).all()  # nuclei are dark

    assert command("export", out / "a.zarr", "--to", "qupath", "-o", tmp_path / "again") == 0
    assert (tmp_path / "again" / "a.geojson").read_bytes() == (out / "a.geojson").read_bytes()


@pytest.mark.slow
def test_glass_is_not_read_and_changes_nothing(command, drawn, model, tmp_path, monkeypatch):
    read, pixels = Slide.read, []

    def count(self, rows, columns, shape):
        pixels.append(len(rows) * len(columns) * (shape[0] > 1000))  # not for the tissue mask
        return read(self, rows, columns, shape)

    monkeypatch.setattr(Slide, "read", count)
    found = {}
    for name, options in (("tissue", ()), ("all", ("--glass",))):
        pixels.clear()
        line = ("predict", drawn / "a.svs", "--model", model, "-o", tmp_path / name, *options)
        # Small blocks, as the glass of a small slide is narrow
        monkeypatch.setattr("singula.inference.stages.BLOCK", (256, 256))
        assert command(*line) == 0, command.err
        found[name] = polygons(tmp_path / name / "a.geojson"), sum(pixels)
    assert found["tissue"][1] < 0.7 * found["all"][1]
    one, two = (np.array([r[:-1].mean(0) for r in found[name][0].values()]) for name in found)
    assert len(one) == len(two)
    assert cKDTree(one).query(two)[0].max() < 1.5
    # In blocks or as a whole
    place = ArrayPlace(downsample=TRAINED / 0.25)
    image = read_image(drawn / "a.svs", 2, 3, arrays=place).array
    whole = singula.load(model).predict(image)
    blocks = read_labels(tmp_path / "all" / "a.zarr", 2).array[..., 0]
    assert ((whole > 0) == (blocks > 0)).all()
    pairs = np.unique(np.stack([whole.ravel(), blocks.ravel()]), axis=1)
    assert pairs.shape[1] == int(whole.max()) + 1 == int(blocks.max()) + 1


@pytest.fixture(scope="session")
def unsized(make_once) -> Path:
    pytest.importorskip("openslide", reason="no slides: the extra slides is not installed")
    rng, options = np.random.default_rng(5), {"pieces": 1, "tissue": 0.3, "pixel_size": None}
    return make_once("unsized", lambda f: make_slide(f / "b.svs", (608, 608), rng, **options))


def test_a_slide_without_a_pixel_size_is_refused(command, unsized, model, tmp_path) -> None:
    line = ("predict", unsized / "b.svs", "--model", model)
    assert command(*line, "-o", tmp_path / "none") == ExitCode.USER_ERROR
    assert "--spacing" in command.out + command.err


def test_a_slide_is_read_at_the_common_pixel_size(unsized, model, tmp_path) -> None:
    plain = singula.load(model)
    size = (TRAINED, TRAINED)
    common = replace(
        plain,
        objects=TrainedObjects(),
        config=plain.config.replaced({"DATA.PREPROCESS.SPACING": size}),
        reader=replace(plain.reader, common=CommonSpacing(size, "DATA.TEST.RESOLUTION")),
    )
    pairs = plan_predictions(plain, [unsized / "b.svs"], tmp_path)

    def predict(model: Model, name: str, **options: object) -> np.ndarray:
        options = {"augment": None, "tables": True, "resume": False, **options}
        assert predict_files(model, pairs, tmp_path / name, **options) == {}  # type: ignore[arg-type]
        return read_labels(tmp_path / name / "b.zarr", 2).array

    expected = predict(plain, "plain", spacing=(0.25, 0.25))
    assert expected.any()
    np.testing.assert_array_equal(predict(common, "common", spacing=(0.25, 0.25)), expected)
    np.testing.assert_array_equal(predict(common, "scaled", scale=1 / 1.5), expected)
    assert predict(plain, "finest", scale=1).shape[:2] == (608, 608)
    pair = pairs[0]
    with pytest.raises(UserError) as caught:
        slide_pair(common, pair, (0.25, 0.5), None, None, glass=False)
    assert caught.value.code == "predict.slide_spacing"


@pytest.mark.slow
def test_a_pixel_size_or_a_factor_is_given(command, unsized, model, tmp_path) -> None:
    line = ("predict", unsized / "b.svs", "--model", model)
    assert command(*line, "-o", tmp_path / "size", "--spacing", "0.25,0.25") == 0, command.err
    assert command(*line, "-o", tmp_path / "scale", "--scale", "0.66667") == 0, command.err
    sizes, scale = (polygons(tmp_path / name / "b.geojson") for name in ("size", "scale"))
    assert sizes.keys() == scale.keys() != set()
    for name, ring in sizes.items():
        np.testing.assert_array_equal(ring, scale[name])


def test_a_damaged_slide_is_reported(command, drawn, model, tmp_path) -> None:
    content = (drawn / "a.svs").read_bytes()
    (tmp_path / "bad.svs").write_bytes(content[: len(content) // 2])
    line = ("predict", tmp_path / "bad.svs", "--model", model, "-o", tmp_path / "out")
    assert command(*line) == ExitCode.USER_ERROR
    assert "cannot be read as whole slide" in command.out + command.err
    assert not list((tmp_path / "out").glob("*.geojson"))


def test_a_slide_of_glass_alone_is_predicted(command, model, tmp_path) -> None:
    blank = np.full((640, 640, 3), 240, np.uint8)
    with tifffile.TiffWriter(tmp_path / "blank.svs") as file:
        for step in (1, 4):
            file.write(
                blank[::step, ::step], tile=(64, 64), photometric="rgb",
                description="Aperio Image Library v1", metadata=None,
            )  # fmt: skip
    line = (
        "predict",
        tmp_path / "blank.svs",
        "--model",
        model,
        "-o",
        tmp_path / "out",
        "--scale",
        "0.5",
    )
    assert command(*line, "-o", tmp_path / "out") == 0, command.out + command.err
    assert read_labels(tmp_path / "out" / "blank.zarr", 2).array.shape[:2] == (320, 320)

"""`singula predict` on files of several images, arrays or time points."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr

from singula.config.keys import key_table
from singula.inference import files, gather_images, load, plan_predictions
from singula.io.read import read_image, read_labels


@pytest.fixture
def model(run_once, write_config, data_2d, tmp_path) -> Path:
    config = write_config(data_2d, **{"TRAIN.EPOCHS": 12})
    return (
        run_once("plain_12", config, tmp_path / "trained")
        / "job"
        / "checkpoints"
        / "job_1-checkpoint-best.pth"
    )


def images(data: Path, count: int) -> list[np.ndarray]:
    """Return different images of one shape."""
    first = read_image(data / "test" / "x" / "image_000.tif", 2, 1).array[..., 0]
    return [np.roll(first, 9 * number, axis=number % 2) for number in range(count)]


def written(folder: Path) -> dict[str, np.ndarray]:
    return {path.stem: read_labels(path, 2).array for path in sorted(folder.glob("*.tif"))}


def write_plate(path: Path, arrays: list[np.ndarray]) -> None:
    root = zarr.open_group(path, mode="w", zarr_format=3)
    root.attrs["ome"] = {"version": "0.5", "plate": {"wells": [{"path": "A/1"}]}}
    well = root.create_group("A/1")
    fields = [{"path": str(n)} for n in range(len(arrays))]
    well.attrs["ome"] = {"version": "0.5", "well": {"images": fields}}
    axes = [{"name": name, "type": "space"} for name in "yx"]
    for number, array in enumerate(arrays):
        group = well.create_group(str(number))
        group.create_array("0", data=array)
        entry = {"axes": axes, "datasets": [{"path": "0"}]}
        group.attrs["ome"] = {"version": "0.5", "multiscales": [entry]}


def test_results_of_series_arrays_and_time_points(
    command, model, data_2d, tmp_path, monkeypatch
) -> None:
    """Each result equals that of the same image in a separate file, whole and in blocks."""
    source, out = tmp_path / "in", tmp_path / "results"
    source.mkdir()
    first, second, third = arrays = images(data_2d, 3)
    for number, array in enumerate(arrays):
        tifffile.imwrite(source / f"plain{number}.tif", array)
    plain = [source / f"plain{number}.tif" for number in range(3)]

    def predict(*words: object, to: str) -> dict[str, np.ndarray]:
        line = ("predict", *words, "--model", model, "-o", out / to)
        assert command(*line) == 0, command.out + command.err
        return written(out / to)

    expected = list(predict(*plain, to="plain").values())
    assert all(labels.any() for labels in expected)

    def assert_results(found: dict[str, np.ndarray], names: dict[str, int]) -> None:
        assert list(found) == sorted(names)
        for name, number in names.items():
            np.testing.assert_array_equal(found[name], expected[number])

    with tifffile.TiffWriter(source / "two.ome.tif", ome=True) as tif:
        tif.write(first, metadata={"axes": "YX"})
        tif.write(second, metadata={"axes": "YX"})
    two = source / "two.ome.tif"
    found = predict(two, "--tables", to="all")
    assert_results(found, {"two_0": 0, "two_1": 1})
    assert "2 of 2 images" in command.out
    assert len(pd.read_csv(out / "all" / "two_1_stats.csv")) == found["two_1"].max()
    assert_results(predict(two, "--series", 1, to="one"), {"two_1": 1})

    write_plate(source / "plate.zarr", arrays)
    names = {f"plate_A_1_{number}": number for number in range(3)}
    assert_results(predict(source / "plate.zarr", to="plate"), names)
    found = predict(source / "plate.zarr", "--series", 2, to="field")
    assert_results(found, {"plate_A_1_2": 2})
    found = predict(source / "plate.zarr", "--array", "A/1/1", to="path")
    assert_results(found, {"plate": 1})

    with h5py.File(source / "two.h5", "w") as file:
        file["raw"], file["other"] = first, third
    assert_results(predict(source / "two.h5", "--array", "other", to="array"), {"two": 2})

    movie = source / "movie.tif"
    tifffile.imwrite(movie, np.stack(arrays), imagej=True, metadata={"axes": "TYX"})
    found = predict(movie, "--frames", "all", to="frames")
    assert_results(found, {f"movie_t{number:03d}": number for number in range(3)})
    assert_results(predict(movie, "--frames", 2, to="frame"), {"movie_t002": 2})
    assert_results(predict(plain[0], "--frames", "all", to="still"), {"plain0": 0})

    monkeypatch.setattr(files, "available_memory", lambda config: 0)
    for words, names in (
        ((two,), {"two_0": 0, "two_1": 1}),
        ((movie, "--frames", 1), {"movie_t001": 1}),
        ((source / "two.h5", "--array", "raw"), {"two": 0}),
        ((source / "plate.zarr", "--series", 1), {"plate_A_1_1": 1}),
    ):
        folder = out / "blocks"
        assert command("predict", *words, "-m", model, "-o", folder) == 0, command.out
        ends = (".zarr", "_overlay.png", "_stats.csv")
        assert {p.name for p in folder.iterdir()} == {n + end for n in names for end in ends}
        for name, number in names.items():
            labels = zarr.open_group(folder / f"{name}.zarr", mode="r")["0"][:]
            np.testing.assert_array_equal(labels, expected[number][..., 0])
        shutil.rmtree(folder)


@pytest.mark.slow
def test_resume_overwrite_and_names_that_collide(command, model, data_2d, tmp_path) -> None:
    arrays = images(data_2d, 2)
    movie = tmp_path / "movie.tif"
    tifffile.imwrite(movie, np.stack(arrays), imagej=True, metadata={"axes": "TYX"})
    line = ("predict", movie, "--model", model, "-o", tmp_path / "out", "--frames", "all")
    assert command(*line) == 0, command.out
    before = written(tmp_path / "out")
    assert command(*line) == 2
    assert "movie_t000.tif" in command.err
    (tmp_path / "out" / "movie_t001.tif").unlink()
    assert command(*line, "--resume") == 0
    assert command.out.count("done already") == 1
    np.testing.assert_equal(written(tmp_path / "out"), before)
    (tmp_path / "out" / "movie_t001.tif").write_bytes(b"")
    assert command(*line, "--overwrite") == 0
    np.testing.assert_equal(written(tmp_path / "out"), before)
    tifffile.imwrite(tmp_path / "movie_t000.tif", arrays[0])
    clash = ("predict", movie, tmp_path / "movie_t000.tif", "--model", model, "--frames", "all")
    assert command(*clash, "-o", tmp_path / "clash") == 2
    assert "got the same result movie_t000.tif" in command.err
    single = ("predict", movie, "--model", model, "--frames", "0", "-o")
    assert command(*single, tmp_path) == 2  # the result would be movie_t000.tif
    assert "already exists" in command.err


def test_results_of_a_channel(command, model, data_2d, write_config, tmp_path, monkeypatch) -> None:
    """The result equals that of the channel in a separate file, whole and in blocks."""
    first, second = images(data_2d, 2)
    plain, both, out = tmp_path / "plain.tif", tmp_path / "both.ome.tif", tmp_path / "out"
    tifffile.imwrite(plain, second)
    names = {"axes": "CYX", "Channel": {"Name": ["DAPI", "GFP"]}}
    tifffile.imwrite(both, np.stack([first, second]), metadata=names)
    assert command("predict", plain, "-m", model, "-o", out) == 0, command.out
    (expected,) = written(out).values()
    assert expected.any()
    for channel in ("GFP", "1"):
        line = ("predict", both, "-m", model, "-o", tmp_path / channel, "--channel", channel)
        assert command(*line) == 0, command.out
        np.testing.assert_array_equal(written(tmp_path / channel)["both"], expected)
    for words, text in (((), "--channel NAME"), (("--channel", "Cy5"), "DAPI, GFP")):
        assert command("predict", both, "-m", model, "-o", tmp_path / "none", *words) == 2
        assert "FAILED" in command.out
        assert text in command.out
    monkeypatch.setattr(files, "available_memory", lambda config: 0)
    line = ("predict", both, "-m", model, "-o", tmp_path / "blocks", "--channel", "gfp")
    assert command(*line) == 0, command.out
    labels = zarr.open_group(tmp_path / "blocks" / "both.zarr", mode="r")["0"][:]
    np.testing.assert_array_equal(labels, expected[..., 0])


@pytest.mark.slow
def test_training_on_a_channel(command, write_config, data_2d, tmp_path) -> None:
    """`check`, `init` and `run` read the channel of DATA.CHANNEL, and a model remembers it."""
    data = Path(shutil.copytree(data_2d, tmp_path / "data"))
    for path in data.glob("*/x/*.tif"):
        array = read_image(path, 2, 1).array[..., 0]
        names = {"axes": "CYX", "Channel": {"Name": ["other", "DAPI"]}}
        tifffile.imwrite(path, np.stack([array[::-1], array]), ome=True, metadata=names)
    assert command("init", data, "-o", tmp_path / "made.yaml", "--channel", "DAPI") == 0
    assert "CHANNEL: DAPI" in (tmp_path / "made.yaml").read_text(encoding="utf-8")
    assert command("check", data, "--channel", "none") == 2
    assert "other, DAPI" in command.err
    assert command("check", data, "--channel", "DAPI") == 0, command.out
    keys = {"TRAIN.EPOCHS": 1, "DATA.CHANNEL": "DAPI"}
    results = []
    for name, folder in (("both", data), ("plain", data_2d)):
        config = write_config(folder, **({**keys} if name == "both" else {"TRAIN.EPOCHS": 1}))
        line = ("run", "--config", config, "--result_dir", tmp_path / name)
        assert command(*line) == 0, command.err
        model = next((tmp_path / name).rglob("*-checkpoint-best.pth"))
        out = tmp_path / f"{name}_out"
        assert command("predict", folder / "test" / "x", "-m", model, "-o", out) == 0
        results.append(written(out))
    np.testing.assert_equal(*results)


def test_invalid_choices_are_reported_with_options_of_predict(
    command, model, data_2d, tmp_path
) -> None:
    arrays = images(data_2d, 2)
    movie, two = tmp_path / "movie.tif", tmp_path / "two.h5"
    tifffile.imwrite(movie, np.stack(arrays), imagej=True, metadata={"axes": "TYX"})
    with h5py.File(two, "w") as file:
        file["raw"], file["other"] = arrays
    with h5py.File(tmp_path / "time.h5", "w") as file:
        file["data"] = np.stack(arrays)
        file["data"].dims[0].label = "time"
    for words, expected in (
        ((movie,), ("2 time points", "--frames all", "--frames N")),
        ((tmp_path / "time.h5",), ("2 time points", "--frames all")),
        ((movie, "--frames", 2), ("time point 2", "--frames")),
        ((movie, "--series", 1), ("series 1",)),
        ((two,), ("raw", "other", "--array PATH")),
        ((two, "--array", "none"), ("'none'", "raw", "--array PATH")),
    ):
        line = ("predict", *words, "--model", model, "-o", tmp_path / "out")
        assert command(*line) == 2  # no image could be predicted
        assert "FAILED" in command.out
        for word in expected:
            assert word in command.out
        assert not [key for key in key_table() if key in command.out]
        help_text = cli_help(command)
        for option in {word for word in command.out.split() if word.startswith("--")}:
            assert option.strip(".,;") in help_text
    assert command("predict", movie, "-m", model, "-o", tmp_path / "out", "--frames", "some") == 2
    assert "got 'some', expected all or a number" in command.err


def cli_help(command) -> str:
    said = command.out
    assert command("predict", "--help") == 0
    text, command.out = command.out, said
    return text


@pytest.mark.slow
def test_the_set_of_a_file_is_mentioned(command, model, data_2d, tmp_path) -> None:
    """Two positions, each with the metadata of both: two different results, one note."""
    arrays = images(data_2d, 2)
    head = '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'
    y, x = arrays[0].shape
    kind = {"uint8": "uint8", "uint16": "uint16"}[arrays[0].dtype.name]
    text = "".join(
        f'<Image ID="Image:{n}"><Pixels ID="Pixels:{n}" DimensionOrder="XYCZT" Type="{kind}" '
        f'SizeX="{x}" SizeY="{y}" SizeC="1" SizeZ="1" SizeT="1"><Channel ID="Channel:{n}:0"/>'
        f'<TiffData IFD="0" PlaneCount="1"><UUID FileName="p{n}.ome.tif">urn:uuid:{n}</UUID>'
        "</TiffData></Pixels></Image>"
        for n in range(2)
    )
    folder = tmp_path / "in"
    folder.mkdir()
    for n, array in enumerate(arrays):
        xml = f'{head} UUID="urn:uuid:{n}">{text}</OME>'.encode()
        tifffile.imwrite(folder / f"p{n}.ome.tif", array, description=xml, metadata=None)
        tifffile.imwrite(tmp_path / f"plain{n}.tif", array)
    plain = [tmp_path / f"plain{n}.tif" for n in range(2)]
    assert command("predict", folder, "-m", model, "-o", tmp_path / "set") == 0, command.out
    assert command.out.count("2 files of a set") == 1
    assert command("predict", *plain, "-m", model, "-o", tmp_path / "plain") == 0
    expected = list(written(tmp_path / "plain").values())
    found = written(tmp_path / "set")
    assert list(found) == ["p0", "p1"]
    np.testing.assert_equal(list(found.values()), expected)
    assert not np.array_equal(*expected)


def test_options_in_python(model, data_2d, tmp_path) -> None:
    with tifffile.TiffWriter(tmp_path / "many.tif") as tif:
        for size in (30, 40, 50):
            tif.write(np.zeros((size, size), np.uint8), metadata=None, contiguous=False)
    np.save(tmp_path / "one.npy", np.zeros((40, 40), np.uint8))
    files = gather_images([tmp_path / "many.tif", tmp_path / "one.npy"])
    loaded = load(model)
    names = [task.name for task in plan_predictions(loaded, files, tmp_path / "out")]
    assert names == ["many_0", "many_1", "many_2", "one"]
    (task,) = plan_predictions(loaded, files[:1], tmp_path / "out", series=2)
    assert task.name == "many_2"
    assert read_image(task.image, 2, arrays=task.arrays).array.shape == (50, 50, 1)


@pytest.mark.slow
def test_training_check_and_init_list_omitted_images(
    command, write_config, data_2d, tmp_path
) -> None:
    data = Path(shutil.copytree(data_2d, tmp_path / "data"))
    (path,) = sorted((data / "train" / "x").glob("*.tif"))[:1]
    array = read_image(path, 2, 1).array[..., 0]
    with tifffile.TiffWriter(path) as tif:
        tif.write(array, metadata=None, contiguous=False)
        tif.write(array[:20, :30].copy(), metadata=None, contiguous=False)
    assert command("check", data) in (0, 1)
    assert "1 (20, 30)" in command.out
    assert path.name in command.out
    assert command("init", data, "-o", tmp_path / "made.yaml") == 0, command.err
    assert "1 (20, 30)" in command.out
    config = write_config(data, **{"TRAIN.EPOCHS": 1, "TEST.ENABLE": False})
    assert command("run", "--config", config, "--result_dir", tmp_path / "out") == 0, command.err
    assert "1 (20, 30)" in command.out


@pytest.mark.slow
def test_files_that_refer_to_others(command, write_config, data_2d, tmp_path) -> None:
    """An option allows them, but not the model, which can have another author."""
    keys = {"TRAIN.EPOCHS": 1, "TEST.ENABLE": False, "DATA.EXTERNAL_FILES": True}
    config = write_config(data_2d, **keys)
    assert command("run", "--config", config, "--result_dir", tmp_path / "run") == 0, command.err
    model = next((tmp_path / "run").rglob("*-checkpoint-best.pth"))
    (tmp_path / "in").mkdir()
    np.zeros((40, 40), np.uint8).tofile(tmp_path / "pixels.raw")
    raw = [(str(tmp_path / "pixels.raw"), 0, h5py.h5f.UNLIMITED)]
    with h5py.File(tmp_path / "in" / "a.h5", "w") as file:
        file.create_dataset("data", (40, 40), "uint8", external=raw)
    tifffile.imwrite(tmp_path / "in" / "b.tif", np.zeros((40, 40), np.uint8))
    assert command("predict", tmp_path / "in", "-m", model, "-o", tmp_path / "out") == 2
    assert "pixels.raw" in command.out
    assert list(written(tmp_path / "out")) == ["b"]
    options = ("-m", model, "-o", tmp_path / "all", "--external-files")
    assert command("predict", tmp_path / "in", *options) == 0
    assert list(written(tmp_path / "all")) == ["a", "b"]

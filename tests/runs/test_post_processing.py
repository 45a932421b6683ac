"""Steps after the network, on the command line."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from scipy.ndimage import median_filter

import singula
from singula.config import config_from_dict
from singula.io.read import read_image, read_labels
from singula.io.write import write_maps
from singula.measure import measure_instances
from singula.pipeline.postprocess import PostSettings, filter_maps, post_settings, process_instances

POST = "TEST.POST_PROCESSING"
REMOVAL = f"{POST}.MEASURE_PROPERTIES.REMOVE_BY_PROPERTIES"


def folder_of(tmp_path: Path, run_id: int = 1) -> Path:
    return tmp_path / "out" / "job" / "results" / f"job_{run_id}"


@pytest.fixture
def trained(command, run_once, write_config, data_2d, tmp_path):
    """Return a function that tests a trained 2D job with changed keys."""
    manual = {"PROBLEM.INSTANCE_SEG.DATA_MW_TH_TYPE": "manual"}
    config = write_config(data_2d, **{"TRAIN.EPOCHS": 25, **manual})
    out = ("--result_dir", run_once("manual_25", config, tmp_path / "out"))

    def again(*changes: str, resume: bool = False) -> int:
        words = [w for c in ("TRAIN.ENABLE=False", *changes) for w in ("--set", c)]
        return command("run", "--config", config, *out, *words, *(["--resume"] if resume else []))

    return again


def test_instances_are_removed_by_their_properties(trained, command, data_2d, tmp_path) -> None:
    assert (
        trained(
            f"{REMOVAL}.ENABLE=True",
            f"{REMOVAL}.PROPS=[['npixels'], ['circularity', 'area']]",
            f"{REMOVAL}.VALUES=[[60], [0.5, 1000]]",
            f"{REMOVAL}.SIGN=[['lt'], ['le', 'le']]",
        )
        == 0
    ), command.err
    run = folder_of(tmp_path)
    raw = read_labels(run / "per_image_instances" / "image_000.tif", 2).array[..., 0]
    kept = read_labels(run / "per_image_post_processing" / "image_000.tif", 2).array[..., 0]
    full = pd.read_csv(run / "per_image_instances" / "image_000_full_stats.csv")
    filtered = pd.read_csv(run / "per_image_post_processing" / "image_000_filtered_stats.csv")
    table = measure_instances(raw)
    assert len(table) > 3
    gone = (table.npixels < 60) | ((table.circularity <= 0.5) & (table.area <= 1000))
    assert list(full.comment == "Removed") == list(gone)
    assert set(np.unique(kept)) - {0} == set(table.label[~gone]) == set(filtered.label)
    np.testing.assert_array_equal(kept, np.where(np.isin(raw, table.label[~gone]), raw, 0))
    assert {"label", "axis-0", "axis-1", "npixels", "area", "circularity", "diameter"} <= set(full)
    model = singula.load(run)
    maps = model.predict_maps(read_image(data_2d / "test" / "x" / "image_000.tif", 2).array)
    for stats, labels in ((full, raw), (filtered, kept)):
        confidence = dict(zip(stats["label"], stats["confidence"], strict=True))
        assert confidence == pytest.approx(model.confidence(labels, maps), abs=1e-3)
    scores = pd.read_csv(run / "metrics.csv")
    assert set(scores["view"]) == {"per_image", "per_image_post_processing"}
    assert "post processing" in command.out
    for name, rows in scores[scores["image"].str.startswith("image_")].groupby("image"):
        line = re.search(rf"^\[.*{name}: (.*)$", command.out, re.MULTILINE)[1]
        stages = line.split("; post-processed: ")
        assert len(stages) == 2
        for words, view in zip(stages, ("per_image", "per_image_post_processing"), strict=True):
            own = rows[rows["view"] == view]
            assert int(re.match(r"(\d+) instances?,", words)[1]) == set(own["n_pred"]).pop()
            found = [float(value) for value in re.findall(r"F1 ([\d.]+) at", words)]
            assert found == pytest.approx(list(own["f1"]), abs=6e-4)


def test_voronoi_fills_the_foreground_and_clear_border_clears_it(
    trained, command, tmp_path
) -> None:
    assert trained(f"{POST}.VORONOI_ON_MASK=True", f"{POST}.VORONOI_TH=0.5") == 0, command.err
    run = folder_of(tmp_path)
    maps = read_image(run / "per_image" / "image_000.tif", 2, 2).array
    raw = read_labels(run / "per_image_instances" / "image_000.tif", 2).array[..., 0]
    grown = read_labels(run / "per_image_post_processing" / "image_000.tif", 2).array[..., 0]
    area = maps.sum(-1) > 0.5
    assert raw.any()
    assert (grown[area] > 0).all()
    np.testing.assert_array_equal(grown[raw > 0], raw[raw > 0])
    assert trained(f"{POST}.CLEAR_BORDER=True") == 0, command.err
    cleared = read_labels(run / "per_image_post_processing" / "image_000.tif", 2).array[..., 0]
    edge = np.concatenate([cleared[0], cleared[-1], cleared[:, 0], cleared[:, -1]])
    assert not edge.any()


def test_a_mask_limits_the_prediction(trained, command, data_2d, tmp_path) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    mask = np.zeros((96, 96), np.uint8)
    mask[:, :48] = 255
    for path in (data_2d / "test" / "x").iterdir():
        tifffile.imwrite(masks / path.name, mask)
    keys = (f"{POST}.APPLY_MASK=True", f"DATA.TEST.BINARY_MASKS={masks}")
    assert trained(*keys) == 0, command.err
    labels = read_labels(folder_of(tmp_path) / "per_image_instances" / "image_000.tif", 2).array
    assert labels[:, :48].any()
    assert not labels[:, 48:].any()
    (masks / "image_001.tif").unlink()
    assert trained(*keys) == 2
    assert "no mask for image_001" in command.err


def test_half_precision_changes_little(trained, command, tmp_path) -> None:
    run = folder_of(tmp_path)
    before = read_image(run / "per_image" / "image_000.tif", 2, 2).array
    assert trained("TEST.REDUCE_MEMORY=True") == 0, command.err
    after = read_image(run / "per_image" / "image_000.tif", 2, 2).array
    assert 0 < np.abs(before - after).max() < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Z_FILTERING", "YZ_FILTERING"])
@pytest.mark.parametrize("blocks", [False, True])
def test_a_filter_alone_has_post_processed_instances(
    name, blocks, command, write_config, data_3d, tmp_path
) -> None:
    keys = {
        f"{POST}.{name}": True,
        f"{POST}.MEASURE_PROPERTIES.ENABLE": True,
        "TEST.BY_CHUNKS.ENABLE": blocks,
        "TRAIN.EPOCHS": 1,
    }
    config = write_config(data_3d, 3, **keys)
    assert command("run", "--config", config, "--result_dir", tmp_path / "out") == 0, command.err
    run = folder_of(tmp_path)
    suffix = ".zarr" if blocks else ".tif"
    for number in range(2):
        before, after = (
            read_labels(run / folder / f"image_00{number}{suffix}", 3).array
            for folder in ("per_image_instances", "per_image_post_processing")
        )
        np.testing.assert_array_equal(before, after)
        table = pd.read_csv(
            run / "per_image_post_processing" / f"image_00{number}_filtered_stats.csv"
        )
        assert list(table.label) == [i for i in np.unique(after) if i]
    scores = pd.read_csv(run / "metrics.csv")
    assert set(scores["view"]) == {"per_image", "per_image_post_processing"}


def test_filters_without_effect_write_no_results() -> None:
    keys = {"TEST.ENABLE": True, f"{POST}.Z_FILTERING": True, f"{POST}.YZ_FILTERING": True}
    assert not post_settings(config_from_dict(keys)).has_own_result
    stack = post_settings(config_from_dict({**keys, "TEST.ANALIZE_2D_IMGS_AS_3D_STACK": True}))
    assert stack.has_own_result
    assert (stack.z_size, stack.yz_size) == (5, 5)
    volume = {"PROBLEM.NDIM": "3D", "DATA.PATCH_SIZE": (16, 32, 32, 1)}
    assert post_settings(config_from_dict({**keys, **volume})).has_own_result


@pytest.mark.slow
def test_a_stack_keeps_the_scores_of_its_slices(trained, command, tmp_path) -> None:
    run = folder_of(tmp_path)
    plain = pd.read_csv(run / "metrics.csv")
    plain = plain[plain.image.str.startswith("image")].drop_duplicates("image").set_index("image")
    columns = [c for c in plain if c.startswith(("per_patch_", "per_image_"))]
    assert {"per_patch_iou_B", "per_image_iou_B", "per_image_iou_C"} <= set(columns)
    for keys in ((), ("TEST.REUSE_PREDICTIONS=True",), ("TEST.MATCHING_STATS=False",)):
        assert trained("TEST.ANALIZE_2D_IMGS_AS_3D_STACK=True", *keys) == 0, command.err
        table = pd.read_csv(run / "metrics.csv")
        slices = table[table.image.str.startswith("image")].set_index("image")
        assert set(slices["view"]) == {"per_image"}
        pd.testing.assert_frame_equal(
            slices[columns], plain.loc[slices.index, columns], rtol=1e-6, atol=1e-6
        )
        stack = table[table["view"] == "as_3d_stack"]
        # A stack of slices of one size: its IoU lies between those of the slices.
        values = slices["per_image_iou_B"]
        inside = stack["as_3d_stack_iou_B"].dropna().unique()
        assert len(inside) == 1
        assert values.min() - 1e-9 <= inside[0] <= values.max() + 1e-9
        assert "per image" in command.out


def test_2d_images_as_a_stack(trained, command, data_2d, tmp_path) -> None:
    assert (
        trained(
            "TEST.ANALIZE_2D_IMGS_AS_3D_STACK=True",
            f"{POST}.Z_FILTERING=True",
            f"{POST}.Z_FILTERING_SIZE=3",
            f"{POST}.CLEAR_BORDER=True",
        )
        == 0
    ), command.err
    run = folder_of(tmp_path)
    stack = read_labels(run / "as_3d_stack" / "stack.tif", 3).array
    assert stack.shape == (2, 96, 96, 1)
    assert (run / "as_3d_stack_post_processing" / "stack.tif").is_file()
    scores = pd.read_csv(run / "metrics.csv")
    assert set(scores["view"]) == {"as_3d_stack", "as_3d_stack_post_processing", "per_image"}
    page = (run / "report.html").read_text()
    assert "What is missing here" not in page
    assert page.count("<img") == 5  # image, truth, instances, after post-processing, compared
    other = Path(shutil.copytree(data_2d, tmp_path / "uneven"))
    tifffile.imwrite(other / "test" / "x" / "image_001.tif", np.zeros((80, 96), np.uint8))
    assert (
        trained(
            "TEST.ANALIZE_2D_IMGS_AS_3D_STACK=True",
            "DATA.TEST.LOAD_GT=False",
            f"DATA.TEST.PATH={other / 'test' / 'x'}",
        )
        == 2
    )
    assert "image_001 (80, 96)" in command.err


@pytest.mark.slow
def test_a_stack_of_whole_predictions(trained, command, tmp_path) -> None:
    keys = ("TEST.FULL_IMG=True", "TEST.ANALIZE_2D_IMGS_AS_3D_STACK=True")
    assert trained(*keys) == 0, command.err
    run = folder_of(tmp_path)
    inside = np.zeros((2, 96, 96), np.float32)
    for view, box in (("per_image", slice(5, 25)), ("full_image", slice(40, 70))):
        inside[:] = 0
        inside[0, box, box] = 1
        for number in range(2):
            write_maps(run / view / f"image_{number:03d}.tif", inside)
    assert trained(*keys, "TEST.REUSE_PREDICTIONS=True") == 0, command.err
    stack = read_labels(run / "as_3d_stack" / "stack.tif", 3).array[..., 0]
    expected = np.zeros((2, 96, 96))
    expected[:, 40:70, 40:70] = 1
    np.testing.assert_array_equal(stack, expected)


@pytest.mark.slow
def test_one_bad_image_does_not_stop_the_others(trained, command, data_2d, tmp_path) -> None:
    damaged = Path(shutil.copytree(data_2d, tmp_path / "damaged")) / "test"
    (damaged / "x" / "image_000.tif").write_bytes(b"no picture")
    keys = (f"DATA.TEST.PATH={damaged / 'x'}", f"DATA.TEST.GT_PATH={damaged / 'y'}")
    run = folder_of(tmp_path)
    shutil.rmtree(run)
    assert trained(*keys) == 1
    assert "FAILED: 1 of 2 test images, for the reasons above: image_000" in command.out
    assert (command.out + command.err).count("cannot be read as TIFF") == 1
    assert (run / "per_image_instances" / "image_001.tif").is_file()
    assert "image_000" in json.loads((run / "run.json").read_text())["test"]["failed"]
    assert "image_001" in set(pd.read_csv(run / "metrics.csv").image)
    (damaged / "x" / "image_001.tif").write_bytes(b"no picture")
    assert trained(*keys) == 2


@pytest.mark.slow
def test_resume_skips_finished_images_and_gives_the_same_table(trained, command, tmp_path) -> None:
    run = folder_of(tmp_path)
    keys = (f"{POST}.CLEAR_BORDER=True",)
    assert trained(*keys) == 0
    table = (run / "metrics.csv").read_text()
    first, second = (run / "per_image" / f"image_00{i}.tif" for i in (0, 1))
    stamps = [p.stat().st_mtime_ns for p in (first, second)]
    (run / "per_image_instances" / "image_001.tif").unlink()
    (run / "metrics.csv").unlink()
    assert trained(*keys, resume=True) == 0, command.err
    assert "1 of 2 images done already" in command.out
    assert first.stat().st_mtime_ns == stamps[0]
    assert second.stat().st_mtime_ns > stamps[1]
    again = pd.read_csv(run / "metrics.csv").sort_values(["view", "image", "threshold"])
    before = pd.read_csv(pd.io.common.StringIO(table)).sort_values(["view", "image", "threshold"])
    pd.testing.assert_frame_equal(
        again.reset_index(drop=True), before.reset_index(drop=True), check_like=True, rtol=1e-12
    )
    # Other settings make what is done stale.
    assert trained("PROBLEM.INSTANCE_SEG.DATA_REMOVE_SMALL_OBJ_BEFORE=50", resume=True) == 0
    assert "done already" not in command.out


@pytest.mark.slow
def test_classes_are_scored_and_are_in_the_tables(
    command, write_config, data_classes, tmp_path
) -> None:
    config = write_config(
        data_classes,
        **{
            "MODEL.N_CLASSES": 4,
            "TRAIN.EPOCHS": 8,
            f"{POST}.MEASURE_PROPERTIES.ENABLE": True,
        },
    )
    assert command("run", "--config", config, "--result_dir", tmp_path / "out") == 0, command.err
    run = folder_of(tmp_path)
    both = read_labels(run / "per_image_instances" / "image_000.tif", 2, classes=True).array
    table = pd.read_csv(run / "per_image_instances" / "image_000_full_stats.csv")
    for label, number in zip(table["label"], table["class"], strict=True):
        assert set(both[..., 1][both[..., 0] == label]) == {number}
    scores = pd.read_csv(run / "metrics.csv")
    assert {"per_image_iou_class", "per_image_iou_class_1"} <= set(scores.columns)
    assert {1, 2, 3} <= set(scores["class"].dropna())
    assert "Instances of class 1" in command.out


def test_filters_equal_medians_of_scipy() -> None:
    volume = np.random.default_rng(0).random((9, 12, 11)).astype(np.float32)
    maps = {"B": volume, "class": (volume * 3).astype(np.uint8)}
    settings = PostSettings(z_size=3, yz_size=5)
    found = filter_maps(maps, settings, None)
    expected = median_filter(median_filter(volume, (3, 1, 1)), (5, 5, 1))
    np.testing.assert_allclose(found["B"], expected, atol=1e-6)
    np.testing.assert_array_equal(found["class"], maps["class"])
    plane = {"B": volume[0]}
    np.testing.assert_array_equal(filter_maps(plane, settings, None)["B"], volume[0])


@pytest.mark.parametrize("channels", ["BC", "BCDv2", "F+C", "T+Bg", "Ds", "F+Ds+Bg", "Db+Bg"])
def test_pixels_outside_of_a_mask_are_background(channels: str) -> None:
    labels = np.zeros((40, 40), np.uint8)
    labels[4:18, 4:18], labels[22:36, 22:36] = 1, 2
    mask = np.arange(40)[:, None] + np.zeros(40) < 20
    encoded = singula.encode(labels, channels)
    maps = {code: values.astype(np.float32) for code, values in encoded.items()}
    filtered = filter_maps(maps, PostSettings(), mask)
    instances = singula.decode(filtered, channels, thresholds={"TH_TYPE": "manual"})
    assert (instances[mask] > 0).any()
    assert not (instances[~mask] > 0).any()


def test_settings_follow_the_keys_and_steps_have_a_fixed_order() -> None:
    tree = {
        "PROBLEM": {"INSTANCE_SEG": {"DATA_CHANNELS": "BCM"}},
        "TRAIN": {"ENABLE": True},
        "TEST": {
            "ENABLE": True,
            "POST_PROCESSING": {
                "REPARE_LARGE_BLOBS_SIZE": 50,
                "VORONOI_ON_MASK": True,
                "VORONOI_TH": 0.4,
                "CLEAR_BORDER": True,
                "MEASURE_PROPERTIES": {
                    "REMOVE_BY_PROPERTIES": {
                        "ENABLE": True,
                        "PROPS": [["npixels"]],
                        "VALUES": [[30]],
                        "SIGN": [["lt"]],
                    }
                },
            },
        },
    }
    settings = post_settings(config_from_dict(tree))
    assert (settings.repair_size, settings.voronoi_threshold) == (50, 0.4)
    assert settings.clear_border
    assert settings.has_own_result
    labels = np.zeros((20, 30), np.uint8)
    labels[2:10, 2:10], labels[14:17, 14:17], labels[5:9, 25:30] = 1, 2, 3
    maps = {"M": (labels > 0).astype(np.float32)}
    done = process_instances(labels, maps, settings, None)
    assert done.labels is not None
    # 3 touches the border, 2 is too small.
    assert set(np.unique(done.labels)) == {0, 1}
    assert done.full is not None
    assert list(done.full.comment) == ["Correct", "Removed", "Removed"]

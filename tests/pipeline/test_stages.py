"""Steps of a run that combine packages: validation split, classes, scores of maps."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from singula.config import Config, config_from_dict
from singula.data.augment import AUGMENTATIONS
from singula.data.augment.intensity import Contrast
from singula.data.augment.regions import Cutout
from singula.data.dataset import Sample
from singula.errors import UserError
from singula.io.pairing import Pair, pair_files
from singula.labels import count_instances, with_class_channel
from singula.metrics import match, overlap, winning_classes
from singula.pipeline import from_config, load_data
from singula.pipeline.augmentation import CHANGE_OF_KEY, augment_settings
from singula.pipeline.label_issues import LabelIssues
from singula.pipeline.sample_sheets import draw_grid
from singula.pipeline.score import Scores, map_scores, score_lines
from singula.pipeline.split import fold_of, hold_out, split_pairs
from singula.representations.channels import encode
from singula.util.messages import messages_once


def samples(count: int, shape: tuple[int, ...] = (40, 90)) -> list[Sample]:
    found = []
    for number in range(count):
        # Every pixel is known by its value, so that shared pixels would be found.
        image = np.arange(np.prod(shape)).reshape(*shape, 1) + number * 10**6
        labels = (image % 7 == 0).astype(np.uint8)
        targets = {"B": labels[..., 0]}
        found.append(Sample(f"s{number}", image, labels, targets))
    return found


def values(parts: list[Sample]) -> set[int]:
    return {int(v) for s in parts for v in s.image.ravel()}


@settings(deadline=None, max_examples=30)
@given(st.integers(4, 12), st.floats(0.1, 0.5), st.booleans())
def test_whole_images_are_held_out_if_there_are_enough(
    count: int, fraction: float, random: bool
) -> None:
    every = samples(count, (4, 4))
    rng = np.random.default_rng(0) if random else None
    training, validation = hold_out(every, fraction, (2, 2), rng, reflect=False)
    held = round(count * fraction)
    if held == 0:
        return
    assert len(validation) == held
    assert {s.name for s in training} | {s.name for s in validation} == {s.name for s in every}
    assert not values(training) & values(validation)
    if not random:
        assert [s.name for s in validation] == [s.name for s in every[-held:]]


def test_a_part_of_a_single_image_is_held_out_without_shared_pixels() -> None:
    training, validation = hold_out(samples(1), 0.2, (32, 32), None, reflect=False)
    (a,), (b,) = training, validation
    assert not values(training) & values(validation)
    assert len(values(training) | values(validation)) == 40 * 90
    assert a.image.shape[:2] == (40, 58)
    assert b.image.shape[:2] == (40, 32)  # a fifth is 18, but a patch has to fit
    for part in (a, b):
        assert part.targets is not None
        np.testing.assert_array_equal(part.targets["B"], part.labels[..., 0])
        assert part.labels.shape[:2] == part.image.shape[:2]


def test_an_image_too_small_to_be_divided_is_reported() -> None:
    with pytest.raises(UserError, match=r"s0 \(40, 50\).*too small to hold out"):
        hold_out(samples(1, (40, 50)), 0.1, (32, 32), None, reflect=False)
    training, validation = hold_out(samples(1, (40, 50)), 0.1, (32, 32), None, reflect=True)
    assert training[0].image.shape[1] + validation[0].image.shape[1] == 50


def pairs_of(count: int) -> list[Pair]:
    return [Pair(Path(f"image_{number}.tif"), None, f"image_{number}") for number in range(count)]


def split_config(patch: tuple[int, ...] = (32, 32), **keys: object) -> Config:
    ndim = {} if len(patch) == 2 else {"PROBLEM.NDIM": "3D"}
    return config_from_dict({"TRAIN.ENABLE": True, "DATA.PATCH_SIZE": (*patch, 1), **ndim, **keys})


@pytest.mark.parametrize("reflect", [False, True])
@pytest.mark.parametrize("random", [False, True])
@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("shape", [(32, 32), (40, 63), (16, 16)])
def test_one_of_few_images_of_one_patch_is_held_out(shape, count, random, reflect) -> None:
    keys = {"DATA.VAL.RANDOM": random, "DATA.REFLECT_TO_COMPLETE_SHAPE": reflect}
    config, pairs = split_config(**keys), pairs_of(count)
    parts = split_pairs(config, pairs, [shape] * count)
    assert parts is not None
    training, validation = parts
    assert len(validation) == 1
    assert sorted(p.name for p in training + validation) == [p.name for p in pairs]
    if not random:
        assert validation == pairs[-1:]
    # Each process and each later command divides them alike.
    assert split_pairs(config, list(pairs), [shape] * count) == parts


def test_few_large_images_are_divided_and_many_images_are_not() -> None:
    config = split_config()
    assert split_pairs(config, pairs_of(4), [(32, 64)] * 4) is None
    assert split_pairs(config, pairs_of(1), [(32, 32)]) is None  # `hold_out` refuses it
    # One small image among large ones
    parts = split_pairs(config, pairs_of(4), [(64, 64), (64, 64), (32, 32), (64, 64)])
    assert parts is not None
    assert len(parts[1]) == 1
    ten = split_pairs(config, pairs_of(10), [(32, 32)] * 10)
    assert ten is not None
    assert len(ten[1]) == 1
    # A fraction of nearly all images keeps one for the training.
    most = split_pairs(split_config(**{"DATA.VAL.SPLIT_TRAIN": 0.9}), pairs_of(2), [(32, 32)] * 2)
    assert most is not None
    assert [len(part) for part in most] == [1, 1]
    volume = split_config((16, 32, 32))
    assert split_pairs(volume, pairs_of(3), [(32, 32, 32)] * 3) is None
    assert split_pairs(volume, pairs_of(3), [(31, 32, 32)] * 3) is not None


def test_fewer_images_than_folds_are_refused() -> None:
    keys = {"DATA.VAL.CROSS_VAL": True, "DATA.VAL.CROSS_VAL_NFOLD": 5}
    with pytest.raises(UserError, match="CROSS_VAL_NFOLD"):
        split_pairs(split_config(**keys), pairs_of(4), [(32, 32)] * 4)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000))
def test_the_class_of_an_instance_is_the_majority_of_its_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, (12, 13)).astype(np.uint8)
    classes = rng.integers(0, 4, (12, 13)).astype(np.uint8)
    stacked = with_class_channel(labels, *winning_classes(overlap(labels, classes)))
    np.testing.assert_array_equal(stacked[..., 0], labels)
    result = stacked[..., 1]
    assert (result[labels == 0] == 0).all()
    for number in np.unique(labels[labels > 0]):
        votes = np.bincount(classes[labels == number], minlength=4)[1:]
        expected = votes.argmax() + 1 if votes.any() else 0
        assert set(result[labels == number]) == {expected}


@given(st.lists(st.integers(0, 300), max_size=40))
def test_ids_are_counted_without_background(ids: list[int]) -> None:
    labels = np.array(ids, np.uint16).reshape(len(ids), 1)
    assert count_instances(labels) == len(set(ids) - {0})


def test_probabilities_of_large_images_have_half_precision() -> None:
    keys = {"PROBLEM": {"NDIM": "2D"}, "DATA": {"TEST": {"PATH": "x"}}}
    config = config_from_dict({**keys, "TEST": {"ENABLE": True}})
    assert not from_config.in_half(config, (8000, 8000))
    assert from_config.in_half(config, (8001, 8000))
    config = config_from_dict({**keys, "TEST": {"ENABLE": True, "REDUCE_MEMORY": True}})
    assert from_config.in_half(config, (8, 8))


def test_d_is_scored_inside_instances_only() -> None:
    rng = np.random.default_rng(0)
    labels = np.zeros((30, 30), np.uint8)
    labels[3:14, 4:18] = 1
    truth = encode(labels, "BCD")
    maps = {name: rng.random((30, 30)).astype(np.float32) for name in truth}
    outside = dict(maps, D=np.where(labels > 0, maps["D"], 99))
    assert map_scores(truth, outside, labels > 0) == map_scores(truth, maps, labels > 0)


def test_rows_of_the_table_end_with_mean_and_pooled_scores() -> None:
    scores = Scores()
    truth = np.zeros((8, 8), np.uint8)
    truth[:4, :4], truth[5:, 5:] = 1, 2
    for name, prediction in (("a", truth), ("b", np.where(truth == 1, 1, 0))):
        scores.matches.setdefault("per_image", {})[name] = match(truth, prediction, (0.5,))
        scores.add_maps(name, "per_image", {"iou_B": 0.5 if name == "a" else 1.0})
    rows = scores.rows()
    assert [row["image"] for row in rows] == ["a", "b", "mean over images", "pooled over objects"]
    assert rows[2]["f1"] == pytest.approx((1 + 2 / 3) / 2)
    assert rows[3]["f1"] == pytest.approx(2 * 3 / (2 * 3 + 1))
    assert rows[2]["per_image_iou_B"] == 0.75
    text = "\n".join(score_lines(scores))
    assert "0.833" in text
    assert "0.857" in text
    assert "iou B 0.750" in text


def test_settings_come_from_their_keys() -> None:
    config = config_from_dict(
        {
            "PROBLEM": {"NDIM": "3D", "INSTANCE_SEG": {"DATA_CHANNELS": "BCD"}},
            "DATA": {"PATCH_SIZE": "(8, 32, 32, 2)", "TEST": {"RESOLUTION": "(3, 1, 1)"}},
            "MODEL": {"N_CLASSES": 5, "Z_DOWN": [1, 1, 2], "FEATURE_MAPS": [4, 8, 16, 32]},
            "AUGMENTOR": {"ENABLE": True, "RANDOM_ROT": True, "RANDOM_ROT_RANGE": "(-9, 9)"},
            "TRAIN": {"ENABLE": True},
        }
    )
    model = from_config.model_settings(config)
    assert (model.ndim, model.in_channels, model.out_channels, model.n_classes) == (3, 2, 3, 5)
    assert model.z_down == (1, 1, 2)
    outputs = from_config.outputs(config)
    assert [(o.name, o.loss, o.foreground_only) for o in outputs] == [
        ("B", "bce", False),
        ("C", "bce", False),
        ("D", "l1", True),
    ]
    assert from_config.spacing(config, "TEST") == (3, 1, 1)
    assert from_config.spacing(config, "TRAIN") is None
    augment = augment_settings(config)
    assert augment is not None
    assert augment.rotation == (-9, 9)
    assert augment.zoom is None


@given(st.integers(2, 30), st.integers(2, 8), st.booleans(), st.integers(0, 9))
def test_every_image_is_in_exactly_one_fold(
    count: int, folds: int, random: bool, seed: int
) -> None:
    def parts() -> list[set[int]]:
        return [
            fold_of(count, folds, n, np.random.default_rng(seed) if random else None)
            for n in range(1, folds + 1)
        ]

    if count < folds:
        with pytest.raises(UserError, match=f"{folds} folds, expected at most {count} training"):
            parts()
        return
    assert sorted(i for part in parts() for i in part) == list(range(count))
    sizes = [len(part) for part in parts()]
    assert max(sizes) - min(sizes) <= 1
    assert parts() == parts()


def test_ids_with_several_components_are_reported_in_one_line(messages: list[str]) -> None:
    notes = LabelIssues()
    for name, ids in (("whole", [0, 1, 1]), ("torn", [1, 0, 1]), ("worse", [2, 0, 2])):
        notes.add(name, np.array([ids], np.uint8))
    notes.report("train")
    (line,) = messages
    assert line.startswith("train: 2 ids in 2 label images")
    assert "1 in torn" in line


def test_labels_that_do_not_show_the_objects_are_named_before_a_run(messages: list[str]) -> None:
    notes = LabelIssues()
    drawn = np.zeros((40, 40), np.uint16)
    drawn[5:15, 5:15], drawn[20:30, 20:35] = 1, 2
    notes.add("sound", drawn)
    notes.add("raised", drawn + 1)
    notes.add("inverted", np.where(drawn == 0, 255, 0).astype(np.uint8))
    notes.report("train")
    (line,) = messages
    assert line.startswith("ATTENTION: train: 2 label images")
    assert "raised" in line
    assert "singula check" in line


def test_every_change_has_a_key_and_changes_follow_the_order_of_the_table() -> None:
    keys = dict.fromkeys(CHANGE_OF_KEY, True)
    more = {"MISALIGNMENT": True, "COUT_APPLY_TO_MASK": True, "CONTRAST_EM_MODE": "2d"}
    train = {"TRAIN.ENABLE": True}
    config = config_from_dict({**train, "AUGMENTOR": {"ENABLE": True, **keys, **more}})
    augment = augment_settings(config)
    assert augment is not None
    assert augment.misalignment == 16
    assert len(augment.changes) == len(CHANGE_OF_KEY)
    found = [type(change) for change in augment.changes]
    assert tuple(dict.fromkeys(found)) == AUGMENTATIONS
    assert Contrast((-0.1, 0.1), about_mean=False, per_slice=True) in augment.changes
    assert Cutout((1, 3), (0.05, 0.3), 0.0, labels_too=True) in augment.changes
    off = config_from_dict({**train, "AUGMENTOR": {"ENABLE": False, **keys}})
    assert augment_settings(off) is None


def test_a_grid_is_drawn_on_a_copy_of_the_plane() -> None:
    image = np.zeros((2, 20, 40, 1), np.uint8)
    image[0, 0, 0] = 7
    lines = draw_grid(image, (2, 16, 32)) == 7
    assert image.sum() == 7
    assert lines[:, :, 2::4].all()
    assert lines[:, 2::4].all()
    assert not lines[1, 0, 0]


def test_a_run_explains_how_files_are_paired_once(tmp_path: Path, messages: list[str]) -> None:
    with messages_once():
        for part in ("train", "val", "test", "test"):
            for kind, name in (("x", "{}.tif"), ("y", "{}_mask.tif")):
                folder = tmp_path / part / kind
                folder.mkdir(parents=True, exist_ok=True)
                for number in "ab":
                    (folder / name.format(part + number)).touch()
            key = f"DATA.{part.upper()}"
            pairs = pair_files(tmp_path / part / "x", tmp_path / part / "y", key, f"{key}.GT")
            load_data._log_pairing(part.upper(), pairs)
    assert len(messages) == 3
    assert ["without words" in line for line in messages] == [True, False, False]
    for line, part in zip(messages, ("train", "val", "test"), strict=True):
        assert f"{part}a.tif ↔ {part}a_mask.tif" in line

from __future__ import annotations

import numpy as np
import pytest

from singula.errors import UserError
from singula.io.write import write_csv
from singula.metrics import color_associations, fp_columns, gt_columns, match

GREEN, RED, BLUE = (0, 255, 0), (255, 0, 0), (0, 0, 255)
MAGENTA, YELLOW, BLACK = (255, 0, 255), (255, 255, 0), (0, 0, 0)


def strip() -> tuple[np.ndarray, np.ndarray]:
    """Return a row of twenty pixels with every case."""
    truth = np.repeat([9, 0, 5, 0, 2], [6, 2, 4, 2, 6]).astype(np.uint16)[None]
    pred = np.repeat([0, 8, 0, 3, 0, 8, 0], [1, 6, 3, 4, 3, 0, 3]).astype(np.int32)[None]
    return truth, pred


def test_rows_contain_every_true_object_once_and_the_false_positives():
    truth, pred = strip()
    (score,) = match(truth, pred, [0.5])
    columns = gt_columns(score)
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    assert rows == [
        {"gt_id": 2, "pred_id": None, "iou": None, "tag": "FN"},
        {"gt_id": 5, "pred_id": None, "iou": None, "tag": "FN"},
        {"gt_id": 9, "pred_id": 8, "iou": pytest.approx(5 / 7), "tag": "TP"},
    ]
    assert {name: list(values) for name, values in fp_columns(score).items()} == {"pred_id": [3]}


def test_files_of_associations_contain_integer_ids(tmp_path):
    (score,) = match(*strip(), [0.5])
    lines = write_csv(tmp_path / "gt.csv", gt_columns(score)).read_text().splitlines()
    assert lines[:3] == ["gt_id,pred_id,iou,tag", "2,,,FN", "5,,,FN"]
    assert lines[3].startswith("9,8,0.714285")
    empty = np.zeros((3, 4), np.uint8)
    (score,) = match(empty, empty, [0.5])
    assert write_csv(tmp_path / "fp.csv", fp_columns(score)).read_text() == "pred_id\n"


@pytest.mark.parametrize("shift", [0, 2**31])
def test_colors_distinguish_the_cases(shift):
    truth, pred = (np.where(x > 0, x.astype(np.int64) + shift, 0) for x in strip())
    (score,) = match(truth, pred, [0.5])
    picture = color_associations(truth, pred, score)
    assert picture.shape == (1, 20, 3)
    assert picture.dtype == np.uint8
    expected = [BLACK, *[GREEN] * 6, BLACK, *[RED] * 2, *[MAGENTA] * 2, *[BLUE] * 2, *[RED] * 6]
    np.testing.assert_array_equal(picture[0], expected)


def test_a_matched_prediction_over_a_missed_object_is_yellow():
    truth, pred = np.repeat([1, 2], [8, 3])[None], np.repeat([1, 0], [10, 1])[None]
    (score,) = match(truth, pred, [0.5])
    picture = color_associations(truth, pred, score)
    np.testing.assert_array_equal(picture[0, 7:], [GREEN, YELLOW, YELLOW, RED])


def test_volumes_are_colored():
    truth, pred = (np.stack([x, x[:, ::-1]]) for x in strip())
    (score,) = match(truth, pred, [0.5])
    picture = color_associations(truth, pred, score)
    assert picture.shape == (2, 1, 20, 3)
    np.testing.assert_array_equal(picture[0], picture[1, :, ::-1])


def test_an_empty_image_is_black():
    empty = np.zeros((3, 4), np.uint8)
    (score,) = match(empty, empty, [0.5])
    assert not any(map(len, [*gt_columns(score).values(), *fp_columns(score).values()]))
    assert not color_associations(empty, empty, score).any()


def test_shapes_must_agree():
    truth, pred = strip()
    (score,) = match(truth, pred, [0.5])
    with pytest.raises(UserError, match="shape"):
        color_associations(truth, pred[:, 1:], score)

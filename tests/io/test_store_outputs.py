"""Results in an object store: equal to local ones, and never incomplete."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from s3_server import failing_s3, serving_s3, use_own_options
from store_server import StoreServer, every

from singula.errors import UserError
from singula.inference import Model, load, plan_predictions, predict_files
from singula.io.output_folder import UPLOADS_VARIABLE, OutputFolder
from singula.io.read import read_labels
from singula.io.write import write_tiff
from singula.io.write_zarr import write_zarr_labels
from singula.synthetic.fluorescence import make_image
from singula.util.locations import location
from singula.util.object_stores import RecentAnswers, list_names, open_store, read_file
from singula.util.paths import user_path
from singula.util.store_uploads import INCOMPLETE, delete_file

pytest.importorskip("obstore", reason="the extra stores is not installed")

Predict = Callable[..., dict[str, UserError]]
URL = "s3://results/plate"


@pytest.fixture(scope="module")
def s3_port() -> Iterator[int]:
    with serving_s3("results") as (port, _):
        yield port


@pytest.fixture
def s3(s3_port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StoreServer]:
    """Server that can fail in front of an S3 server with an empty bucket."""
    import obstore

    use_own_options(monkeypatch, tmp_path)
    monkeypatch.setenv(UPLOADS_VARIABLE, str(tmp_path / "uploads"))
    with failing_s3(s3_port, monkeypatch) as running:
        store = open_store("s3://results")
        paths = [entry["path"] for batch in obstore.list(store) for entry in batch]
        if paths:
            obstore.delete(store, paths)
        RecentAnswers.forget()
        yield running


@pytest.fixture(scope="module")
def model() -> Model:
    return load("nuclei", device="cpu")


@pytest.fixture
def predict(model: Model, tmp_path: Path) -> Predict:
    """Function that predicts an image, and returns the errors."""
    image = tmp_path / "cells.tif"
    pixels = make_image((64, 80), np.random.default_rng(0)).image
    write_tiff(image, pixels.reshape(64, 80), "YX", (0.5, 0.25), "µm")

    def predict_image(output: Any = URL, **options: Any) -> dict[str, UserError]:
        flags = {"tables": True, "overlays": True}
        resume = options.pop("resume", False)
        overwrite = options.pop("overwrite", resume)
        tasks = plan_predictions(model, [image], output, overwrite=overwrite, **flags)
        return predict_files(model, tasks, output, augment=False, resume=resume, **flags, **options)

    return predict_image


def _labels(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(1, 9, (1100, 40), np.uint32)


def _readable(url: str) -> np.ndarray | None:
    """Return the labels at a URL; None if no reader finds an image there."""
    RecentAnswers.forget()
    try:
        return read_labels(url, 2).array[..., 0]
    except UserError:
        return None


def test_results_equal_those_on_the_disk(s3, predict: Predict, tmp_path: Path) -> None:
    assert predict() == predict(tmp_path / "local") == {}
    assert list_names(URL) == ["cells.zarr", "cells_overlay.png", "cells_stats.csv"]
    local, remote = (
        read_labels(tmp_path / "local/cells.tif", 2),
        read_labels(f"{URL}/cells.zarr", 2),
    )
    assert local.array.max() > 3
    np.testing.assert_array_equal(remote.array, local.array)
    assert (remote.spacing, remote.unit) == (local.spacing, local.unit)
    for name in ("cells_stats.csv", "cells_overlay.png"):
        assert read_file(f"{URL}/{name}") == (tmp_path / "local" / name).read_bytes()
    assert not (tmp_path / "uploads").exists() or not [*(tmp_path / "uploads").rglob("*.*")]


def test_results_in_blocks(s3, predict: Predict, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("singula.inference.files.available_memory", lambda config: 1)
    assert predict() == predict(tmp_path / "local") == {}
    assert list_names(URL) == ["cells.zarr", "cells_overlay.png", "cells_stats.csv"]
    np.testing.assert_array_equal(
        read_labels(f"{URL}/cells.zarr", 2).array,
        read_labels(tmp_path / "local/cells.zarr", 2).array,
    )


def test_existing_results_are_kept_without_a_flag(s3, predict: Predict) -> None:
    predict()
    with pytest.raises(UserError) as caught:
        predict()
    assert caught.value.code == "predict.exists"
    table, labels = f"{URL}/cells_stats.csv", read_labels(f"{URL}/cells.zarr", 2).array
    first, rows = read_file(table)[:20], read_file(table).count(b"\n")
    delete_file(table)
    assert predict(resume=True) == {}  # from the label image in the store
    assert (read_file(table)[:20], read_file(table).count(b"\n")) == (first, rows)
    assert predict(overwrite=True) == {}
    np.testing.assert_array_equal(read_labels(f"{URL}/cells.zarr", 2).array, labels)
    assert list_names(URL) == ["cells.zarr", "cells_overlay.png", "cells_stats.csv"]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("403", "stores.denied"),
        pytest.param("503", "stores.failed", marks=pytest.mark.slow),
        pytest.param("drop", "stores.failed", marks=pytest.mark.slow),
    ],
)
def test_an_upload_that_fails_is_completed_by_resume(
    s3, predict: Predict, tmp_path: Path, monkeypatch, fault: str, code: str
) -> None:
    s3.fault = lambda path, number: fault if "/0/c/" in path else ""
    (error,) = predict().values()
    assert error.code == code
    assert "--resume" in (error.hint or "")
    assert _readable(f"{URL}/cells.zarr") is None
    s3.fault = lambda path, number: ""
    with monkeypatch.context() as patch:  # the results are complete on this computer
        patch.setattr(Model, "predict_maps", None)
        assert predict(resume=True) == {}
    assert predict(tmp_path / "local") == {}
    np.testing.assert_array_equal(
        _readable(f"{URL}/cells.zarr"), read_labels(tmp_path / "local/cells.tif", 2).array[..., 0]
    )
    assert list_names(URL) == ["cells.zarr", "cells_overlay.png", "cells_stats.csv"]
    assert INCOMPLETE not in list_names(f"{URL}/cells.zarr")


@pytest.mark.parametrize("fault", ["503", "drop"])
def test_requests_that_fail_now_and_then_are_repeated(s3, tmp_path: Path, fault: str) -> None:
    labels = _labels(np.random.default_rng(0))
    folder = OutputFolder(location(URL))
    write_zarr_labels(folder.local / "a.zarr", labels, 2)
    s3.fault = every(3, fault)
    folder.check()
    folder.publish("a.zarr", [])
    np.testing.assert_array_equal(_readable(f"{URL}/a.zarr"), labels)


@pytest.mark.slow
def test_an_upload_that_ends_after_any_request_is_not_taken_for_a_complete_one(s3) -> None:
    """A label image with several chunks and levels replaces another one."""
    rng = np.random.default_rng(0)
    folder, url = OutputFolder(location(URL)), f"{URL}/a.zarr"
    old, n_hidden, n_completed = np.zeros(0), 0, 0
    for n_requests in range(30):
        new = _labels(rng)
        write_zarr_labels(folder.local / "a.zarr", new, 2)
        s3.fault = _until(n_requests)
        with suppress(UserError):
            folder.publish("a.zarr", [])
            n_completed += 1
        s3.fault = lambda path, number: ""
        found = _readable(url)
        if found is None:
            n_hidden += 1
        else:
            assert np.array_equal(found, new) or np.array_equal(found, old)
        if folder.published("a.zarr") is not None and found is not None:
            assert np.array_equal(found, new if n_requests else old)
        if n_completed:
            break
        folder.publish("a.zarr", [])
        old = new
    assert n_completed == 1
    assert n_hidden > 5


def _until(last: int) -> Callable[[str, int], str]:
    numbers = iter(range(10**6))
    return lambda path, number: "403" if next(numbers) >= last else ""


def test_a_store_that_refuses_to_write_is_an_error_before_the_prediction(
    s3, predict: Predict, monkeypatch
) -> None:
    s3.fault = lambda path, number: "403" if INCOMPLETE in path else ""
    monkeypatch.setattr(Model, "predict_maps", None)
    with pytest.raises(UserError) as caught:
        predict()
    assert caught.value.code == "stores.denied"
    s3.fault = lambda path, number: ""
    with pytest.raises(UserError) as caught:
        predict("s3://no-such-bucket/plate")
    assert caught.value.code == "stores.missing"


def test_results_cannot_be_written_to_web_servers() -> None:
    for use in (
        lambda url: OutputFolder(location(url)),
        lambda url: user_path(url, "--output", "output"),
    ):
        with pytest.raises(UserError) as caught:
            use("https://127.0.0.1/plate")
        assert caught.value.code == "paths.remote"
        assert "s3://" in caught.value.message

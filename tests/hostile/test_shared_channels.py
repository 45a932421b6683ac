"""Several processes that store channels of the same labels in one folder."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from locks import held_elsewhere
from numpy.testing import assert_array_equal

from singula.config import config_from_dict
from singula.data.channel_store import ChannelStore
from singula.data.normalize import Normalizer
from singula.io.run_lock import lock_file
from singula.io.write import write_tiff
from singula.pipeline.load_data import find_pairs, load_samples
from singula.pipeline.train import _dataset
from singula.representations.channels import EncodeSettings, encode_with

ONE, TWO = EncodeSettings(("B", "C")), EncodeSettings(("B", "C"), contour_mode="inner")
COUNT = 12


def labels_of(number: int) -> np.ndarray:
    labels = np.zeros((48, 48), np.uint8)
    labels[4:20, 4:20], labels[20:40, 10 : 30 + number] = 1, 2
    return labels


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for number in range(COUNT):
        labels = labels_of(number)
        write_tiff(tmp_path / "x" / f"{number}.tif", (labels * 90).astype(np.uint8), "YX")
        write_tiff(tmp_path / "y" / f"{number}.tif", labels, "YX")
    return tmp_path


def store_of(data: Path, settings: EncodeSettings) -> ChannelStore:
    return ChannelStore(data / "x_BC", data / "y_BC", settings)


def ensure(store: ChannelStore, data: Path, number: int) -> None:
    name = f"{number}.tif"
    store.ensure(str(number), data / "x" / name, lambda: labels_of(number), data / "y" / name)


def check(store: ChannelStore, number: int) -> None:
    """Compare loaded channels with encoded ones."""
    labels = labels_of(number)
    expected = encode_with(store.settings, labels)
    for code, values in store.load(str(number), labels).items():
        assert_array_equal(values, expected[code])


def test_the_settings_differ() -> None:
    one, two = (encode_with(settings, labels_of(0)) for settings in (ONE, TWO))
    assert (one["C"] != two["C"]).any()


def test_one_process_waits_for_the_other(data: Path, messages: list[str]) -> None:
    store = store_of(data, ONE)
    thread = threading.Thread(target=ensure, args=(store, data, 0))
    with held_elsewhere(lock_file(data / "y_BC")) as process:
        thread.start()
        while not messages and thread.is_alive():
            thread.join(0.05)
        assert thread.is_alive()
        assert str(process.pid) in messages[0]
        assert not list(data.rglob("y_BC/*.tif"))
    thread.join()
    check(store, 0)
    assert len(messages) == 1
    assert not lock_file(data / "y_BC").exists()


def test_a_file_that_another_process_replaced_is_not_loaded(data: Path) -> None:
    first = store_of(data, ONE)
    ensure(first, data, 0)
    first.save()
    second = store_of(data, TWO)
    ensure(second, data, 0)
    check(first, 0)
    check(second, 0)


def test_processes_that_write_at_the_same_time(data: Path) -> None:
    """Stores exclude each other like processes."""
    failures: list[BaseException] = []
    barrier = threading.Barrier(2)

    def work(settings: EncodeSettings) -> None:
        try:
            with store_of(data, settings) as store:
                for number in range(COUNT):
                    barrier.wait()
                    ensure(store, data, number)
                    check(store, number)
        except BaseException as error:
            failures.append(error)
            barrier.abort()

    threads = [threading.Thread(target=work, args=(settings,)) for settings in (ONE, TWO)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    for settings in (ONE, TWO):
        with store_of(data, settings) as store:
            for number in range(COUNT):
                ensure(store, data, number)
                check(store, number)


def test_a_training_that_reads_from_disk_keeps_its_targets(data: Path) -> None:
    """Another training with other settings begins in the meantime."""
    part = {"PATH": str(data / "x"), "GT_PATH": str(data / "y"), "IN_MEMORY": False,
            "INSTANCE_CHANNELS_DIR": str(data / "x_BC"),
            "INSTANCE_CHANNELS_MASK_DIR": str(data / "y_BC")}  # fmt: skip
    config = config_from_dict(
        {
            "PROBLEM": {"TYPE": "INSTANCE_SEG", "NDIM": "2D",
                        "INSTANCE_SEG": {"DATA_CHANNELS": "BC"}},
            "DATA": {"PATCH_SIZE": "(48, 48, 1)", "TRAIN": part,
                     "VAL": {**part, "FROM_TRAIN": False}},
            "TRAIN": {"ENABLE": True},
        }
    )  # fmt: skip
    pairs = find_pairs(config, "VAL")

    def targets(between: Callable[[], object]) -> list[np.ndarray]:
        samples = load_samples(config, "VAL", pairs)
        between()
        dataset = _dataset(config, "VAL", samples, Normalizer(), 0)
        return [np.asarray(dataset[(0, index)]["target"]) for index in range(len(dataset))]

    def replace_all() -> None:
        with store_of(data, TWO) as other:
            for number in range(COUNT):
                ensure(other, data, number)
                check(other, number)

    expected = targets(lambda: None)
    assert len(expected) == COUNT
    assert_array_equal(targets(replace_all), expected)


def ignore(line: str) -> None:
    pass

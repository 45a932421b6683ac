"""Images that are processed at the same time have the results of one image after the other."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from singula.config import config_from_dict
from singula.errors import StorageError, UserError
from singula.pipeline.overlap import Stages, end_if_stopped, finishing_threads, run_stages
from singula.util.messages import print_messages

_log = logging.getLogger("singula.tests.overlap")
STAGES = ("read", "predict", "finish")


@dataclass
class Images:
    """Stages that count the images in progress, and fail as planned."""

    sizes: dict[int, int] = field(default_factory=dict)
    errors: dict[tuple[str, int], BaseException] = field(default_factory=dict)
    threads: dict[str, set[int]] = field(default_factory=lambda: {name: set() for name in STAGES})
    finished: list[int] = field(default_factory=list)
    in_progress: set[int] = field(default_factory=set)
    most: int = 0
    most_bytes: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def _enter(self, stage: str, image: int) -> None:
        self.threads[stage].add(threading.get_ident())
        _log.info(f"{stage} {image}")
        if (stage, image) in self.errors:
            raise self.errors[stage, image]

    def size(self, image: int) -> int:
        return self.sizes.get(image, 1)

    def read(self, image: int) -> int:
        with self.lock:
            self.in_progress.add(image)
            self.most = max(self.most, len(self.in_progress))
            self.most_bytes = max(self.most_bytes, sum(map(self.size, self.in_progress)))
        self._enter("read", image)
        return 10 * image

    def predict(self, image: int, read) -> int:
        value = read()
        self._enter("predict", image)
        return value + 1

    def finish(self, image: int, predicted: int) -> int:
        self._enter("finish", image)
        with self.lock:
            self.finished.append(image)
        return predicted

    def run(self, count: int, workers: int, memory: int = 1000) -> tuple[list, list[str]]:
        """Return the outcomes and messages, and the error that ended the run."""
        messages: list[str] = []
        outcomes: list = []
        stages = Stages(self.read, self.predict, self.finish, self.size)
        with print_messages(messages.append):
            try:
                for outcome in run_stages(range(count), stages, workers=workers, memory=memory):
                    error = outcome.error
                    outcomes.append((outcome.item, outcome.value, error and error.code))
                    messages.append(f"outcome of {outcome.item}")
                    self.in_progress.discard(outcome.item)
            except (StorageError, ValueError) as error:
                outcomes.append(type(error))
        return outcomes, messages


ERRORS = (
    lambda: UserError("bad pixels", None, "io.bad"),
    lambda: MemoryError("not enough memory"),
    lambda: StorageError("full", None, "storage.full"),
    lambda: ValueError("bug"),
)


@settings(max_examples=60)
@given(
    st.integers(0, 9),
    st.integers(1, 4),
    st.dictionaries(
        st.tuples(st.sampled_from(STAGES), st.integers(0, 8)), st.sampled_from(range(4)), max_size=4
    ),
    st.lists(st.integers(1, 4), min_size=9, max_size=9),
    st.integers(1, 12),
)
def test_threads_change_neither_outcomes_nor_messages(count, workers, errors, sizes, memory):
    def images() -> Images:
        planned = {key: ERRORS[kind]() for key, kind in errors.items()}
        return Images(sizes=dict(enumerate(sizes)), errors=planned)

    # The messages of an image that lacks memory are only those of the second attempt.
    alone, overlapping = images(), images()
    assert overlapping.run(count, workers, memory) == alone.run(count, 0)
    assert overlapping.most <= 2 * workers + 2
    assert overlapping.most_bytes <= max(memory, max(sizes[:count], default=0))


def test_only_the_last_stage_runs_in_several_threads() -> None:
    images, barrier = Images(), threading.Barrier(3)
    finish = images.finish

    def wait_for_others(image: int, predicted: int) -> int:
        barrier.wait(timeout=30)  # three images are finished at the same time
        return finish(image, predicted)

    images.finish = wait_for_others  # type: ignore[method-assign]
    outcomes, _ = images.run(9, 3)
    assert [item for item, _, _ in outcomes] == list(range(9))
    main = threading.get_ident()
    assert images.threads["predict"] == {main}
    assert len(images.threads["read"]) == 1
    assert len(images.threads["finish"]) == 3
    assert main not in images.threads["read"] | images.threads["finish"]


def test_the_next_images_are_read_and_predicted_while_an_image_is_finished() -> None:
    images, predicted = Images(), threading.Event()
    predict, finish = images.predict, images.finish

    def predict_image(image: int, read) -> int:
        result = predict(image, read)
        if image == 1:
            predicted.set()
        return result

    def wait_for_next(image: int, value: int) -> int:
        assert predicted.wait(timeout=30)
        return finish(image, value)

    images.predict, images.finish = predict_image, wait_for_next  # type: ignore[method-assign]
    assert len(images.run(2, 1)[0]) == 2


def test_an_image_that_lacks_memory_is_repeated_alone() -> None:
    images, second = Images(), threading.Event()
    finish, attempts = images.finish, []

    def lack_memory(image: int, predicted: int) -> int:
        if image == 1:
            second.set()
        if image == 0:
            attempts.append(set(images.in_progress))
            if len(attempts) == 1:
                assert second.wait(timeout=30)
                raise MemoryError("not enough memory")
        return finish(image, predicted)

    images.finish = lack_memory  # type: ignore[method-assign]
    outcomes, messages = images.run(4, 2)
    assert [(item, value, code) for item, value, code in outcomes] == [
        (image, 10 * image + 1, None) for image in range(4)
    ]
    assert messages[:4] == ["read 0", "predict 0", "finish 0", "outcome of 0"]
    assert images.threads["finish"] >= {threading.get_ident()}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit()])
def test_an_interruption_stops_the_threads(error) -> None:
    images = Images(errors={("predict", 2): error})
    started, stopping = threading.Event(), threading.Event()
    finish, ended = images.finish, []

    def finish_slowly(image: int, predicted: int) -> int:
        started.set()
        while not stopping.wait(0.001):
            try:
                end_if_stopped()
            except Exception:
                ended.append(image)
                raise
        return finish(image, predicted)

    predict = images.predict

    def predict_after_start(image: int, read) -> int:
        if image == 2:
            assert started.wait(timeout=30)
        return predict(image, read)

    images.finish, images.predict = finish_slowly, predict_after_start  # type: ignore[method-assign]
    before = threading.active_count()
    with pytest.raises(type(error)):
        images.run(5, 1)
    assert ended == [0]  # the image in progress; image 1 did not start
    assert images.finished == []
    assert threading.active_count() == before


def test_a_consumer_that_ends_stops_the_threads() -> None:
    images = Images()
    stages = Stages(images.read, images.predict, images.finish, images.size)
    before = threading.active_count()
    outcomes: Iterator = run_stages(range(50), stages, workers=2, memory=100)
    next(outcomes)
    outcomes.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
    assert len(images.finished) <= 7


@pytest.mark.parametrize(
    ("device", "cores", "expected"),
    [("cpu", 1, 0), ("cpu", 8, 1), ("cuda", 1, 1), ("cuda", 16, 15), ("cuda", 64, 16)],
)
def test_number_of_threads(monkeypatch, device, cores, expected) -> None:
    monkeypatch.setattr("singula.training.device.available_cores", lambda: cores)
    data = {"PATCH_SIZE": "(32, 32, 1)", "TEST": {"PATH": "x"}}
    keys = {"PROBLEM": {"NDIM": "2D"}, "DATA": data, "TEST": {"ENABLE": True}}
    config = config_from_dict(keys)
    assert finishing_threads(config, device) == expected


def test_the_application_receives_each_message_once() -> None:
    received, package = list[str](), logging.getLogger("singula")
    second_begins, second_ends = threading.Event(), threading.Event()

    class Application(logging.Handler):
        """Handler that lets the second image end while it receives a message of the first."""

        def emit(self, record: logging.LogRecord) -> None:
            received.append(record.getMessage())
            second_ends.set()
            deadline = time.monotonic() + 0.3
            while not package.propagate and time.monotonic() < deadline:
                time.sleep(0.001)

    def finish(image: int, _: None) -> None:
        if image == 1:
            second_begins.set()
            second_ends.wait(10)
        else:
            second_begins.wait(10)
            _log.warning("one")

    stages = Stages(lambda _: None, lambda _, read: read(), finish, lambda _: 1)
    application = Application()
    logging.getLogger().addHandler(application)
    try:
        list(run_stages([0, 1], stages, workers=2, memory=2))
    finally:
        logging.getLogger().removeHandler(application)
    assert received == ["one"]
    assert package.propagate

"""The search compared with exhaustive search, and the tuner with plain decoding."""

import itertools
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from singula.config import Config
from singula.errors import UserError
from singula.metrics import match
from singula.representations.channels import encode
from singula.representations.decoders import DECODERS, DecodeSettings, decode
from singula.representations.table import find_decoder
from singula.representations.thresholds import THRESHOLDS
from singula.synthetic.fluorescence import make_image
from singula.tuning import Example, Steps, Tuner
from singula.tuning.results import search_thresholds
from singula.tuning.search import Search
from singula.tuning.space import SIZE, Parameter, size_parameter


def truth_of(seed: int, ndim: int = 2) -> np.ndarray:
    shape = (72, 80) if ndim == 2 else (10, 40, 40)
    return make_image(shape, np.random.default_rng(seed)).labels


def predictions(truth: np.ndarray, channels: str, seed: int) -> dict[str, np.ndarray]:
    """Return maps as of a mediocre network: blurred, faint, noisy."""
    rng = np.random.default_rng(seed)
    maps = {}
    for name, values in encode(truth, channels).items():
        blurred = gaussian_filter(values.astype(np.float32), 1.2)
        noise = gaussian_filter(rng.normal(size=truth.shape), 1.0).astype(np.float32)
        strength = 0.35 * (blurred.max() if name == "D" else 1)
        made = 0.7 * blurred + strength * noise
        maps[name] = np.clip(made, 0, None if name == "D" else 1).astype(np.float32)
    return maps


def example(seed: int, channels: str, ndim: int = 2) -> Example:
    truth = truth_of(seed, ndim)
    maps = predictions(truth, channels, seed)
    return Example(f"image{seed}", truth.shape, lambda: (maps, truth))


def tuner(channels: str = "BC", count: int = 2, ndim: int = 2, **keys: object) -> Tuner:
    found = [example(seed, channels, ndim) for seed in range(count)]
    return Tuner(found, channels, DecodeSettings.from_keys(keys))


PARAMETERS = (
    Parameter("a", 0, 1, tuple(np.linspace(0, 1, 5))),
    Parameter("b", 0, 1, tuple(np.linspace(0, 1, 5))),
)


@given(st.tuples(st.floats(0, 1), st.floats(0, 1)), st.floats(0.2, 3), st.floats(-0.5, 0.5))
@settings(max_examples=60, deadline=None)
def test_the_maximum_is_found(top: tuple[float, float], stretch: float, slope: float) -> None:
    """The result is as good as a fine grid, for any position, width and direction."""

    def hill(point: dict[str, float]) -> float:
        a, b = point["a"] - top[0], point["b"] - top[1]
        return -(a * a + stretch * b * b + slope * stretch**0.5 * a * b)

    search = Search(hill, PARAMETERS, {"a": 0.5, "b": 0.5})
    search.grid(["a", "b"])
    assert len(search.evaluations) == 25
    coarse = search.best.value
    search.refine()
    grid = np.linspace(0, 1, 51)
    best = max(hill({"a": a, "b": b}) for a, b in itertools.product(grid, grid))
    assert search.best.value >= max(coarse, best - 2e-3)
    assert search.best.value == max(point.value for point in search.evaluations.values())


@given(
    st.tuples(st.floats(0.05, 0.9), st.floats(0.05, 0.9)),
    st.tuples(st.floats(0.02, 1), st.floats(0.02, 1)),
)
@settings(max_examples=60, deadline=None)
def test_the_center_of_a_plateau_is_chosen(low, width) -> None:
    """On a plateau with a slope: its center, or at least a tenth of the range from its ends."""
    high = tuple(min(start + size, 1.0) for start, size in zip(low, width, strict=True))

    def plateau(point: dict[str, float]) -> float:
        outside = (
            max(start - value, value - end, 0)
            for start, value, end in zip(low, point.values(), high, strict=True)
        )
        return -sum(outside)

    search = Search(plateau, PARAMETERS, {"a": 0.5, "b": 0.5})
    search.grid(["a", "b"])
    search.refine()
    before = search.best
    search.center()
    assert search.best.value >= before.value
    if before.value < 0:
        return  # a plateau narrower than the last steps
    for value, start, end in zip(search.best.point.values(), low, high, strict=True):
        wanted = min(0.05, (end - start) / 2 - 0.02)
        below, above = start > 0, end < 1
        assert not below or value - start >= wanted - 1e-3
        assert not above or end - value >= wanted - 1e-3


def test_refined_search_equals_exhaustive_search() -> None:
    tuned = tuner("BP", GROW_INTO_CONTOUR=True)
    trials, chosen = tuned.search()
    best = chosen.value
    assert best == max(trial.value for trial in trials)
    grid = np.round(np.linspace(0.05, 0.95, 19), 3)
    sizes = tuned.parameters()[-1].values
    every = [
        tuned.score({"TH_POINTS": p, "TH_BINARY_MASK": b, SIZE: int(s)}).value
        for p, b, s in itertools.product(grid, grid, sizes)
    ]
    assert best >= max(every) - 0.02
    assert best > trials[0].value
    assert len(trials) < len(every) / 3


@pytest.mark.parametrize("channels", DECODERS)
def test_the_result_is_never_worse_and_reproducible(channels: str) -> None:
    (first, one), (second, other) = (tuner(channels).search() for _ in range(2))
    assert one.value == max(t.value for t in first)
    assert one.thresholds == other.thresholds
    assert [t.thresholds for t in first] == [t.thresholds for t in second]
    assert [t.value for t in first] == [t.value for t in second]
    # What was searched reaches the decoder
    assert len({t.value for t in first}) > 3


@pytest.mark.parametrize(
    "extra", [{}, {"REMOVE_BEFORE_MW": True}, {"REMOVE_SMALL_OBJ_AT_BORDER": 12}]
)
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_scores_equal_decoding_and_matching(extra: dict[str, object], data) -> None:
    tuned = tuner("BC", **extra)
    keys = {
        "TH_BINARY_MASK": data.draw(st.floats(0.1, 0.9)),
        "TH_CONTOUR": data.draw(st.floats(0.1, 0.9)),
        "TH_FOREGROUND": data.draw(st.floats(0.1, 0.9)),
        SIZE: data.draw(st.integers(0, 60)),
    }
    trial = tuned.score(keys)
    plain = DecodeSettings.from_keys({**extra, **keys})
    expected = []
    for number, one in enumerate(tuned.examples):
        maps, truth = one.read()
        labels = decode(maps, "BC", settings=plain).labels
        expected.append(match(truth, labels, (0.5,))[0])
        found, score = tuned.decode(keys, number)
        np.testing.assert_array_equal(found, labels)
        assert (score.tp, score.fp, score.fn) == (expected[-1].tp, expected[-1].fp, expected[-1].fn)
    assert trial.value == pytest.approx(np.mean([m.panoptic_quality for m in expected]), abs=1e-12)
    assert [(m.tp, m.fp) for m in trial.images] == [(m.tp, m.fp) for m in expected]


def flow_channels(shape: tuple[int, ...]) -> str:
    return "F+Gh+Gv+Gz" if len(shape) == 3 else "F+Gh+Gv"


@cache
def flow_example(shape: tuple[int, ...], spacing: tuple[float, ...], seed: int) -> Example:
    """Return an image of boxes whose flow errors and sizes differ."""
    rng = np.random.default_rng(seed)
    at = np.indices(shape)
    places, counts = at // 12, [size // 12 + 1 for size in shape]
    numbers = np.ravel_multi_index(tuple(places), counts) + 1
    widths = rng.integers(4, 12, (len(shape), numbers.max() + 1))[:, numbers]
    truth = np.where((at % 12 < widths).all(axis=0), numbers, 0)
    maps = encode(truth, flow_channels(shape), spacing=spacing)
    strength = rng.uniform(0.3, 1.0, truth.max() + 1)[truth]  # shorter flows have larger errors
    for name in maps:
        noise = gaussian_filter(rng.normal(size=shape), 1).astype(np.float32)
        factor = strength if name != "F" else 1
        maps[name] = (factor * maps[name] + 0.3 * noise).astype(np.float32)
    return Example(f"image{seed}", shape, lambda: (maps, truth), spacing)


FLOW_IMAGES = [
    ((72, 80), (1.0, 1.0), 0),
    ((56, 64), (1.0, 2.0), 1),
    ((26, 30, 32), (2.0, 1.0, 1.0), 2),
    ((1, 48, 48), (1.0, 1.0, 1.0), 3),
]


@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_scores_of_removed_flows_equal_decoding_and_matching(data) -> None:
    """Instances with wrong flows are removed from the overlap table as the decoder does it."""
    one = flow_example(*data.draw(st.sampled_from(FLOW_IMAGES)))
    extra = {
        "REMOVE_SMALL_OBJ_AT_BORDER": data.draw(st.sampled_from([-1, 12])),
        "REMOVE_BEFORE_MW": data.draw(st.booleans()),
    }
    channels = flow_channels(one.shape)
    tuned = Tuner([one], channels, DecodeSettings.from_keys(extra))
    maps, truth = one.read()
    for error in (0.0, *data.draw(st.tuples(st.floats(0.001, 0.5), st.floats(0.1, 1.5)))):
        keys = {
            "TH_FLOW_ERROR": error,
            "TH_FLOW_STEPS": data.draw(st.sampled_from([20, 200])),
            "TH_FOREGROUND": data.draw(st.sampled_from([0.3, 0.5])),
            SIZE: data.draw(st.sampled_from([0, 20])),
        }
        trial = tuned.score(keys)
        plain = DecodeSettings.from_keys({**extra, **keys})
        labels = decode(maps, channels, settings=plain, spacing=one.spacing).labels
        expected, found = match(truth, labels, (0.5,))[0], trial.images[0]
        assert (found.tp, found.fp, found.fn) == (expected.tp, expected.fp, expected.fn)
        assert trial.value == pytest.approx(expected.panoptic_quality, abs=1e-12)


def test_a_search_decodes_once_for_all_flow_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []

    def counted(*args, **kwargs):
        decoded.append(1)
        return decode(*args, **kwargs)

    monkeypatch.setattr("singula.tuning.tuner.decode", counted)
    trials, _ = Tuner([flow_example(*FLOW_IMAGES[0])], "F+Gh+Gv", DecodeSettings()).search()
    errors = {trial.thresholds.get("TH_FLOW_ERROR") for trial in trials}
    others = {
        (trial.thresholds.get("TH_FLOW_STEPS"), trial.thresholds.get("TH_FOREGROUND"))
        for trial in trials
    }
    assert len(errors) > 5
    assert len(decoded) <= len(others) + 1  # and the thresholds at the start


def test_without_thresholds_the_configuration_is_used() -> None:
    automatic = tuner("BC")
    maps, _ = automatic.maps(0)
    labels, _ = automatic.decode({})
    np.testing.assert_array_equal(labels, decode(maps, "BC").labels)
    start = automatic.start()
    thresholds = [decode(e.read()[0], "BC").thresholds for e in automatic.examples]
    assert start["TH_CONTOUR"] == pytest.approx(np.mean([t["TH_CONTOUR"] for t in thresholds]))
    manual = tuner("BC", TH_BINARY_MASK=0.3, REMOVE_SMALL_OBJ=7)
    assert manual.start() | {"TH_BINARY_MASK": 0.3, SIZE: 7} == manual.start()


def test_post_processing_is_included() -> None:
    def none(labels: np.ndarray, maps: object, sizes: object) -> np.ndarray:
        return np.zeros_like(labels)

    plain = tuner("BC")
    emptied = Tuner(plain.examples, "BC", DecodeSettings(), steps=Steps(instances=none))
    assert emptied.decode({})[0].max() == 0
    assert plain.score({}).value > 0 == emptied.score({}).value
    seedless = Tuner(
        plain.examples, "BC", DecodeSettings(), steps=Steps(seeds=lambda seeds, sizes: seeds * 0)
    )
    assert seedless.decode({})[0].max() == 0


def test_only_thresholds_with_an_effect_are_searched() -> None:
    def groups(channels: str, *, into_contour: bool) -> tuple[tuple[str, ...], ...]:
        return DECODERS[channels].threshold_groups(into_contour=into_contour)

    b, c, f = "TH_BINARY_MASK", "TH_CONTOUR", "TH_FOREGROUND"
    assert groups("BC", into_contour=False) == ((b, c), (f,))
    assert groups("BC", into_contour=True) == ((b, c), ())
    assert groups("BP", into_contour=False) == (("TH_POINTS",), (f,))
    assert groups("BP", into_contour=True) == (("TH_POINTS",), (b,))
    assert groups("BCM", into_contour=True) == ((b, c), (f,))
    bcd = groups("BCD", into_contour=False)
    assert bcd == ((b, "TH_DISTANCE", c), (f, "TH_DIST_FOREGROUND"))
    assert groups("BCDv2", into_contour=False) == ((b, "TH_DISTANCE", c), ())
    assert groups("Dv2", into_contour=False) == (("TH_DISTANCE",), ())
    assert size_parameter([100, 200, 300], 10).values == (0, 10, 25, 50)
    assert size_parameter([], 10).values == (0, 10)


def test_volumes_and_images_that_do_not_fit_into_memory(monkeypatch) -> None:
    import singula.tuning.tuner as module

    whole = tuner("BCD", ndim=3).score({"TH_DISTANCE": 2.0}).value
    monkeypatch.setattr(module, "_MAX_CACHE", 0)
    assert tuner("BCD", ndim=3).score({"TH_DISTANCE": 2.0}).value == whole


def test_mistakes_are_named() -> None:
    one = [example(0, "BC")]
    for metric, iou, words in (
        ("ap", 0.5, "got 'ap', expected one of pq, f1"),
        ("pq", 0, "above 0"),
    ):
        with pytest.raises(UserError, match=words):
            Tuner(one, "BC", DecodeSettings(), metric=metric, iou=iou)
    with pytest.raises(UserError, match="no image"):
        Tuner([], "BC", DecodeSettings())
    with pytest.raises(UserError, match="did you mean 'TH_CONTOUR'"):
        Tuner(one, "BC", DecodeSettings()).decode({"TH_CONTOR": 0.5})


def test_the_plot_needs_two_thresholds(tmp_path) -> None:
    from singula.tuning.chart import draw_search

    tuned = tuner("BC", count=1)
    trials, best = tuned.search()
    target = tmp_path / "tuning.png"
    assert draw_search(trials, best, tuned.start(), "quality", target) == target
    assert target.read_bytes()[:4] == b"\x89PNG"
    assert (
        draw_search(trials[:1], trials[0], tuned.start(), "quality", tmp_path / "none.png") is None
    )
    assert not (tmp_path / "none.png").exists()
    # The last grid covers two numbers, with the others as in the best
    same = [
        key for key in best.thresholds if len({t.thresholds.get(key) for t in trials[-30:]}) == 1
    ]
    assert len(same) == 3


def test_probability_and_overlap_of_polygons_are_searched() -> None:
    pytest.importorskip("stardist")
    truth = truth_of(0)
    maps = encode(truth, "Db+R8")
    maps["Db"] = (0.3 * gaussian_filter(maps["Db"], 1.2)).astype(np.float32)
    tuned = Tuner([Example("a", truth.shape, lambda: (maps, truth))], "Db+R8", DecodeSettings())
    trials, best = tuned.search()
    assert {"TH_PROBABILITY", "TH_NMS", SIZE} < set(best.thresholds)
    assert best.value == max(trial.value for trial in trials) > 0.5 + trials[0].value
    assert best.thresholds["TH_PROBABILITY"] < 0.3
    assert len({trial.thresholds.get("TH_NMS") for trial in trials}) > 3


def test_a_radius_in_pixels_is_searched() -> None:
    """Votes that miss the center by two pixels need a radius above 1 to count together."""
    at = np.indices((60, 60))
    truth = np.where((at % 20 > 3).all(axis=0), 4 * (at[0] // 20) + at[1] // 20 + 1, 0)
    maps = encode(truth, "F+H+V", options={"H": {"norm": False}, "V": {"norm": False}})
    rng = np.random.default_rng(0)
    for name in ("H", "V"):
        maps[name] = maps[name] + rng.normal(0, 2, truth.shape).astype(np.float32)
    decoder = find_decoder("F+H+V", method="offsets")
    configured = DecodeSettings().changed({"TH_CENTER_RADIUS": 1.0})
    tuned = Tuner([Example("a", truth.shape, lambda: (maps, truth))], decoder, configured)
    radius = tuned.parameters()[0]
    assert radius.key == "TH_CENTER_RADIUS"
    assert (radius.values[0], radius.values[-1]) == THRESHOLDS[radius.key].search_range
    trials, best = tuned.search()
    tried = {trial.thresholds.get(radius.key, 0) for trial in trials}
    assert len([value for value in tried if value > 1]) > 5
    assert best.thresholds[radius.key] > 1
    assert best.value > trials[0].value + 0.1


def test_the_error_and_the_steps_of_flows_are_searched() -> None:
    """Shortened flows need many steps, and a larger error than the one that is configured."""
    at = np.indices((48, 48))
    truth = np.where((at % 16 > 2).all(axis=0), 3 * (at[0] // 16) + at[1] // 16 + 1, 0)
    maps = encode(truth, "F+Gh+Gv")
    for name in ("Gh", "Gv"):
        maps[name] = 0.3 * maps[name]
    configured = DecodeSettings().changed({"TH_FLOW_ERROR": 0.1, "TH_FLOW_STEPS": 5})
    tuned = Tuner([Example("a", truth.shape, lambda: (maps, truth))], "F+Gh+Gv", configured)
    keys = [parameter.key for parameter in tuned.parameters()]
    assert keys == ["TH_FLOW_ERROR", "TH_FLOW_STEPS", "TH_FOREGROUND", SIZE]
    trials, best = tuned.search()
    assert trials[0].value == 0
    assert best.value > 0.9
    assert best.thresholds["TH_FLOW_STEPS"] > 5
    assert best.thresholds["TH_FLOW_ERROR"] == 0 or best.thresholds["TH_FLOW_ERROR"] > 0.3


def test_a_search_ends_if_no_setting_finds_an_object(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    truth = truth_of(1)
    maps = {name: np.zeros(truth.shape, np.float32) for name in "BC"}
    blind = Tuner(
        [Example("image", truth.shape, lambda: (maps, truth))], "BC", DecodeSettings.from_keys({})
    )
    counts: list[int] = []
    trials, best = blind.search(lambda count, _: counts.append(count))
    assert best is trials[0]
    assert max(trial.value for trial in trials) == 0
    assert max(counts) < blind.n_expected  # without refinement
    with caplog.at_level("INFO", "singula"):
        search_thresholds(blind, Config(), tmp_path)
    assert any("no object matches" in record.message for record in caplog.records)


def test_the_number_of_settings_is_announced() -> None:
    found = tuner()
    totals: set[int] = set()
    trials, _ = found.search(lambda *_: totals.add(found.n_expected))
    (total,) = totals - {0}
    assert 0.4 < len(trials) / total < 1.6

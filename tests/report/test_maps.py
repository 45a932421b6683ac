"""Maps of the network as pictures, also those of families."""

from pathlib import Path

import numpy as np
import pytest
from example_run import ExampleRun, cells

from singula import encode
from singula.io.run_folder import ResultsTree
from singula.io.write import write_tiff
from singula.report.build import build_report
from singula.report.maps import MapView, NetworkMaps, draw_maps, map_views, stored_maps
from singula.representations.channel_table import CHANNELS, channel_title
from singula.representations.channels import parse_channels
from singula.runs.run import open_run

OFFSETS = "A[-1,0;0,-1;-3,0]"


@pytest.mark.parametrize(
    ("channels", "summary", "count"),
    [("BC", [], 2), ("Db+R8", ["meanR"], 9), (f"F+{OFFSETS}", ["meanA"], 4), ("E2", [], 5)],
)
def test_a_family_has_its_mean_and_all_planes(channels, summary, count) -> None:
    codes = parse_channels(channels)
    views = map_views(codes)
    assert [key for key in views if key.startswith("mean")] == summary
    singles = {key: view for key, view in views.items() if len(view.planes) == 1}
    assert [view.planes for view in singles.values()] == [(i,) for i in range(count)]
    for key in summary:
        members = [i for i, code in enumerate(codes) if CHANNELS[code].family == key[-1]]
        assert views[key].planes == tuple(members)
    assert len({view.title for view in views.values()}) == len(views)


def test_titles_of_planes_are_short() -> None:
    for channels in ("R96", OFFSETS, "E3"):
        titles = [channel_title(code) for code in parse_channels(channels)]
        assert len(set(titles)) == len(titles)
        assert max(map(len, titles)) < 20
    assert channel_title("B") == "B"
    assert channel_title("unknown") == "unknown"


def test_colors_follow_the_values() -> None:
    rng = np.random.default_rng(0)
    array = np.stack([rng.random((30, 40)), rng.normal(0, 3, (30, 40))], -1).astype(np.float32)
    views = {
        "0": MapView("share", (0,), "share"),
        "1": MapView("signed", (1,), "signed"),
        "mean": MapView("mean", (0, 1), "values"),
    }
    maps = NetworkMaps(views, lambda: array)
    assert maps.limits("0") == (0.0, 1.0)
    low, high = maps.limits("1")
    assert low == -high
    codes = maps.codes("0", maps.values("0", (slice(None),)))
    np.testing.assert_allclose((codes - 1.0) / 254, array[..., 0], atol=0.003)
    mean = maps.values("mean", (slice(None),))
    np.testing.assert_allclose(mean, array.mean(-1), rtol=1e-5)
    assert maps.palette("1")[128].min() > 230  # 0 is white
    turned = maps.turned((1, 0))
    np.testing.assert_array_equal(turned.values("0", (3,)), array[:, 3, 0])


@pytest.mark.parametrize(
    ("channels", "listed", "panels"),
    [("Db+R8", ["Db", "R8"], 2), (f"F+{OFFSETS}", ["F", OFFSETS], 2), ("E2", ["E"], 5)],
)
def test_the_report_shows_the_maps_of_families(
    tmp_path: Path, channels: str, listed: list[str], panels: int
) -> None:
    labels = cells(2)
    keys = {"PROBLEM.INSTANCE_SEG.DATA_CHANNELS": listed}
    folder = ExampleRun(tmp_path, {"good": labels}, keys=keys).write()
    maps = np.stack([m.astype(np.float32) for m in encode(labels, channels).values()], -1)
    file = ResultsTree.of_run(folder).predictions("per_image") / "good.tif"
    write_tiff(file, maps, "YXC")
    run = open_run(folder)
    stored = stored_maps(run, "good", run.stages[0], labels.shape)
    assert stored is not None
    np.testing.assert_array_equal(stored.array, maps)
    drawn = draw_maps(stored, "good", None)
    assert len(drawn) == panels
    assert {panel.size for panel in drawn} == {labels.shape[::-1]}
    assert build_report(folder).read_text().count('id="map-') == panels
    assert stored_maps(run, "missing", run.stages[0], labels.shape) is None

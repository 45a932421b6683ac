"""Tiles compose the complete picture, with every layer at its position."""

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from singula.errors import UserError
from singula.gui.looks import ChannelLook, look_to_text
from singula.gui.pictures import Scene, Scenes
from singula.gui.tiles import TILE, boxes, thumbnail
from singula.metrics import color_associations, match
from singula.report.maps import MapView, NetworkMaps
from singula.report.matches import match_bits, match_codes, match_palette
from singula.representations.channels import find_contour


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(png)))


def shown(png: bytes) -> np.ndarray:
    """Return True where a layer is not transparent."""
    return np.asarray(Image.open(BytesIO(png)).convert("RGBA"))[..., 3] > 0


def rgb(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(png)).convert("RGB"))


def single(channel: int, low: float, high: float, gamma: float = 1.0) -> str:
    return look_to_text({channel: ChannelLook((255, 255, 255), low, high, gamma)})


def whole(
    scene: Scene, layer: str, level: int, z: int = 0, look: str = "auto", read=None
) -> np.ndarray:
    height, width = (-(-n // 2**level) for n in scene.size)
    read = read or (pixels if layer == "image" else shown)
    rows = [
        np.concatenate(
            [
                read(scene.tile(layer, z, level, row, column, look))
                for column in range(-(-width // TILE))
            ],
            axis=1,
        )
        for row in range(-(-height // TILE))
    ]
    return np.concatenate(rows, axis=0)


def blobs(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    grid = tuple(np.arange(n) // 12 for n in shape)
    table = rng.integers(0, 9, tuple(g[-1] + 1 for g in grid))
    return table[np.ix_(*grid)].astype(np.uint16)


@pytest.fixture
def scene() -> Scene:
    rng = np.random.default_rng(1)
    labels = blobs((700, 1100))
    raw = rng.integers(0, 4000, (700, 1100, 1)).astype(np.uint16)
    return Scene(raw, {"instances": labels, "truth": blobs((700, 1100), 2)})


@pytest.mark.parametrize("level", [0, 1, 2])
def test_tiles_compose_the_whole(scene: Scene, level: int) -> None:
    assert whole(scene, "image", level).shape == tuple(-(-n // 2**level) for n in scene.size)
    step = 2**level
    sampled = scene.labels["instances"][step // 2 :: step, step // 2 :: step]
    inside = whole(scene, "instances", level)
    np.testing.assert_array_equal(inside[: len(sampled), : sampled.shape[1]], sampled > 0)


def test_outlines_do_not_depend_on_tiles(scene: Scene) -> None:
    outline = whole(scene, "contours", 0)
    expected = find_contour(scene.labels["instances"], "inner")
    np.testing.assert_array_equal(outline, expected)


def test_downsampling_keeps_the_brightness(scene: Scene) -> None:
    means = [whole(scene, "image", level).mean() for level in (0, 1, 2)]
    np.testing.assert_allclose(means, means[0], atol=1.0)


def test_associations_equal_those_of_the_results_folder(scene: Scene) -> None:
    truth, found = scene.labels["truth"], scene.labels["instances"]
    bits = match_bits(color_associations(truth, found, match(truth, found, (0.5,))[0]))
    expected = match_palette()[match_codes(bits)]
    # The stripes continue from tile to tile.
    np.testing.assert_array_equal(whole(scene, "associations", 0, read=rgb), expected)


def test_a_volume_shows_its_slices_and_channels() -> None:
    rng = np.random.default_rng(0)
    raw = rng.integers(0, 255, (3, 20, 30, 2)).astype(np.uint8)
    labels = blobs((3, 20, 30))
    scene = Scene(raw, {"instances": labels})
    assert scene.depth == 3
    assert scene.layers() == ["image", "instances", "contours"]
    for z in range(3):
        np.testing.assert_array_equal(whole(scene, "instances", 0, z), labels[z] > 0)
    one, two = (whole(scene, "image", 0, 1, single(channel, 0, 255)) for channel in (0, 1))
    assert np.corrcoef(one.ravel(), raw[1, ..., 0].ravel())[0, 1] > 0.99
    assert np.corrcoef(two.ravel(), raw[1, ..., 1].ravel())[0, 1] > 0.99
    assert scene.instance_at(2, 5, 7) == labels[2, 5, 7]
    assert scene.instance_at(2, 50, 7) == scene.instance_at(5, 5, 7) == 0


def test_three_channels_are_colors() -> None:
    raw = np.zeros((8, 8, 3), np.uint8)
    raw[:4, :, 0] = 200
    picture = whole(Scene(raw, {}), "image", 0)
    assert picture.shape == (8, 8, 3)
    assert picture[0, 0].tolist() == [255, 0, 0]


def test_two_channels_have_different_colors() -> None:
    raw = np.zeros((4, 6, 2), np.uint16)
    raw[:2, :, 0], raw[:, :3, 1] = 900, 50
    picture = whole(Scene(raw, {}), "image", 0)
    corners = [picture[y, x].tolist() for y, x in ((0, 0), (0, 5), (3, 0), (3, 5))]
    assert corners == [[255, 255, 255], [255, 0, 255], [0, 255, 0], [0, 0, 0]]


def test_contrast_is_that_of_the_values(scene: Scene) -> None:
    raw = scene.raw[..., 0].astype(float)
    picture = whole(scene, "image", 0, look=single(0, 1000, 3000))
    np.testing.assert_allclose(picture, 255 * np.clip((raw - 1000) / 2000, 0, 1), atol=1)
    darker = whole(scene, "image", 0, look=single(0, 1000, 3000, 2))
    np.testing.assert_allclose(darker, 255 * np.clip((raw - 1000) / 2000, 0, 1) ** 2, atol=1)
    assert not whole(scene, "image", 0, look="none").any()


def test_hidden_instances_are_not_drawn(scene: Scene) -> None:
    labels = scene.labels["instances"]
    before = scene.version
    scene.show_only([2, 5])
    assert scene.version > before
    np.testing.assert_array_equal(whole(scene, "instances", 0), np.isin(labels, [2, 5]))
    expected = find_contour(labels, "inner") & np.isin(labels, [2, 5])
    np.testing.assert_array_equal(whole(scene, "contours", 0), expected)
    scene.show_only(None)
    np.testing.assert_array_equal(whole(scene, "instances", 0), labels > 0)


def volume() -> Scene:
    rng = np.random.default_rng(3)
    raw = rng.integers(0, 255, (3, 20, 30, 1)).astype(np.uint8)
    labels = {"instances": blobs((3, 20, 30)), "truth": blobs((3, 20, 30), 4)}
    maps = NetworkMaps({"0": MapView("m", (0,), "share")}, lambda: raw / np.float32(255))
    return Scene(raw, labels, maps=maps, spacing=(2.0, 0.5, 0.25), unit="µm")


@pytest.mark.parametrize(("side", "axes"), [("xz", (1, 0, 2)), ("yz", (2, 1, 0))])
def test_a_view_from_the_side_has_the_same_pixels(side, axes) -> None:
    scene = volume()
    turned = scene.turned(side)
    assert turned.shape == tuple(scene.shape[axis] for axis in axes)
    assert turned.spacing == tuple((2.0, 0.5, 0.25)[axis] for axis in axes)
    assert turned.layers() == scene.layers()
    for index in range(turned.depth):
        raw = np.transpose(scene.raw[..., 0], axes)[index]
        look = single(0, 0, 255)
        np.testing.assert_array_equal(whole(turned, "image", 0, index, look), raw)
        labels = np.transpose(scene.labels["instances"], axes)[index]
        np.testing.assert_array_equal(whole(turned, "instances", 0, index), labels > 0)
    z, y, x = 2, 7, 11
    place = (y, z, x) if side == "xz" else (x, y, z)
    assert turned.describe(*place, "0") == scene.describe(z, y, x, "0")
    assert turned._associations().tolist() == np.transpose(scene._associations(), axes).tolist()


def test_the_text_at_a_pixel_has_its_values() -> None:
    scene = volume()
    assert scene.describe(0, 50, 0) == scene.describe(3, 0, 0) == ""
    labels, truth = scene.labels["instances"], scene.labels["truth"]
    z, y, x = np.argwhere((labels > 0) & (truth > 0))[0].tolist()
    value = scene.raw[z, y, x, 0]
    text = scene.describe(z, y, x, "0")
    assert f"value {value}  " in text
    assert f"map {value / 255:.3g}  " in text
    assert text.endswith(f"object {labels[z, y, x]}  your label {truth[z, y, x]}")


def test_new_instances_have_a_new_version(scene: Scene) -> None:
    before = scene.tile("associations", 0, 0, 0, 0)
    scene.replace_instances(scene.labels["truth"])
    assert scene.version == 1
    assert scene.tile("associations", 0, 0, 0, 0) != before
    with pytest.raises(UserError, match="shape"):
        scene.replace_instances(np.zeros((3, 3), int))


@pytest.mark.parametrize(
    "wrong",
    [
        ("nothing", 0, 0, 0, 0), ("image", 1, 0, 0, 0), ("image", 0, 0, 2, 0),
        ("image", 0, -1, 0, 0), ("image", 0, 0, -1, 0), ("map", 0, 0, 0, 0, "0"),
        ("image", 0, 0, 0, 0, "1:ffffff:0:1:1"), ("image", 0, 0, 0, 0, "0:ffffff:0:nan:1"),
        ("image", 0, 0, 0, 0, "0:ffffff:0:1:0"), ("image", 0, 0, 0, 0, "x"),
    ],
)  # fmt: skip
def test_a_missing_tile_is_refused(scene: Scene, wrong: tuple) -> None:
    with pytest.raises(UserError, match="no tile"):
        scene.tile(*wrong)


def test_layers_must_have_the_same_shape() -> None:
    with pytest.raises(UserError, match="different shapes"):
        Scene(np.zeros((4, 4, 1)), {"instances": np.zeros((4, 5), int)})


@given(st.integers(1, 1500), st.integers(1, 1500))
@settings(max_examples=25, deadline=None)
def test_the_coarsest_level_is_one_tile(height: int, width: int) -> None:
    scene = Scene(None, {"instances": np.ones((height, width), np.uint8)})
    top = scene.levels - 1
    assert max(-(-n // 2**top) for n in scene.size) <= TILE
    assert shown(scene.tile("instances", 0, top, 0, 0)).all()


def test_boxes_contain_their_objects() -> None:
    labels = np.zeros((9, 9), np.uint32)
    labels[2:5, 3:7] = 5
    assert boxes(labels) == {5: ((2, 5), (3, 7))}


def test_the_oldest_scene_is_dropped() -> None:
    scenes = Scenes()
    names = [scenes.put(Scene(None, {"instances": np.ones((2, 2), int)})) for _ in range(60)]
    assert scenes.get(names[0]) is None
    assert scenes.get(names[-1]) is not None
    scenes.drop(names[-1])
    assert scenes.get(names[-1]) is None


def test_a_thumbnail_of_a_volume_is_small() -> None:
    raw = np.random.default_rng(0).random((5, 400, 300, 1))
    assert pixels(thumbnail(raw, blobs((5, 400, 300)))).shape == (160, 120, 3)

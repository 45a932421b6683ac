"""Stored channels are never outdated, never replace user files, and are not written twice."""

from __future__ import annotations

import errno
import os
import shutil
import time
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from numpy.testing import assert_array_equal

from singula.data.channel_store import ChannelStore
from singula.errors import UserError
from singula.io.read import read_image
from singula.representations.channels import EncodeSettings, encode, parse_channels

BCD = EncodeSettings(("B", "C", "D"))


def blocks(shift=0, shape=(24, 30)):
    labels = np.zeros(shape, np.uint16)
    labels[..., 3:14, 4 + shift : 15 + shift] = 1
    labels[..., 3:14, 15 + shift : 25] = 7
    return labels


class Project:
    """Raw image, label file, and folders of the store."""

    def __init__(self, folder, messages):
        self.image = folder / "raw" / "a.tif"
        self.label = folder / "label" / "a.tif"
        self.x, self.y = folder / "x_BC", folder / "y_BC"
        self.reads = 0
        self.messages = messages
        self.image.parent.mkdir()
        self.label.parent.mkdir()
        tifffile.imwrite(self.image, np.arange(720, dtype=np.uint8).reshape(24, 30))
        self.write_label(blocks())

    def write_label(self, labels):
        tifffile.imwrite(self.label, labels, photometric="minisblack")
        self.age(self.label)

    @staticmethod
    def age(path, seconds=3600):
        """Set the modification time back; the change time is old by the clock of the fixture."""
        past = path.stat().st_mtime_ns - seconds * 10**9
        os.utime(path, ns=(past, past))

    def read(self):
        self.reads += 1
        return tifffile.imread(self.label)

    def open(self, settings=BCD):
        return ChannelStore(
            self.x,
            self.y,
            settings,
            image_key="DATA.TRAIN.INSTANCE_CHANNELS_DIR",
            mask_key="DATA.TRAIN.INSTANCE_CHANNELS_MASK_DIR",
        )

    def ensure(self, settings=BCD):
        with self.open(settings) as store:
            path = store.ensure("a", self.image, self.read, self.label)
            self.loaded = store.load("a", tifffile.imread(self.label))
        return path

    def assert_loaded(self, labels, channels="BCD", **options):
        expected = encode(labels, channels, **options)
        assert self.loaded.keys() == expected.keys()
        for code, channel in expected.items():
            assert self.loaded[code].dtype == channel.dtype
            assert_array_equal(self.loaded[code], channel)


@pytest.fixture
def project(tmp_path, monkeypatch, messages):
    """Return a project whose files appear to be a minute old."""
    real = time.time_ns
    monkeypatch.setattr("singula.data.owned_folder.time.time_ns", lambda: real() + 60 * 10**9)
    return Project(tmp_path, messages)


@pytest.mark.parametrize("channels", ["BC", "BP", "BCM", "BCDv2", "Dv2"])
@pytest.mark.parametrize("shape", [(24, 30), (3, 24, 30)])
def test_loaded_channels_equal_encoded_channels(project, channels, shape):
    labels = blocks(shape=shape)
    project.write_label(labels)
    spacing = (2.5, 0.5, 0.5)[-labels.ndim :]
    project.read = lambda: labels
    path = project.ensure(EncodeSettings(parse_channels(channels), spacing=spacing))
    project.assert_loaded(labels, channels, spacing=spacing)
    assert path == project.y / "a.tif"
    assert project.messages == []


def test_the_file_names_its_channel_axis(project):
    with tifffile.TiffFile(project.ensure()) as tif:
        assert tif.series[0].axes == "CYX"
        assert tif.series[0].dtype == np.float32
    with tifffile.TiffFile(project.ensure(EncodeSettings(("B", "C")))) as tif:
        assert tif.series[0].dtype == np.uint8


def test_second_run_neither_reads_nor_writes(project):
    first = project.ensure()
    written = {path: path.stat().st_mtime_ns for path in project.y.parent.rglob("*")}
    assert project.ensure() == first
    assert project.reads == 1
    assert {path: path.stat().st_mtime_ns for path in project.y.parent.rglob("*")} == written
    project.assert_loaded(blocks())


def test_changed_label_is_encoded_again(project):
    first = project.ensure()
    project.write_label(blocks(shift=3))
    assert project.ensure() == first
    project.assert_loaded(blocks(shift=3))
    assert project.messages == []


def test_changed_label_with_the_old_size_and_time_is_detected(project):
    project.ensure()
    before = project.label.stat()
    tifffile.imwrite(project.label, blocks(shift=3))
    os.utime(project.label, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = project.label.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    project.ensure()
    project.assert_loaded(blocks(shift=3))


def test_a_label_file_written_a_moment_ago_is_always_read(tmp_path):
    project = Project(tmp_path, [])  # with the real clock, so that the label file has just changed
    project.ensure()
    project.ensure()
    assert project.reads == 2


def test_touched_label_is_read_but_not_written_again(project):
    path = project.ensure()
    written = path.stat().st_mtime_ns
    project.age(project.label)
    project.ensure()
    project.ensure()
    assert project.reads == 2  # the new time is remembered
    assert path.stat().st_mtime_ns == written


@pytest.mark.parametrize(
    "change",
    [
        {"channels": ("B", "Dv2")},
        {"contour_mode": "inner"},
        {"spacing": (2.0, 1.0)},
        {"channels": ("B", "P"), "point_radius": 2},
    ],
)
def test_changed_settings_are_encoded_again(project, change):
    first = project.ensure()
    settings = replace(BCD, **change)
    assert project.ensure(settings) == first
    options = {key: value for key, value in change.items() if key != "channels"}
    project.assert_loaded(blocks(), settings.channels, **options)
    project.ensure()
    project.assert_loaded(blocks())
    assert project.messages == []


def test_changed_spacing_reaches_the_file_even_if_the_pixels_stay(project):
    settings = EncodeSettings(("B", "C"), spacing=(0.5, 0.5))
    project.ensure(settings)
    path = project.ensure(replace(settings, spacing=(0.25, 0.25)))
    assert read_image(path, 2, channels=2).spacing == pytest.approx((0.25, 0.25))


def test_another_label_folder_is_detected(project, tmp_path):
    project.ensure()
    project.label = tmp_path / "other.tif"
    project.write_label(blocks(shift=2))
    project.ensure()
    project.assert_loaded(blocks(shift=2))


def test_users_channels_are_not_overwritten(project):
    project.y.mkdir()
    user_file = project.y / "a.tif"
    tifffile.imwrite(user_file, np.full((24, 30), 99, np.uint8))
    before = user_file.read_bytes()
    path = project.ensure()
    assert user_file.read_bytes() == before
    assert path.parent.parent == project.y
    project.assert_loaded(blocks())
    (notice,) = project.messages
    assert "DATA.TRAIN.INSTANCE_CHANNELS_MASK_DIR" in notice
    assert str(path.parent) in notice
    # Other settings use another subfolder; the first settings use the unchanged first subfolder.
    written = path.stat().st_mtime_ns
    assert project.ensure(EncodeSettings(("B", "C"))).parent != path.parent
    assert project.ensure() == path
    assert path.stat().st_mtime_ns == written
    assert user_file.read_bytes() == before
    assert len(project.messages) == 3  # once per run


def test_a_stored_file_edited_by_the_user_is_kept(project):
    path = project.ensure()
    edited = tifffile.imread(path)
    edited[0] = 0
    tifffile.imwrite(path, edited, imagej=True, metadata={"axes": "CYX"})
    before = path.read_bytes()
    other = project.ensure()
    assert other != path
    assert path.read_bytes() == before
    project.assert_loaded(blocks())


def test_a_user_file_with_the_same_pixels_is_used_and_kept(project):
    path = project.ensure()
    (project.y / "fingerprints.json").unlink()  # as after a run that was killed before saving
    written = path.stat().st_mtime_ns
    assert project.ensure() == path
    assert path.stat().st_mtime_ns == written
    assert project.ensure(EncodeSettings(("B", "C"))) != path
    assert path.stat().st_mtime_ns == written


def test_a_copied_project_is_recognized(project, tmp_path):
    project.ensure()
    shutil.copytree(project.y, tmp_path / "copy", copy_function=shutil.copyfile)
    project.age(tmp_path / "copy" / "a.tif", 5)
    project.y = tmp_path / "copy"
    assert project.ensure() == project.y / "a.tif"
    assert project.ensure(EncodeSettings(("B", "C"))) == project.y / "a.tif"
    assert project.messages == []


def test_channels_are_encoded_again_after_a_damaged_manifest(project):
    path = project.ensure()
    (project.y / "fingerprints.json").write_text('{"files": {"a.tif": 3')
    assert project.ensure() == path
    project.assert_loaded(blocks())


def test_foreign_files_in_both_places_are_an_error(project):
    project.y.mkdir()
    tifffile.imwrite(project.y / "a.tif", np.full((24, 30), 99, np.uint8))
    path = project.ensure()
    tifffile.imwrite(path, np.full((24, 30), 98, np.uint8))
    with pytest.raises(UserError, match="INSTANCE_CHANNELS_MASK_DIR"):
        project.ensure()


def test_images_are_linked(project):
    project.ensure()
    assert (project.x / "a.tif").samefile(project.image)


@pytest.mark.parametrize("refused", [("link",), ("link", "symlink")])
def test_images_are_copied_if_links_are_not_allowed(project, monkeypatch, refused):
    def refuse(*_):
        raise OSError(errno.EPERM, "no links here")

    for name in refused:
        monkeypatch.setattr(f"singula.data.channel_store.os.{name}", refuse)
    project.ensure()
    image = project.x / "a.tif"
    assert image.is_symlink() == ("symlink" not in refused)
    assert image.read_bytes() == project.image.read_bytes()
    written = image.lstat().st_mtime_ns
    project.ensure()
    assert image.lstat().st_mtime_ns == written


def test_a_replaced_image_is_linked_again(project):
    project.ensure()
    replacement = project.image.with_name("new.tif")
    tifffile.imwrite(replacement, np.full((24, 30), 5, np.uint8))
    replacement.replace(project.image)
    project.ensure()
    assert_array_equal(tifffile.imread(project.x / "a.tif"), 5)
    assert project.messages == []


def test_users_images_are_not_overwritten(project):
    project.x.mkdir()
    user_file = project.x / "a.tif"
    user_file.write_bytes(b"mine")
    project.ensure()
    assert user_file.read_bytes() == b"mine"
    assert next(project.x.glob("singula_*/a.tif")).samefile(project.image)
    assert "DATA.TRAIN.INSTANCE_CHANNELS_DIR" in project.messages[0]


def test_image_folder_that_is_the_raw_folder_keeps_its_images(project, tmp_path):
    project.x = project.image.parent
    before = project.image.read_bytes()
    project.ensure()
    project.image = tmp_path / "elsewhere" / "a.tif"
    project.image.parent.mkdir()
    tifffile.imwrite(project.image, np.zeros((24, 30), np.uint8))
    project.ensure()
    assert (project.x / "a.tif").read_bytes() == before


@pytest.mark.parametrize("which", ["x", "y"])
def test_a_folder_that_cannot_be_written_is_named_by_its_key(project, which):
    blocker = project.image.with_name("file")
    blocker.write_text("not a folder")
    setattr(project, which, blocker / "sub")
    key = {"x": "INSTANCE_CHANNELS_DIR", "y": "INSTANCE_CHANNELS_MASK_DIR"}[which]
    with pytest.raises(UserError, match=f"DATA.TRAIN.{key}") as caught:
        project.ensure()
    assert key in caught.value.hint


def test_one_folder_for_images_and_channels_is_an_error(project):
    project.x = project.y
    with pytest.raises(UserError, match="INSTANCE_CHANNELS_DIR"):
        project.open()


def test_a_missing_image_is_named(project):
    project.image.unlink()
    with pytest.raises(UserError, match=r"raw/a\.tif"):
        project.ensure()
    assert not project.x.exists()


def test_load_before_ensure_is_an_error(project):
    with pytest.raises(UserError, match="a: its channels"):
        project.open().load("a", np.zeros((4, 4), np.uint8))

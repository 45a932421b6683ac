"""Mistakes in a clean data set, each with its expected findings."""

from __future__ import annotations

import shutil

import numpy as np
from example_data import PARTS, ExampleData, labels

from singula.io.write import write_tiff

Found = set[tuple[str, str]]
NAME = "im1.tif"
Y, X = f"train/y/{NAME}", f"train/x/{NAME}"


def pieces(data: ExampleData) -> Found:
    ids = data.ids("train", NAME)
    ids[..., 2:6, 2:6] = 7
    raw = data.raw("train", NAME)
    data.put("train", "x", NAME, np.where((ids == 7), 120, raw).astype(np.uint8))
    data.put("train", "y", NAME, ids)
    return {("pieces", Y)}


def tiny(data: ExampleData) -> Found:
    ids = data.ids("train", NAME)
    ids[..., 2, 2:4] = 40
    ids[..., 2, 8] = 41
    if data.ndim == 3:
        ids[1:, 2, :10] = 0
    data.put("train", "y", NAME, ids)
    return {("tiny", Y)}


def holes(data: ExampleData) -> Found:
    ids = data.ids("train", NAME)
    center = tuple(int(c) for c in np.argwhere(ids == 6).mean(axis=0).round())
    ids[center] = 0
    data.put("train", "y", NAME, ids)
    return {("holes", Y)}


def empty(data: ExampleData) -> Found:
    data.put("train", "y", NAME, data.ids("train", NAME) * 0)
    return {("empty", Y)}


def constant(data: ExampleData) -> Found:
    data.put("train", "x", NAME, np.full_like(data.raw("train", NAME), 9))
    return {("constant", X)}


def leftover(data: ExampleData) -> Found:
    ids = data.ids("train", NAME)
    data.put("train", "y", NAME, np.where(ids == 11, 0, ids).astype(np.uint16))
    return {("leftover", Y)}


def saturated(data: ExampleData) -> Found:
    raw, ids = data.raw("train", NAME), data.ids("train", NAME)
    raw[np.isin(ids, (3, 4, 5))] = 255
    data.put("train", "x", NAME, raw)
    return {("saturated", X)}


def duplicate(data: ExampleData) -> Found:
    for side in "xy":
        shutil.copy(data.path("train", side, "im0.tif"), data.path("train", side, "im9.tif"))
    return {("duplicate", "train/x/im9.tif")}


def leakage(data: ExampleData) -> Found:
    raw = data.raw("train", "im0.tif")
    for side in "xy":
        shutil.copy(data.path("train", side, "im0.tif"), data.path("test", side, "im0.tif"))
    np.save(data.path("test", "x", "im0.npy"), raw)  # the same pixels in another format
    data.path("test", "x", "im0.tif").unlink()
    return {("leakage", "test/x/im0.npy"), ("mixed", "test/x/im0.npy")}  # it has no pixel size


def semantic(data: ExampleData) -> Found:
    data.put("train", "y", NAME, np.where(data.ids("train", NAME) > 0, 255, 0).astype(np.uint8))
    return {("semantic", Y)}


def shape(data: ExampleData) -> Found:
    data.put("train", "y", NAME, data.ids("train", NAME)[..., :-3])
    return {("shape", X)}


def unpaired(data: ExampleData) -> Found:
    data.path("train", "y", NAME).unlink()
    data.put("train", "y", "other.tif", labels(data.ndim))
    return {("unpaired", X), ("unpaired", "train/y/other.tif")}


def unreadable(data: ExampleData) -> Found:
    path = data.path("train", "x", NAME)
    path.write_bytes(path.read_bytes()[:400])
    return {("unreadable", X)}


def not_finite(data: ExampleData) -> Found:
    raw = data.raw("train", NAME).astype(np.float32)
    raw[(3,) * data.ndim] = np.nan
    data.put("train", "x", NAME, raw)
    return {("unreadable", X)}


def float_labels(data: ExampleData) -> Found:
    data.put("train", "y", NAME, data.ids("train", NAME).astype(np.float32))
    return {("label_type", Y)}


def fractions(data: ExampleData) -> Found:
    data.put("train", "y", NAME, (data.ids("train", NAME) > 0).astype(np.float32) * 0.5)
    return {("label_type", Y)}


def negative(data: ExampleData) -> Found:
    data.put("train", "y", NAME, data.ids("train", NAME).astype(np.int16) - 2)
    return {("label_type", Y)}


def minus_one(data: ExampleData) -> Found:
    """Use -1 for the background of all images; next to images with 0 it means not annotated."""
    names = [f"im{place}.tif" for place in range(PARTS["train"])]
    for name in names:
        ids = data.ids("train", name).astype(np.int16)
        data.put("train", "y", name, np.where(ids == 0, -1, ids).astype(np.int16))
    return {("background", f"train/y/{name}") for name in names}


def counted_from_minus_one(data: ExampleData) -> Found:
    """Use -1 for the background, and 0 for an object."""
    data.put("train", "y", NAME, data.ids("train", NAME).astype(np.int16) - 1)
    return {("background", Y)}


def wrapped(data: ExampleData) -> Found:
    """Use 65535 for the background, and 0 for an object."""
    data.put("train", "y", NAME, data.ids("train", NAME) - np.uint16(1))
    return {("background", Y)}


def background_is_1(data: ExampleData) -> Found:
    data.put("train", "y", NAME, data.ids("train", NAME) + np.uint16(1))
    return {("background", Y)}


def background_is_last(data: ExampleData) -> Found:
    ids = data.ids("train", NAME)
    data.put("train", "y", NAME, np.where(ids == 0, 200, ids).astype(np.uint8))
    return {("background", Y)}


def inverted(data: ExampleData) -> Found:
    ids = data.ids("train", NAME)
    data.put("train", "y", NAME, np.where(ids == 0, 255, 0).astype(np.uint8))
    return {("inverted", Y)}


def inverted_bools(data: ExampleData) -> Found:
    data.path("train", "y", NAME).unlink()
    path = data.path("train", "y", NAME).with_suffix(".npy")
    np.save(path, data.ids("test", NAME) == 0)
    return {("inverted", Y.replace(".tif", ".npy"))}


def one_hot(data: ExampleData) -> Found:
    ids = data.ids("train", NAME)
    planes = np.stack([ids == 0, ids > 0], -1).astype(np.uint8)
    data.put("train", "y", NAME, planes)
    return {("one_hot", Y)}


def one_plane_per_object(data: ExampleData) -> Found:
    ids = data.ids("train", NAME)
    data.path("train", "y", NAME).unlink()
    planes = np.stack([ids == number for number in range(1, 17)])
    path = data.path("train", "y", NAME).with_suffix(".npy")
    np.save(path, planes)
    return {("one_hot", Y.replace(".tif", ".npy"))}


def channels(data: ExampleData) -> Found:
    raw = data.raw("train", NAME)
    data.put("train", "x", NAME, np.stack([raw, raw, raw], axis=-1), data.axes + "C")
    return {("channels", X)}


def mixed_type(data: ExampleData) -> Found:
    data.put("train", "x", NAME, data.raw("train", NAME).astype(np.uint16))
    return {("mixed", X)}


def mixed_spacing(data: ExampleData) -> Found:
    raw = data.raw("train", NAME)
    write_tiff(data.path("train", "x", NAME), raw, data.axes, (0.25,) * data.ndim)
    return {("mixed", X)}


# These hide the objects; a corrected copy shows them as they were.
HIDDEN = (minus_one, counted_from_minus_one, wrapped, background_is_1, background_is_last,
          inverted, inverted_bools, one_hot, one_plane_per_object)  # fmt: skip
BREAKS = (pieces, tiny, holes, empty, constant, leftover, saturated, duplicate, leakage, semantic,
          shape, unpaired, unreadable, not_finite, float_labels, fractions, negative, channels,
          mixed_type, mixed_spacing, minus_one, counted_from_minus_one, wrapped, background_is_1,
          background_is_last, inverted, inverted_bools, one_hot, one_plane_per_object)  # fmt: skip

"""Confidence of each instance from the predicted maps, for any combination of channels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from singula.errors import UserError
from singula.io.label_values import native
from singula.labels.index import index_labels
from singula.representations.channel import Channel, OptionValue
from singula.representations.channel_table import CHANNELS
from singula.representations.channels.encoders import encoder_of
from singula.representations.channels.source import EncodeSettings, Source
from singula.representations.decoders.decode import check_finite
from singula.util.arguments import as_array, instance, label_image


def confidence(
    labels: NDArray[np.integer],
    maps: Mapping[str, NDArray[np.floating]],
    settings: EncodeSettings,
) -> dict[int, float]:
    """Return how well the maps in each instance agree with the channels of its shape.

    The label image is converted to the channels that the network learned. Where the network
    predicts these channels, the instance has confidence 1. The confidence is low if the foreground
    is uncertain, if the network predicts no contour at the border of the instance, or contours
    within it, and if distances, rays or offsets belong to another shape.

    Parameters
    ----------
    labels : ndarray of int, (y, x) or (z, y, x)
        Label image, decoded from the maps or corrected by hand; 0 is the background.
    maps : mapping of str to ndarray
        Predicted maps by channel, with the shape of `labels`. Other maps, such as the class, are
        ignored.
    settings : EncodeSettings
        Channels and settings with which the labels of the training were encoded.

    Returns
    -------
    dict of int to float
        Confidence from 0 to 1 by id, in ascending order of the ids.

    Raises
    ------
    TypeError, UserError
        ``labels`` is not a label image, or a map contains NaN; ``confidence.no_maps``: a map is
        missing or has another shape.

    Notes
    -----
    The confidence is the mean over the channels of ``1 - sum |p - t| / sum s``, at least 0, with
    the map p, the channel t of the label image, and sums over the pixels of the instance. The scale
    s is 1 for channels from 0 to 1, and the larger of |p| and |t| for others, such as distances in
    pixels. Offsets along different axes, and all planes of a family, count as one channel.

    Examples
    --------
    >>> import numpy as np, singula
    >>> labels = np.zeros((8, 16), int)
    >>> labels[2:6, 2:6], labels[2:6, 9:13] = 1, 2
    >>> maps = {name: 1.0 * values for name, values in singula.encode(labels, "BC").items()}
    >>> maps["B"][:, 8:] *= 0.5
    >>> confidence(labels, maps, EncodeSettings(("B", "C")))
    {1: 1.0, 2: 0.9375}
    """
    labels = label_image(labels)
    settings = instance(settings, "settings", EncodeSettings)
    maps = instance(maps, "maps", Mapping)  # type: ignore[type-abstract]
    index, ids = index_labels(labels)
    pixels = np.flatnonzero(index)
    if not len(pixels):
        return {}
    rows, count = index.ravel()[pixels], len(ids)
    source = Source(labels, settings)
    errors: dict[str, NDArray[np.float64]] = {}
    scales: dict[str, NDArray[np.float64]] = {}
    for code in settings.channels:
        channel = CHANNELS[code]
        if channel.length:  # a bandwidth, which no label determines
            continue
        options = settings.options_of(code)
        predicted = _map(maps, code, labels.shape).ravel()[pixels].astype(np.float32)
        target = encoder_of(code)(source).ravel()[pixels].astype(np.float32)
        error, scale = _compare(predicted, target, channel, options)
        group = channel.family or channel.vector or channel.code
        for sums, values in ((errors, error), (scales, scale)):
            total = np.bincount(rows, weights=values, minlength=count).astype(np.float64)
            sums[group] = sums[group] + total if group in sums else total
    agreement = np.zeros(count)
    for group, sum_of_errors in errors.items():
        has_scale = scales[group] > 0
        ratio = np.divide(sum_of_errors, scales[group], out=np.zeros(count), where=has_scale)
        agreement += np.clip(1 - ratio, 0, 1) / len(errors)
    present = np.unique(rows)
    rounded = (round(float(value), 4) for value in agreement[present])
    return dict(zip(ids[present].tolist(), rounded, strict=True))


def _map(
    maps: Mapping[str, NDArray[np.floating]], code: str, shape: tuple[int, ...]
) -> NDArray[np.floating]:
    values = None if code not in maps else native(as_array(maps[code], f"maps[{code!r}]"))
    if values is None or values.shape != shape:
        got = "no map" if values is None else f"the shape {values.shape}"
        raise UserError(
            f"maps: got {got} for the channel {code}, expected the shape {shape} of the labels",
            "pass all maps that the model predicted for this image",
            "confidence.no_maps",
        )
    check_finite(code, values)
    return values


def _compare(
    predicted: NDArray[np.float32],
    target: NDArray[np.float32],
    channel: Channel,
    options: Mapping[str, OptionValue],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the absolute difference of each pixel and its scale; 0 for pixels without a target."""
    has_target = np.isfinite(target)
    if channel.kind == "binary":
        has_target &= target >= 0
    is_share = channel.is_share and options.get("norm", True) is not False
    if channel.kind == "binary" or is_share:
        scale = np.ones_like(target)
    else:
        scale = np.maximum(np.abs(predicted), np.abs(target))
    zero = np.float32(0)
    error = np.where(has_target, np.abs(predicted - target), zero)
    return error, np.where(has_target, scale, zero)

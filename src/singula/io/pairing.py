"""Pairing of images with labels, and validation of their headers before a run."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

from singula.errors import UserError
from singula.io.files import is_container
from singula.io.formats.table import stem_of
from singula.io.image import ArrayPlaces
from singula.io.list_images import list_images
from singula.io.names import (
    LABEL_PATTERNS,
    NAME_PREFIX,
    NAME_SUFFIX,
    agree_in_order,
    last_number,
)
from singula.io.pair import Pair as Pair
from singula.io.pair import oriented as oriented
from singula.io.read import (
    file_notes,
    image_layout,
    label_layout,
    read_header,
    read_labels,
)
from singula.util.format import counted
from singula.util.locations import location

_log = logging.getLogger(__name__)

_MAX_LISTED = 20
_IMAGE_PATTERNS = [
    re.compile(NAME_PREFIX.format(r"(?:images?|img|raw)"), re.IGNORECASE),
    # _0000 is the first channel in the names of nnU-Net.
    re.compile(NAME_SUFFIX.format(r"(?:images?|img|raw|0000)"), re.IGNORECASE),
]


def pair_files(
    image_dir: Path | str,
    label_dir: Path | str | None,
    image_key: str,
    label_key: str,
    places: ArrayPlaces | None = None,
    *,
    by_order: bool = False,
) -> list[Pair]:
    """Pair images and labels by name, by name without words such as "_mask", or in sorted order.

    Sorted order requires that words or numbers in the names confirm it. Names are compared without
    suffix and in composed Unicode form (NFC).

    Parameters
    ----------
    image_dir, label_dir : Path or str
        Folders of the images and of the labels; None: the pairs have no labels.
    image_key, label_key : str
        Configuration keys of the folders, for messages.
    places : ArrayPlaces, optional
        Paths of images and labels inside containers. If they are in the same files, the image file
        is also the label file.
    by_order : bool
        Use sorted order even if the names do not confirm it.

    Returns
    -------
    list of Pair
        Pairs in natural order of the images.

    Raises
    ------
    UserError
        ``data.no_images``, ``data.same_folder``; ``data.duplicate_name``: two files of a folder
        have the same name without suffix; ``data.unpaired_files``: files without a partner;
        ``io.names_differ``: the names do not show which files belong together.
    """
    images = _by_stem(list_images(image_dir, image_key), image_key)
    together = places is not None and places.together
    if together:
        _check_containers(images.values(), image_key)
    if label_dir is None or together:
        pairs = [Pair(path, path if together else None, stem) for stem, path in images.items()]
    else:
        pairs = _pair(images, image_dir, label_dir, image_key, label_key, by_order=by_order)
    return with_places(pairs, places)


def pairing_rule(pairs: Sequence[Pair]) -> tuple[str, str] | None:
    """Return the rule by which `pair_files` paired files, and examples; None for equal stems.

    Parameters
    ----------
    pairs : sequence of Pair
        Result of `pair_files`.
    """
    files = [(pair.image, pair.label) for pair in pairs if pair.label is not None]
    if all(image == label or stem_of(image) == stem_of(label) for image, label in files):
        return None
    rule = "in sorted order, because their names differ; make sure that they belong together"
    labels = {stem_of(label): label for _, label in files}
    if _pair_by_word({stem_of(image): image for image, _ in files}, labels):
        rule = "by name, without words such as 'mask' or 'label'"
    examples = "; ".join(f"{image.name} ↔ {label.name}" for image, label in files[:3])
    more = "; …" if len(pairs) > 3 else ""
    return f"images and labels are paired {rule}", f"{examples}{more}"


def with_places(pairs: Sequence[Pair], places: ArrayPlaces | None) -> list[Pair]:
    """Return pairs with the paths of images and labels inside containers."""
    if places is None:
        return list(pairs)
    return [replace(pair, arrays=places.image, label_arrays=places.labels) for pair in pairs]


def _pair(
    images: Mapping[str, Path],
    image_dir: Path | str,
    label_dir: Path | str,
    image_key: str,
    label_key: str,
    *,
    by_order: bool,
) -> list[Pair]:
    if location(image_dir).resolve() == location(label_dir).resolve():
        raise UserError(
            f"{image_key} and {label_key}: got the same folder {image_dir}, expected two folders",
            "put images and labels in two folders",
            "data.same_folder",
        )
    labels = _by_stem(list_images(label_dir, label_key), label_key)
    if images.keys() == labels.keys():
        return [Pair(path, labels[stem], stem) for stem, path in images.items()]
    pairs = _pair_by_word(images, labels)
    if pairs:
        return pairs
    _check_unpaired(images, labels, image_key, label_key)
    pairs = [
        Pair(image, label, stem)
        for (stem, image), label in zip(images.items(), labels.values(), strict=True)
    ]
    if not by_order:
        _check_order(pairs, image_key, label_key)
    return pairs


def label_cores(path: Path) -> tuple[str, ...]:
    """Return the name without suffix, and without "mask" etc. at its end, its start, and both."""
    return _cores(stem_of(path), LABEL_PATTERNS)


def image_cores(path: Path) -> tuple[str, ...]:
    """Return the name without suffix, and without "img" etc. at its end, its start, and both."""
    return _cores(stem_of(path), _IMAGE_PATTERNS)


def _cores(stem: str, patterns: Sequence[re.Pattern[str]]) -> tuple[str, ...]:
    no_prefix, no_suffix = (pattern.sub("", stem) for pattern in patterns)
    return stem, no_suffix, no_prefix, patterns[0].sub("", no_suffix)


def has_label_word(path: Path) -> bool:
    """Return True if the name contains a word for labels, such as ``cell1_mask.tif``."""
    return any(pattern.search(stem_of(path)) for pattern in LABEL_PATTERNS)


def match_files(
    images: Sequence[Path], labels: Sequence[Path]
) -> tuple[list[Pair], list[Path], list[Path]]:
    """Pair files with equal names, with or without words such as "mask", and list the others.

    Returns
    -------
    pairs : list of Pair
    images, labels : list of Path
        Files without a partner, including further files of the same name.
    """
    unpaired = {stem_of(path): path for path in reversed(labels)}
    pairs: list[Pair] = []
    for n_variants in (1, 4):  # whole names first
        cores: dict[str, str] = {}
        for stem, path in unpaired.items():
            for core in label_cores(path)[:n_variants]:
                cores.setdefault(core, stem)
        paired = {pair.name for pair in pairs}
        for image in images:
            matches = [c for c in image_cores(image)[:n_variants] if cores.get(c) in unpaired]
            if matches and stem_of(image) not in paired:
                pairs.append(Pair(image, unpaired.pop(cores[matches[0]]), stem_of(image)))
                paired.add(stem_of(image))
    order = {path: index for index, path in enumerate(images)}
    pairs.sort(key=lambda pair: order[pair.image])
    used = {path for pair in pairs for path in (pair.image, pair.label)}
    return pairs, [p for p in images if p not in used], [p for p in labels if p not in used]


def check_pairs(
    pairs: Sequence[Pair],
    ndim: int,
    channels: int | None,
    classes: int | None = None,
    *,
    allow_gray: bool = False,
    sized: bool = False,
) -> list[tuple[int, ...]]:
    """Validate the headers of all images and labels; report all problems together.

    Labels of a float type or with three channels are read whole, as only their pixels show whether
    they are valid.

    Parameters
    ----------
    pairs : sequence of Pair
        Pairs from `pair_files`.
    ndim : int
        Number of spatial axes, 2 or 3.
    channels : int, optional
        Number of channels that every image must have.
    classes : int, optional
        Number of classes if labels have a class channel; else None.
    allow_gray : bool
        Also allow images with one channel.
    sized : bool
        The user set the voxel size, so incomplete sizes in files are not reported.

    Returns
    -------
    list of tuple of int
        Shape of each image, (y, x) or (z, y, x).

    Raises
    ------
    UserError
        ``data.invalid_files``: several files have problems, which the message lists. A single
        problem has the code of its kind, such as ``data.shape_mismatch``.
    """
    problems: list[UserError] = []
    notes: Counter[str] = Counter()
    shapes = []
    for pair in pairs:
        pair_shapes: list[tuple[int, ...]] = []
        try:
            pair_shapes.append(_check_image(pair, ndim, channels, notes, allow_gray, sized))
            shapes += pair_shapes
        except UserError as error:
            problems.append(error)
        if pair.label is None:
            continue
        try:
            pair_shapes.append(_check_label(pair.label, pair, ndim, classes, notes))
        except UserError as error:
            message = f"{error.message} (the label of {pair.image})"
            problems.append(UserError(message, error.hint, error.code))
        if len(set(pair_shapes)) == 2:
            problems.append(shape_mismatch(pair, *pair_shapes))
    if problems:
        raise _all_problems(problems)
    for note, count in notes.items():
        _log.info(f"{note} ({counted(count, 'file')})")
    return shapes


def _check_image(
    pair: Pair,
    ndim: int,
    channels: int | None,
    notes: Counter[str],
    allow_gray: bool,
    sized: bool,
) -> tuple[int, ...]:
    header = read_header(pair.image, pair.arrays)
    layout = image_layout(pair.image, header, ndim, channels, allow_gray=allow_gray)
    file_lines = file_notes(header, layout, sized=sized)
    notes.update(f"images: {note}" for note in [layout.note, *file_lines])
    return layout.spatial_shape


def _check_label(
    path: Path, pair: Pair, ndim: int, classes: int | None, notes: Counter[str]
) -> tuple[int, ...]:
    header = read_header(path, pair.label_arrays, labels=True)
    if path == pair.image and header.array == read_header(path, pair.arrays).array:
        raise UserError(
            f"{path}: got the same array {header.array} for image and labels, expected two arrays",
            "name both with INPUT_ZARR_MULTIPLE_DATA_RAW_PATH and …_GT_PATH",
            "data.same_array",
        )
    layout = label_layout(path, header, ndim, classes is not None)
    if header.dtype.kind == "f" or layout.channels == 3:
        read_labels(path, ndim, classes is not None, n_classes=classes, arrays=pair.label_arrays)
    file_lines = file_notes(header, layout, sized=True)
    notes.update(f"labels: {note}" for note in [layout.note, *file_lines])
    if layout.channels == 2 and classes is None:
        notes["labels: the second channel (the class) is not used"] += 1
    return layout.spatial_shape


def shape_mismatch(
    pair: Pair, image_shape: tuple[int, ...], label_shape: tuple[int, ...]
) -> UserError:
    """Return the error for an image and labels of different shapes."""
    return UserError(
        f"{pair.image}: got shape {image_shape}, expected {label_shape} as in its labels "
        f"{pair.label}",
        "give each image labels of the same size; check that the right files are paired",
        "data.shape_mismatch",
    )


def _all_problems(problems: Sequence[UserError]) -> UserError:
    if len(problems) == 1:
        return problems[0]
    lines = [f"{len(problems)} problems in the images and labels:"]
    lines += [f"  - {problem.message}" for problem in problems[:_MAX_LISTED]]
    if len(problems) > _MAX_LISTED:
        lines.append(f"  … and {len(problems) - _MAX_LISTED} more")
    hints = dict.fromkeys(problem.hint for problem in problems if problem.hint)
    return UserError("\n".join(lines), "\n  → ".join(list(hints)[:3]) or None, "data.invalid_files")


def _by_stem(paths: Sequence[Path], key: str) -> dict[str, Path]:
    by_stem: dict[str, Path] = {}
    for path in paths:
        other = by_stem.setdefault(stem_of(path), path)
        if other is not path:
            raise UserError(
                f"{key}: {other.name} and {path.name} in {path.parent} have the same name before "
                "the suffix",
                "remove or rename one of them",
                "data.duplicate_name",
            )
    return by_stem


def _check_containers(paths: Iterable[Path], key: str) -> None:
    """Raise an error for files that cannot contain both images and labels."""
    others = [path.name for path in paths if not is_container(path)]
    if others:
        raise UserError(
            f"{key}: got {', '.join(others[:5])}, expected Zarr, HDF5 or N5 files that contain "
            "images and labels, as INPUT_ZARR_MULTIPLE_DATA is True",
            "set INPUT_ZARR_MULTIPLE_DATA: False, and give a folder of labels",
            "data.not_a_container",
        )


def _pair_by_word(images: Mapping[str, Path], labels: Mapping[str, Path]) -> list[Pair]:
    """Return pairs if all names match one to one without words such as "mask", else no pairs."""
    image_names = [{image_cores(path)[i]: stem for stem, path in images.items()} for i in range(4)]
    label_names = [{label_cores(path)[i]: path for path in labels.values()} for i in range(4)]
    for stems, cores in product(image_names, label_names):
        if len(stems) == len(images) and len(cores) == len(labels) and stems.keys() == cores.keys():
            return [Pair(images[stem], cores[core], stem) for core, stem in stems.items()]
    return []


def _check_unpaired(
    images: Mapping[str, Path], labels: Mapping[str, Path], image_key: str, label_key: str
) -> None:
    """Raise an error for names that match only in part, and for unequal numbers of files."""
    image_names = {core for path in images.values() for core in image_cores(path)}
    label_names = {core for path in labels.values() for core in label_cores(path)}
    if len(images) == len(labels) and not image_names & label_names:
        return
    unlabeled = [p.name for p in images.values() if label_names.isdisjoint(image_cores(p))]
    unused = [p.name for p in labels.values() if image_names.isdisjoint(label_cores(p))]
    lines = [
        f"{image_key}: {counted(len(images), 'image')}, {label_key}: "
        f"{counted(len(labels), 'label')}; their names do not match"
    ]
    for key, names, other in ((image_key, unlabeled, "label"), (label_key, unused, "image")):
        if names:
            more = f" … and {len(names) - 10} more" if len(names) > 10 else ""
            lines.append(f"  {key}, without {other}: {', '.join(names[:10])}{more}")
    raise UserError(
        "\n".join(lines),
        "give each image a label of the same name (before the suffix), or remove the other files",
        "data.unpaired_files",
    )


def _check_order(pairs: Sequence[Pair], image_key: str, label_key: str) -> None:
    """Raise an error if the names do not confirm the sorted order."""
    names = [(stem_of(pair.image), stem_of(pair.label)) for pair in pairs if pair.label]
    if agree_in_order(*zip(*names, strict=True)):
        return
    numbers = [(last_number(image), last_number(label)) for image, label in names]
    differing = [i for i, (image, label) in enumerate(numbers) if image is None or image != label]
    reason = "the names of images and labels do not show which belong together"
    if 0 < len(differing) < len(pairs):
        reason = (
            f"in sorted order, {len(differing)} of {len(pairs)} pairs have different numbers in "
            "their names"
        )
    selected = [pairs[i] for i in differing] or pairs
    examples = "; ".join(f"{p.image.name} ↔ {p.label.name}" for p in selected[:5] if p.label)
    raise UserError(
        f"{image_key} and {label_key}: {reason}: {examples}",
        "give each image a label of the same name (before the suffix); if the files belong "
        "together in sorted order, set DATA.PAIR_BY_SORTED_ORDER: True in the configuration",
        "io.names_differ",
    )

"""Find images, pair them with their labels, and check all of them before a run."""

from __future__ import annotations

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
from singula.io.names import agree_in_order, last_number
from singula.io.pair import Pair as Pair
from singula.io.pair import oriented as oriented
from singula.io.read import (
    Notify,
    file_notes,
    image_layout,
    label_layout,
    read_header,
    read_labels,
)
from singula.io.run_log import notify_once
from singula.util.format import counted

_MOST_LISTED = 20
LABEL_WORDS = r"(?:cp_masks?|masks?|labels?|lbl|gt|ground_?truth|seg|segmentation|instances?)"
_FRONT, _END = r"^{}[_\-. ]+", r"[_\-. ]+{}$"
_LABEL_WORD = [re.compile(side.format(LABEL_WORDS), re.IGNORECASE) for side in (_FRONT, _END)]
_IMAGE_WORD = [
    re.compile(_FRONT.format(r"(?:images?|img|raw)"), re.IGNORECASE),
    # _0000 is the first channel in the names of nnU-Net.
    re.compile(_END.format(r"(?:images?|img|raw|0000)"), re.IGNORECASE),
]


def pair_files(
    image_dir: Path | str,
    label_dir: Path | str | None,
    image_key: str,
    label_key: str,
    notify: Notify | None = None,
    places: ArrayPlaces | None = None,
    *,
    by_order: bool = False,
) -> list[Pair]:
    """Pair images and labels by stem, else by a word such as "_mask" more, else by order.

    Sorted order is used if words or numbers in the names confirm it. Names are compared in
    composed Unicode form (NFC).

    Parameters
    ----------
    image_dir, label_dir : Path or str
        The two folders; without the second, the pairs have no labels.
    image_key, label_key : str
        The configuration keys that named them, for messages.
    notify : callable, optional
        Told when pairs were not made by equal stems.
    places : ArrayPlaces, optional
        Where containers keep images and labels; together: each image is its own label file.
    by_order : bool
        Use sorted order even if nothing in the names confirms it.

    Returns
    -------
    list of Pair
        In natural order of the images.

    Raises
    ------
    UserError
        A folder without images, the same folder twice, two files with one stem, leftovers;
        ``io.names_differ``: names that do not show which files belong together.
    """
    images = _by_stem(list_images(image_dir, image_key), image_key)
    together = places is not None and places.together
    if together:
        _check_containers(images.values(), image_key)
    if label_dir is None or together:
        pairs = [Pair(path, path if together else None, stem) for stem, path in images.items()]
    else:
        pairs = _pair(images, image_dir, label_dir, image_key, label_key, notify, by_order=by_order)
    return with_places(pairs, places)


def with_places(pairs: Sequence[Pair], places: ArrayPlaces | None) -> list[Pair]:
    """Return pairs that are read at the places where the containers of a data set keep them."""
    if places is None:
        return list(pairs)
    return [replace(pair, arrays=places.image, label_arrays=places.labels) for pair in pairs]


def _pair(
    images: Mapping[str, Path],
    image_dir: Path | str,
    label_dir: Path | str,
    image_key: str,
    label_key: str,
    notify: Notify | None,
    *,
    by_order: bool,
) -> list[Pair]:
    if Path(image_dir).resolve() == Path(label_dir).resolve():
        raise UserError(
            f"{image_key} and {label_key} are the same folder, {image_dir}",
            "put images and labels in two folders",
        )
    labels = _by_stem(list_images(label_dir, label_key), label_key)
    if images.keys() == labels.keys():
        return [Pair(path, labels[stem], stem) for stem, path in images.items()]
    pairs = _pair_by_word(images, labels)
    if pairs:
        how = "by name, leaving words such as 'mask' or 'label' out"
        _tell_pairs(notify, how, image_key, pairs)
        return pairs
    _check_leftovers(images, labels, image_key, label_key)
    pairs = [
        Pair(image, label, stem)
        for (stem, image), label in zip(images.items(), labels.values(), strict=True)
    ]
    if not by_order:
        _check_order(pairs, image_key, label_key)
    _tell_pairs(
        notify,
        "by sorted order, because their names differ; make sure that they belong together",
        image_key,
        pairs,
    )
    return pairs


def label_cores(path: Path) -> tuple[str, ...]:
    """Name without suffix; then without a word such as "mask" at its end, its front, and both."""
    return _cores(stem_of(path), _LABEL_WORD)


def image_cores(path: Path) -> tuple[str, ...]:
    """The same with words such as "img"."""
    return _cores(stem_of(path), _IMAGE_WORD)


def _cores(stem: str, words: Sequence[re.Pattern[str]]) -> tuple[str, ...]:
    front, end = (word.sub("", stem) for word in words)
    return stem, end, front, words[0].sub("", end)


def has_label_word(path: Path) -> bool:
    """Whether the name says that it is a label image, as in ``cell1_mask.tif``."""
    return any(word.search(stem_of(path)) for word in _LABEL_WORD)


def match_files(
    images: Sequence[Path], labels: Sequence[Path]
) -> tuple[list[Pair], list[Path], list[Path]]:
    """Pair files whose names agree, with or without a word such as "mask", and list the others.

    Returns
    -------
    pairs : list of Pair
    images, labels : list of Path
        What is left over, a second file of one name with it.
    """
    left = {stem_of(path): path for path in reversed(labels)}
    pairs: list[Pair] = []
    for most in (1, 4):  # whole names first
        cores: dict[str, str] = {}
        for stem, path in left.items():
            for core in label_cores(path)[:most]:
                cores.setdefault(core, stem)
        done = {pair.name for pair in pairs}
        for image in images:
            near = [core for core in image_cores(image)[:most] if cores.get(core) in left]
            if near and stem_of(image) not in done:
                pairs.append(Pair(image, left.pop(cores[near[0]]), stem_of(image)))
                done.add(stem_of(image))
    order = {path: place for place, path in enumerate(images)}
    pairs.sort(key=lambda pair: order[pair.image])
    used = {path for pair in pairs for path in (pair.image, pair.label)}
    return pairs, [p for p in images if p not in used], [p for p in labels if p not in used]


def check_pairs(
    pairs: Sequence[Pair],
    ndim: int,
    channels: int | None,
    classes: int | None = None,
    notify: Notify | None = None,
    *,
    grey: bool = False,
    sized: bool = False,
) -> list[tuple[int, ...]]:
    """Check every image and label of a run from their headers; all problems at once.

    Labels that may be fractions or colours are read whole, because only the pixels can tell.

    Parameters
    ----------
    pairs : sequence of Pair
        What `pair_files` found.
    ndim : int
        2 or 3 spatial axes.
    channels : int, optional
        Channels that every image must have.
    classes : int, optional
        Number of classes when labels have a class channel; else None.
    notify : callable, optional
        Told how the axes were decided, and what the files' notes are, with the number of files.
    grey : bool
        Images with one channel are allowed too.
    sized : bool
        The user set the voxel size, so incomplete sizes in files are not reported.

    Returns
    -------
    list of tuple of int
        Spatial shape of each image.

    Raises
    ------
    UserError
        Lists unreadable files, axes and channels that do not fit, and shapes that differ.
    """
    problems: list[UserError] = []
    told: Counter[str] = Counter()
    shapes = []
    for pair in pairs:
        found: list[tuple[int, ...]] = []
        try:
            found.append(_check_image(pair, ndim, channels, told, grey, sized))
            shapes += found
        except UserError as error:
            problems.append(error)
        if pair.label is None:
            continue
        try:
            found.append(_check_label(pair.label, pair, ndim, classes, told))
        except UserError as error:
            message = f"{error.message} (the label of {pair.image})"
            problems.append(UserError(message, error.hint, error.code))
        if len(set(found)) == 2:
            problems.append(shape_mismatch(pair, *found))
    if problems:
        raise _all_problems(problems)
    if notify:
        for note, count in told.items():
            notify(f"{note} ({counted(count, 'file')})")
    return shapes


def _check_image(
    pair: Pair, ndim: int, channels: int | None, told: Counter[str], grey: bool, sized: bool
) -> tuple[int, ...]:
    header = read_header(pair.image, pair.arrays)
    layout = image_layout(pair.image, header, ndim, channels, allow_gray=grey)
    notes = file_notes(header, layout, sized=sized)
    told.update(f"images: {note}" for note in [layout.note, *notes])
    return layout.spatial_shape


def _check_label(
    path: Path, pair: Pair, ndim: int, classes: int | None, told: Counter[str]
) -> tuple[int, ...]:
    header = read_header(path, pair.label_arrays, labels=True)
    if path == pair.image and header.array == read_header(path, pair.arrays).array:
        raise UserError(
            f"{path}: image and labels are the same array, {header.array}",
            "name both with INPUT_ZARR_MULTIPLE_DATA_RAW_PATH and …_GT_PATH",
        )
    layout = label_layout(path, header, ndim, classes is not None)
    if header.dtype.kind == "f" or layout.channels == 3:
        read_labels(path, ndim, classes is not None, n_classes=classes, arrays=pair.label_arrays)
    notes = file_notes(header, layout, sized=True)
    told.update(f"labels: {note}" for note in [layout.note, *notes])
    if layout.channels == 2 and classes is None:
        told["labels: the second channel (the class) is left out"] += 1
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
    lines += [f"  - {problem.message}" for problem in problems[:_MOST_LISTED]]
    if len(problems) > _MOST_LISTED:
        lines.append(f"  … and {len(problems) - _MOST_LISTED} more")
    hints = dict.fromkeys(problem.hint for problem in problems if problem.hint)
    return UserError("\n".join(lines), "\n  → ".join(list(hints)[:3]) or None)


def _by_stem(paths: Sequence[Path], key: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in paths:
        twin = found.setdefault(stem_of(path), path)
        if twin is not path:
            raise UserError(
                f"{key}: {twin.name} and {path.name} in {path.parent} have the same name before "
                "the suffix",
                "keep one of them, or rename one",
            )
    return found


def _check_containers(paths: Iterable[Path], key: str) -> None:
    """Refuse files that cannot hold images and labels."""
    plain = [path.name for path in paths if not is_container(path)]
    if plain:
        raise UserError(
            f"{key}: {', '.join(plain[:5])}: no Zarr, HDF5 or N5, but INPUT_ZARR_MULTIPLE_DATA "
            "says that each file holds the image and its labels",
            "set INPUT_ZARR_MULTIPLE_DATA to False, and give a folder of labels",
        )


def _pair_by_word(images: Mapping[str, Path], labels: Mapping[str, Path]) -> list[Pair]:
    """Pair names that match one to one without words like "mask"; else nothing."""
    own = [{image_cores(path)[cut]: stem for stem, path in images.items()} for cut in range(4)]
    others = [{label_cores(path)[cut]: path for path in labels.values()} for cut in range(4)]
    for stems, cores in product(own, others):
        if len(stems) == len(images) and len(cores) == len(labels) and stems.keys() == cores.keys():
            return [Pair(images[stem], cores[core], stem) for core, stem in stems.items()]
    return []


def _check_leftovers(
    images: Mapping[str, Path], labels: Mapping[str, Path], image_key: str, label_key: str
) -> None:
    """Refuse names that match in part, and unequal numbers of files."""
    image_names = {core for path in images.values() for core in image_cores(path)}
    label_names = {core for path in labels.values() for core in label_cores(path)}
    if len(images) == len(labels) and not image_names & label_names:
        return
    alone = [p.name for p in images.values() if label_names.isdisjoint(image_cores(p))]
    unused = [p.name for p in labels.values() if image_names.isdisjoint(label_cores(p))]
    lines = [
        f"{image_key}: {counted(len(images), 'image')}, {label_key}: "
        f"{counted(len(labels), 'label')}; their names do not match"
    ]
    for key, names, other in ((image_key, alone, "label"), (label_key, unused, "image")):
        if names:
            more = f" … and {len(names) - 10} more" if len(names) > 10 else ""
            lines.append(f"  {key}, without {other}: {', '.join(names[:10])}{more}")
    raise UserError(
        "\n".join(lines),
        "give every image a label of the same name (before the suffix), or remove what is over",
    )


def _check_order(pairs: Sequence[Pair], image_key: str, label_key: str) -> None:
    """Refuse sorted order where the names do not confirm it."""
    names = [(stem_of(pair.image), stem_of(pair.label)) for pair in pairs if pair.label]
    if agree_in_order(*zip(*names, strict=True)):
        return
    numbers = [(last_number(image), last_number(label)) for image, label in names]
    differ = [place for place, (one, two) in enumerate(numbers) if one is None or one != two]
    why = "the names of images and labels do not show which belong together"
    if 0 < len(differ) < len(pairs):
        why = (
            f"in sorted order, {len(differ)} of {len(pairs)} pairs have different numbers in "
            "their names"
        )
    chosen = [pairs[place] for place in differ] or pairs
    shown = "; ".join(f"{p.image.name} ↔ {p.label.name}" for p in chosen[:5] if p.label)
    raise UserError(
        f"{image_key} and {label_key}: {why}: {shown}",
        "give every image a label of the same name (before the suffix); if the files in sorted "
        "order do belong together, set DATA.PAIR_BY_SORTED_ORDER: True in the configuration",
        "io.names_differ",
    )


def _tell_pairs(notify: Notify | None, how: str, image_key: str, pairs: Sequence[Pair]) -> None:
    """Explain the rule, which a run prints once, and show examples of this folder."""
    if notify:
        shown = "; ".join(f"{p.image.name} ↔ {p.label.name}" for p in pairs[:3] if p.label)
        more = "; …" if len(pairs) > 3 else ""
        rule = f"images and labels are paired {how}"
        notify_once(notify, rule, image_key, f"{shown}{more}")

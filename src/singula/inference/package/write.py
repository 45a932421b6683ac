"""Writing of model packages: zip files in the format of the BioImage Model Zoo."""

from __future__ import annotations

import io
import logging
import re
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import yaml

from singula.errors import UserError
from singula.inference.load_model import find_model, load
from singula.inference.model import Model
from singula.inference.model_list import describe_built_in, describe_run
from singula.inference.package.description import (
    CLASSES,
    ENVIRONMENT,
    IMAGE,
    MAPS,
    README,
    TORCHSCRIPT,
    WEIGHTS,
    Details,
    Network,
    describe_model,
    environment,
)
from singula.inference.package.licenses import check_license
from singula.inference.package.normalization import describe_normalization
from singula.inference.package.readme import readme
from singula.inference.package.tensors import axis_sizes, make_test_image, preprocessing_steps
from singula.inference.publish import portable_description
from singula.io.atomic import atomic_path
from singula.io.records.checkpoints import PackageInfo
from singula.pipeline.checkpoints import network_from, trained_config
from singula.pipeline.from_config import model_settings
from singula.pipeline.normalization import with_statistics
from singula.prediction.map_network import MapNetwork
from singula.runs.run import is_finished, open_run
from singula.training.checkpoint import KEY, Checkpoint, load_checkpoint, sign
from singula.training.model_package import INFO, MANIFEST, SUFFIX
from singula.util.arguments import flag, items, text
from singula.util.format import show
from singula.util.paths import user_path
from singula.zoo.models import BuiltInModel, built_in_models

_log = logging.getLogger(__name__)
Array = npt.NDArray[Any]
_DOI = re.compile(r"10\.[0-9]{4,9}/\S+")
_NAME = re.compile("[A-Za-z0-9_+() -]{5,128}")
_DATE = (1980, 1, 1, 0, 0, 0)  # so that equal models yield equal files
_MIN_VALUE = 1e-4  # bioimageio.core refuses test tensors whose values are all smaller
_AUTHORS = ("The Singula developers",)  # of the built-in models


def write_package(
    run_or_checkpoint: Path | str,
    output: Path | str,
    *,
    name: str = "",
    license: str = "",
    authors: Sequence[str] = (),
    cite: Sequence[str] = (),
    tags: Sequence[str] = (),
    image: Path | str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a model as a package for the BioImage Model Zoo and for other programs.

    The package describes the network with its axes, normalization and channels. It contains the
    weights as tensors and as TorchScript, and test tensors. `singula.load` reads the package, and
    its predictions equal those of the original model.

    Parameters
    ----------
    run_or_checkpoint : Path or str
        Folder of a run, a checkpoint, or the name of a built-in model.
    output : Path or str
        File to write, ``*.zip``.
    name : str
        Name of the model: letters, digits, spaces and ``_+-()``, at least five. By default the
        name of the file or of the built-in model.
    license : str
        SPDX identifier of the license of the weights, such as ``CC-BY-4.0``. By default the license
        of the built-in model, else none.
    authors : sequence of str
        Names of the authors; an affiliation may follow a comma.
    cite : sequence of str
        DOIs of publications about the model.
    tags : sequence of str
        Words for a search, such as ``nuclei``.
    image : Path or str, optional
        Image for the test tensors, of which a part becomes public with the package. By default
        synthetic nuclei.
    overwrite : bool
        Replace an existing file.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    TypeError, UserError
        An argument is wrong; the model cannot be read; ``package.suffix``, ``package.exists``,
        ``package.name``, ``package.license``, ``package.doi``, ``package.text``;
        ``package.image_type``: the normalization depends on the data type of the training images,
        which do not exist here; ``package.empty_maps``: the network finds nothing in the test
        image.

    Examples
    --------
    >>> import singula
    >>> from singula.inference import write_package
    >>> package = write_package("nuclei", "nuclei.zip")
    >>> package.name, singula.load(package).channels
    ('nuclei.zip', 'BC')
    """
    path = user_path(run_or_checkpoint, "run_or_checkpoint")
    target = _check_output(output, overwrite=flag(overwrite, "overwrite"))
    file = None if image is None else user_path(image, "--image", "input")
    source = find_model(path)
    built_in = next((m for m in built_in_models().values() if m.checkpoint == source), None)
    details = _details(source, built_in, name, license, authors, cite, tags)
    checkpoint = _portable_checkpoint(source)
    example = _example(checkpoint, load(source), file)
    if not details.license:
        _log.warning("the package has no license, so others may not use it; set one with --license")
    if not details.authors:
        _log.warning("the package has no authors; name them with --author")
    for step in example.network.normalization.before:
        _log.warning(f"the format cannot express a step; other programs must first {step}")
    state = {key: value.contiguous() for key, value in example.module.state_dict().items()}
    files = {
        WEIGHTS: _saved(torch.save, state),
        TORCHSCRIPT: _torchscript(example),
        **{f"test_{key}.npy": _npy(array) for key, array in example.tensors.items()},
        INFO: _info(checkpoint, state),
        ENVIRONMENT: environment().encode(),
        README: readme(details, example.network, _scores(path, built_in)).encode(),
    }
    manifest = describe_model(details, example.network, files)
    text_of_manifest = yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    files[MANIFEST] = str(text_of_manifest).encode()
    with atomic_path(target) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for entry, data in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(entry, _DATE), data)
    return target


class _Dumper(yaml.SafeDumper):
    """Writer of YAML without references to equal parts, which few people can read."""

    def ignore_aliases(self, data: Any) -> bool:
        """Return True: write equal parts in full."""
        return True


@dataclass(frozen=True)
class _Example:
    """Network with its test tensors, and the normalized batch of the test image."""

    network: Network
    module: MapNetwork
    batch: torch.Tensor
    tensors: dict[str, Array]


def _check_output(output: Path | str, *, overwrite: bool) -> Path:
    path = user_path(output, "--output", "output file")
    if path.suffix.lower() != SUFFIX:
        raise UserError(
            f"--output: got {path}, expected a name that ends in {SUFFIX}",
            f"name it {path.stem or 'model'}{SUFFIX}",
            "package.suffix",
        )
    if path.exists() and not overwrite:
        raise UserError(
            f"--output: {path} already exists",
            "give another name with --output, or replace the file with --overwrite",
            "package.exists",
        )
    return path


def _portable_checkpoint(source: Path) -> Checkpoint:
    """Return a checkpoint with its complete normalization, and without local paths."""
    checkpoint = load_checkpoint(source)
    description = portable_description(checkpoint.description, source)
    complete = with_statistics(trained_config(checkpoint), checkpoint)
    return replace(
        checkpoint, description={**description, "normalizer": complete.description["normalizer"]}
    )


def _example(checkpoint: Checkpoint, model: Model, file: Path | None) -> _Example:
    """Build the network, and predict the test image."""
    config = model.config
    settings = model_settings(config, checkpoint.description.get("model"))
    trained, normalizer = network_from(config, checkpoint)
    activations = [output.activation for output in model.predictor.outputs]
    module = MapNetwork(trained, activations, settings.n_classes).eval()
    sizes = axis_sizes(config, settings)
    image = make_test_image(model, normalizer, sizes, file)
    normalization = describe_normalization(normalizer, image)
    before = [*preprocessing_steps(model), *normalization.before]
    normalization = replace(normalization, before=before)
    normalized = normalizer.scaling(image).apply(image)
    batch = torch.from_numpy(np.moveaxis(normalized, -1, 0)[None].copy())
    with torch.no_grad():
        predicted = module(batch)
    outputs = predicted if isinstance(predicted, tuple) else (predicted,)
    tensors = {IMAGE: np.moveaxis(normalization.image, -1, 0)[None]}
    tensors |= {key: out.numpy() for key, out in zip((MAPS, CLASSES), outputs, strict=False)}
    for key, array in tensors.items():
        if not np.isfinite(array).all() or np.abs(array).max() < _MIN_VALUE:
            raise UserError(
                f"--image: got a test image with {key} below {_MIN_VALUE:g} or not finite, "
                "expected an image with objects",
                "give one of the training images with --image",
                "package.empty_maps",
            )
    count = sum(weight.numel() for weight in trained.parameters())
    network = Network(config, settings, sizes, normalization, model.objects, count)
    return _Example(network, module, batch, tensors)


def _info(checkpoint: Checkpoint, state: dict[str, torch.Tensor]) -> bytes:
    """Return the description of the network that Singula reads, signed with the weights."""
    contents = {"epoch": checkpoint.epoch, "state_dict": state, KEY: checkpoint.description}
    description = sign(contents, str(checkpoint.path))[KEY]
    info = PackageInfo(weights=WEIGHTS, epoch=checkpoint.epoch, checkpoint=description)
    return info.to_json(indent=1).encode()


def _saved(save: Callable[[Any, io.BytesIO], object], value: Any) -> bytes:
    buffer = io.BytesIO()
    save(value, buffer)
    return buffer.getvalue()


def _npy(array: Array) -> bytes:
    return _saved(lambda values, file: np.save(file, values), np.ascontiguousarray(array))


def _torchscript(example: _Example) -> bytes:
    """Return the traced network, without records of the tracing, which have paths of sources."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of shapes: a fixed size is declared where they matter
        trace = torch.jit.trace(  # type: ignore[no-untyped-call]
            example.module, example.batch, check_trace=False
        )
        data = _saved(torch.jit.save, trace)
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        for entry in old.infolist():
            if not entry.filename.endswith((".debug_pkl", "/serialization_id")):
                new.writestr(zipfile.ZipInfo(entry.filename, _DATE), old.read(entry))
    return buffer.getvalue()


def _details(
    source: Path,
    built_in: BuiltInModel | None,
    name: str,
    license: str,
    authors: Sequence[str],
    cite: Sequence[str],
    tags: Sequence[str],
) -> Details:
    """Validate the facts about a model, and complete them from the card of a built-in model."""
    people, dois, keywords = (
        items(values, key, _line)
        for values, key in ((authors, "authors"), (cite, "cite"), (tags, "tags"))
    )
    card = None if built_in is None else built_in.card
    title = text(name, "--name") or (_default_name(source) if card is None else card.title)
    if not _NAME.fullmatch(title):
        raise UserError(
            f"--name: got {show(title)}, expected 5 to 128 letters, digits, spaces and _+-()",
            "give another name with --name",
            "package.name",
        )
    license = text(license, "--license") or ("" if card is None else card.weights_license)
    if license:
        check_license(license)
    for doi in dois:
        if not _DOI.fullmatch(doi):
            raise UserError(
                f"--cite: got {show(doi)}, expected a DOI, such as 10.1000/182",
                "give the DOI without the address of a server",
                "package.doi",
            )
    summary = f"Instance segmentation of microscopy images with Singula: {title}."
    if card is not None:
        summary = f"Finds {card.title}. Images: {card.images}. Trained on {card.training_data}."
        people = people or _AUTHORS
    return Details(title, summary, license, people, dois, keywords)


def _line(value: object, name: str) -> str:
    """Return a text of one line without slashes, which names in the format must not have."""
    line = text(value, name)
    forbidden = "\\" if name.startswith("cite") else "/\\"
    if line.strip() and line.isprintable() and len(line) <= 200 and not set(line) & set(forbidden):
        return line.strip()
    raise UserError(
        f"{name}: got {show(line)}, expected 1 to 200 characters in one line, without slashes",
        "correct the text",
        "package.text",
    )


def _default_name(source: Path) -> str:
    stem = source.stem.partition("-checkpoint")[0]
    return re.sub("[^A-Za-z0-9_+() -]", "_", stem)[:100] + " (Singula)"


def _scores(path: Path, built_in: BuiltInModel | None) -> list[str]:
    """Return lines about the quality of a model, for its documentation."""
    if built_in is not None:
        info = describe_built_in(built_in)
    elif is_finished(path):
        info = describe_run(open_run(path))
    else:
        return []
    scores = [f"- {name}: {value:.3f}" for name, value in (info.scores or {}).items()]
    return [f"Scores on {info.scored_on}:", "", *scores] if scores else []

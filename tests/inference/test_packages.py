"""Packages for the BioImage Model Zoo, checked with the libraries of its authors."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from bioimageio.core import create_prediction_pipeline, test_model
from bioimageio.core.proc_ops import get_proc
from bioimageio.core.sample import Sample
from bioimageio.core.stat_calculators import StatsCalculator
from bioimageio.core.tensor import Tensor
from bioimageio.spec import load_model_description, save_bioimageio_package
from bioimageio.spec.model.v0_5 import InputTensorDescr
from untrained import write_untrained

import singula
from singula.data.normalize import Normalizer
from singula.errors import UserError
from singula.inference import write_package
from singula.inference.package import description, licenses
from singula.inference.package.normalization import describe_normalization
from singula.io.write import write_tiff
from singula.models import ModelSettings, TransformerSettings
from singula.models.variants import ARCHITECTURES
from singula.prediction.map_network import map_network
from singula.synthetic.fluorescence import make_image

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
test_model.__test__ = False  # type: ignore[attr-defined]  # pytest would collect it
PERCENTILES = {
    "DATA__NORMALIZATION__PERC_CLIP": True,
    "DATA__NORMALIZATION__PERC_LOWER": 1.0,
    "DATA__NORMALIZATION__PERC_UPPER": 99.0,
}
SPACE = {2: "yx", 3: "zyx"}


def package_of(checkpoint: Path, **options: object) -> Path:
    return write_package(checkpoint, checkpoint.with_suffix(".zip"), **options)  # type: ignore[arg-type]


def manifest_of(package: Path) -> dict:
    with zipfile.ZipFile(package) as archive:
        return yaml.safe_load(archive.read("bioimageio.yaml"))


def maps_of_core(package: Path, image: np.ndarray) -> np.ndarray:
    """Predict an image (…, c) with bioimageio.core, and return the maps (c, …)."""
    array = np.moveaxis(image, -1, 0)[None]
    axes = ("batch", "channel", *SPACE[image.ndim - 1])
    sample = Sample(members={"image": Tensor(array, axes)}, stat={}, id="a")
    with create_prediction_pipeline(load_model_description(package)) as pipeline:
        # In one call, the percentiles are those of the image with its mirrored margin.
        pipeline.apply_preprocessing(sample)
        predicted = pipeline.predict_sample_without_blocking(sample, skip_preprocessing=True)
    return predicted.members["maps"].to_numpy()[0]


@pytest.mark.parametrize(
    ("ndim", "keys", "shape"),
    [
        (2, PERCENTILES, (52, 40)),
        (3, {"PROBLEM__INSTANCE_SEG__DATA_CHANNELS": "BCD"}, (9, 28, 36)),
        pytest.param(
            2,
            {"PROBLEM__INSTANCE_SEG__DATA_CHANNELS": ["F", "H", "V", "D"]},
            (40, 40),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["2D", "3D", "vectors"],
)
def test_bioimageio_core_validates_a_package_and_reproduces_the_maps(
    ndim: int, keys: dict, shape: tuple[int, ...], tmp_path: Path
) -> None:
    voxels = {"voxel_size": {"spacing": [2.0, 0.65, 0.65][-ndim:], "unit": "µm"}}
    checkpoint = write_untrained(tmp_path / "a.pth", ndim, description=voxels, **keys)
    options = {"license": "MIT", "authors": ["A. Author, Institute"], "cite": ["10.1000/182"]}
    package = package_of(checkpoint, tags=["nuclei"], **options)
    summary = test_model(package)
    assert summary.status == "passed", summary.format()
    formats = {d.loc for d in summary.details if d.name.startswith("Reproduce")}
    assert formats == {("weights", "pytorch_state_dict"), ("weights", "torchscript")}
    image = make_image(shape, np.random.default_rng(1)).image
    expected = singula.load(package).predict_maps(image)
    maps = maps_of_core(package, image[..., None])
    assert len(maps) == len(expected)
    for plane, (name, map_) in zip(maps, expected.items(), strict=True):
        np.testing.assert_allclose(plane, map_, atol=1e-4, err_msg=name)
    output = manifest_of(package)["outputs"][0]
    assert output["axes"][1]["channel_names"] == list(expected)


def test_a_package_predicts_what_the_checkpoint_predicts(tmp_path: Path) -> None:
    tuned = {"thresholds": {"TH_TYPE": "manual", "TH_BINARY_MASK": 0.51, "TH_CONTOUR": 0.49}}
    checkpoint = write_untrained(
        tmp_path / "a.pth",
        2,
        images=[np.full((8, 8, 1), 7.0, np.float32), np.full((8, 8, 1), 99.0, np.float32)],
        description={"tuned": tuned, "object_size": [12.0, 12.0], "object_range": [8.0, 20.0]},
        DATA__NORMALIZATION__TYPE="custom",
        DATA__NORMALIZATION__APPLICATION_MODE="dataset",
        TEST__BY_CHUNKS__INPUT_ZARR_MULTIPLE_DATA_RAW_PATH="volumes/raw",
    )
    package = package_of(checkpoint)
    checkpoint_model, model = singula.load(checkpoint), singula.load(package)
    image = make_image((70, 61), np.random.default_rng(2)).image
    expected = checkpoint_model.predict(image)
    assert expected.any()
    np.testing.assert_array_equal(model.predict(image), expected)
    assert model.objects == checkpoint_model.objects
    assert model.config.TEST == checkpoint_model.config.TEST
    again = write_package(package, tmp_path / "again.zip")  # a package is a model, too
    np.testing.assert_array_equal(singula.load(again).predict(image), expected)


def test_a_package_that_another_program_repacked_is_read(tmp_path: Path) -> None:
    package = package_of(write_untrained(tmp_path / "a.pth", 2))
    copy = save_bioimageio_package(load_model_description(package), output_path=tmp_path / "b.zip")
    image = make_image((40, 40), np.random.default_rng(3)).image
    expected = singula.load(package).predict_maps(image)
    for name, plane in singula.load(copy).predict_maps(image).items():
        np.testing.assert_array_equal(plane, expected[name])


def test_classes_are_a_second_output(tmp_path: Path) -> None:
    package = package_of(write_untrained(tmp_path / "a.pth", 2, MODEL__N_CLASSES=3))
    maps, classes = load_model_description(package).outputs
    assert [(maps.id, len(maps.data)), (classes.id, len(classes.data))] == [
        ("maps", 2),
        ("classes", 3),
    ]
    with zipfile.ZipFile(package) as archive:
        stored = np.load(io.BytesIO(archive.read("test_classes.npy")))
    np.testing.assert_allclose(stored.sum(axis=1), 1, atol=1e-5)


def test_a_network_with_an_unlimited_receptive_field_has_a_fixed_size(tmp_path: Path) -> None:
    package = package_of(write_untrained(tmp_path / "a.pth", 2, MODEL__ARCHITECTURE="seunet"))
    description = load_model_description(package)
    assert [axis.size for axis in description.inputs[0].axes[2:]] == [32, 32]


def test_equal_models_have_equal_packages(tmp_path: Path) -> None:
    checkpoint = write_untrained(tmp_path / "a.pth", 2)
    first = package_of(checkpoint).read_bytes()
    second = write_package(checkpoint, tmp_path / "second.zip")
    with zipfile.ZipFile(io.BytesIO(first)) as one, zipfile.ZipFile(second) as two:
        assert one.namelist() == two.namelist() == sorted(one.namelist())
        assert {entry.date_time for entry in one.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        # torch numbers the classes of the networks that one process traces.
        traced = {"weights_torchscript.pt", "bioimageio.yaml"}
        for name in set(one.namelist()) - traced:
            assert one.read(name) == two.read(name), name


def test_a_package_contains_nothing_of_the_machine(tmp_path: Path) -> None:
    keys = {"DATA__TEST__PATH": str(tmp_path / "private")}
    package = package_of(write_untrained(tmp_path / "a.pth", 2, **keys))
    sources = str(Path(singula.__file__).parents[1]).encode()
    with zipfile.ZipFile(package) as archive:
        for name in archive.namelist():
            data = archive.read(name)
            parts = [data]
            if name.endswith(".pt"):
                with zipfile.ZipFile(io.BytesIO(data)) as inner:
                    parts = [inner.read(part) for part in inner.namelist()]
            for part in parts:
                assert b"private" not in part
                assert sources not in part, name


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("ndim", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_traced_networks_compute_other_shapes(ndim: int, architecture: str) -> None:
    settings = ModelSettings(
        ndim,
        in_channels=1,
        out_channels=2,
        n_classes=3,
        architecture=architecture,
        feature_maps=(4, 8, 8),
        dropout=(0.1, 0.1, 0.1),
        transformer=TransformerSettings(4, 8, 4, 2, every=2, filters=4, patch=(16,) * ndim),
    )
    torch.manual_seed(0)
    network = map_network(settings.to_dict(), ["sigmoid", "linear"]).eval()
    # The positions of UNETR are traced for one shape, which its package declares as fixed.
    other = torch.randn(2, 1, *(16,) * ndim) if architecture == "unetr" else None
    with torch.no_grad():
        traced = torch.jit.trace(network, torch.randn(1, 1, *(16,) * ndim), check_trace=False)
        batch = torch.randn(2, 1, 24, *(32,) * (ndim - 1)) if other is None else other
        for found, expected in zip(traced(batch), network(batch), strict=True):
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


NORMALIZERS = {
    "range": Normalizer("scale_range"),
    "percentiles": Normalizer("scale_range", clip=(2.0, 99.0)),
    "range of the set": Normalizer("scale_range", per_image=False),
    "percentiles of the set": Normalizer("scale_range", per_image=False, clip=(2.0, 99.0)),
    "moments": Normalizer("custom"),
    "moments of clipped values": Normalizer("custom", clip=(2.0, 99.0)),
    "moments of the set": Normalizer("custom", per_image=False),
    "moments of the clipped set": Normalizer("custom", per_image=False, clip=(2.0, 99.0)),
    "moments of the user": Normalizer("custom", statistics={"mean": (90.0,), "std": (30.0,)}),
    "largest value": Normalizer("div"),
    "largest value, clipped": Normalizer("div", clip=(2.0, 99.0)),
    "largest value, clipped to the set": Normalizer("div", per_image=False, clip=(2.0, 99.0)),
}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", NORMALIZERS)
def test_normalization_by_bioimageio_core(kind: str, channels: int, dtype: type) -> None:
    rng = np.random.default_rng(0)
    brightness = np.linspace(60, 120, channels)
    images = [rng.normal(brightness, 20, (20, 30, channels)).clip(0, 255) for _ in range(3)]
    given = [(image if dtype is np.float32 else np.rint(image)).astype(dtype) for image in images]
    normalizer = NORMALIZERS[kind].fit(given[1:])
    expected = normalizer.scaling(given[0]).apply(given[0])
    described = describe_normalization(normalizer, given[0])
    tensor = InputTensorDescr.model_validate(
        {
            "id": "image",
            "axes": [
                {"type": "batch"},
                {"type": "channel", "channel_names": [f"c{n}" for n in range(channels)]},
                {"type": "space", "id": "y", "size": 20},
                {"type": "space", "id": "x", "size": 30},
            ],
            "data": {"type": described.dtype},
            "preprocessing": described.steps,
        }
    )
    array = np.moveaxis(described.image, -1, 0)[None]
    assert described.dtype in ("float32", array.dtype.name)
    sample = Sample(
        members={"image": Tensor(array, ("batch", "channel", "y", "x"))}, stat={}, id="a"
    )
    steps = [get_proc(step, tensor) for step in tensor.preprocessing]
    measures = {measure for step in steps for measure in step.required_measures}
    if measures:
        sample.stat = StatsCalculator(measures).update_and_get_all(sample)
    for step in steps:
        step(sample)
    result = np.moveaxis(sample.members["image"].to_numpy()[0], 0, -1)
    np.testing.assert_allclose(result, expected, atol=2e-5)
    # Only steps that the format lacks are left to the user.
    is_clipped = normalizer.wants_values and normalizer.clip is not None
    assert bool(described.before) == (is_clipped and normalizer.kind != "scale_range")


def test_an_image_of_the_user_is_the_test_image(tmp_path: Path) -> None:
    checkpoint = write_untrained(tmp_path / "a.pth", 2, DATA__NORMALIZATION__TYPE="div")
    with pytest.raises(UserError) as refused:
        package_of(checkpoint)
    assert refused.value.code == "package.image_type"
    assert not list(tmp_path.glob("*.zip"))
    image = make_image((301, 90), np.random.default_rng(4)).image.astype(np.uint16)
    write_tiff(tmp_path / "cells.tif", image, "YX")
    package = package_of(checkpoint, image=tmp_path / "cells.tif")
    with zipfile.ZipFile(package) as archive:
        tensor = np.load(io.BytesIO(archive.read("test_image.npy")))
    assert manifest_of(package)["inputs"][0]["data"]["type"] == "uint16"
    assert tensor.shape == (1, 1, 256, 90)
    np.testing.assert_array_equal(tensor[0, 0], image[22:278])


def test_the_training_images_determine_the_type_of_the_test_image(tmp_path: Path) -> None:
    keys = {"DATA__NORMALIZATION__TYPE": "div", "DATA__TRAIN__PATH": str(tmp_path / "x")}
    write_tiff(tmp_path / "x" / "a.tif", np.ones((9, 9), np.uint16), "YX")
    package = package_of(write_untrained(tmp_path / "a.pth", 2, **keys))
    data = manifest_of(package)["inputs"][0]
    assert data["data"]["type"] == "uint16"
    assert data["preprocessing"][1]["kwargs"]["gain"] == pytest.approx(1 / 65535)


def test_what_the_format_cannot_express_is_a_warning(tmp_path: Path, messages: list[str]) -> None:
    keys = {
        **PERCENTILES,
        "DATA__NORMALIZATION__TYPE": "custom",
        "DATA__PREPROCESS__TEST": True,
        "DATA__PREPROCESS__CLAHE__ENABLE": True,
    }
    package = package_of(write_untrained(tmp_path / "a.pth", 2, **keys))
    assert any("percentiles" in line for line in messages)
    assert any("CLAHE" in line for line in messages)
    assert any("--license" in line for line in messages)
    assert "percentiles" in manifest_of(package)["inputs"][0]["description"]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"name": "a/b/c"}, "package.name"),
        ({"name": "abc"}, "package.name"),
        ({"license": "see the file"}, "package.license"),
        ({"license": "MITT"}, "package.license"),
        ({"cite": ["https://doi.org/10.1000/182"]}, "package.doi"),
        ({"image": "missing.tif"}, "paths.missing"),
    ],
)
def test_wrong_facts_are_refused_before_writing(options: dict, code: str, tmp_path: Path) -> None:
    checkpoint = write_untrained(tmp_path / "a.pth", 2)
    with pytest.raises(UserError) as refused:
        package_of(checkpoint, **options)
    assert refused.value.code == code
    assert not (tmp_path / "a.zip").exists()


def test_licenses_are_identifiers_of_spdx(monkeypatch: pytest.MonkeyPatch) -> None:
    for identifier in ("CC-BY-4.0", "BSD-3-Clause", "GPL-3.0"):  # the last is deprecated
        licenses.check_license(identifier)
    with pytest.raises(UserError) as refused:
        licenses.check_license("cc-by-4")
    assert "CC-BY-4.0" in str(refused.value.hint)
    monkeypatch.setattr(licenses, "spdx_identifiers", frozenset)
    licenses.check_license("Company-1.0")
    with pytest.raises(UserError):
        licenses.check_license("see the file")


def test_the_environment_names_only_releases(monkeypatch: pytest.MonkeyPatch) -> None:
    for version, line in (("1.2.0", "singula==1.2.0"), ("1.2.0.dev3+g12", "singula")):
        monkeypatch.setattr(description, "__version__", version)
        assert description.environment().splitlines()[-1] == f"  - {line}"


def test_files_are_not_replaced_without_being_asked(tmp_path: Path) -> None:
    checkpoint = write_untrained(tmp_path / "a.pth", 2)
    (tmp_path / "a.zip").write_text("notes")
    for target, code in (("a.zip", "package.exists"), ("a.pth", "package.suffix")):
        with pytest.raises(UserError) as refused:
            write_package(checkpoint, tmp_path / target)
        assert refused.value.code == code
    assert (tmp_path / "a.zip").read_text() == "notes"
    package_of(checkpoint, overwrite=True)
    assert zipfile.is_zipfile(tmp_path / "a.zip")


def test_a_network_that_finds_nothing_is_not_packed(tmp_path: Path) -> None:
    from singula.training.checkpoint import read_checkpoint, write_checkpoint

    checkpoint = write_untrained(tmp_path / "a.pth", 2)
    contents = read_checkpoint(checkpoint)
    contents["state_dict"]["network.head.bias"] -= 99
    write_checkpoint(contents, checkpoint)
    with pytest.raises(UserError) as refused:
        package_of(checkpoint)
    assert refused.value.code == "package.empty_maps"


def test_built_in_models_have_their_card_in_the_package(tmp_path: Path) -> None:
    package = write_package("nuclei", tmp_path / "nuclei.zip")
    manifest = manifest_of(package)
    assert manifest["name"] == "nuclei in fluorescence images"
    assert manifest["license"] == "BSD-3-Clause"
    with zipfile.ZipFile(package) as archive:
        assert b"&id" not in archive.read("bioimageio.yaml")
        assert b"by you" not in archive.read("README.md")
    assert load_model_description(package).documentation is not None

"""The voxel size of a file: each axis is validated, in any unit, by any program that writes it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from singula.dataset.facts import survey_dataset
from singula.dataset.facts.images import survey_image
from singula.dataset.scan import Scan
from singula.exports.tables import instance_table
from singula.io.formats import ngff
from singula.io.image import Image
from singula.io.read import file_notes, image_layout, read_header, read_image
from singula.io.units import METERS, NAMES, convert, in_microns, unit_symbol, voxel_size
from singula.io.write import write_tiff
from singula.measure import measure_instances
from singula.runs.instances import Instances

# All units of length of the OME schema (UnitsLength), and all of OME-Zarr's axes
OME_UNITS = (
    "Ym", "Zm", "Em", "Pm", "Tm", "Gm", "Mm", "km", "hm", "dam", "m", "dm", "cm", "mm", "µm", "nm",
    "pm", "fm", "am", "zm", "ym", "Å", "thou", "li", "in", "ft", "yd", "mi", "ua", "ly", "pc",
    "pt",
)  # fmt: skip
NGFF_UNITS = (
    "angstrom", "attometer", "centimeter", "decimeter", "exameter", "femtometer", "foot",
    "gigameter", "hectometer", "inch", "kilometer", "megameter", "meter", "micrometer", "mile",
    "millimeter", "nanometer", "parsec", "petameter", "picometer", "terameter", "yard",
    "yoctometer", "yottameter", "zeptometer", "zettameter",
)  # fmt: skip
STACK = np.zeros((5, 8, 9), np.uint8)
STACK[1:4, 2:6, 2:7] = 1
PLANE = STACK[2]


def spacing_of(path: Path, ndim: int) -> tuple[tuple[float, ...] | None, str | None, str]:
    image, header = read_image(path, ndim), read_header(path)
    return image.spacing, image.unit, "; ".join(
        file_notes(header, image_layout(path, header, ndim, None))
    )  # fmt: skip


def fiji(path: Path, resolution: float = 5.0, unit_tag: int = 1, planes: int = 5, **keys) -> Path:
    """Write a TIFF as ImageJ does, with a given description."""
    lines = ["ImageJ=1.54f"]
    lines += [f"images={planes}", f"slices={planes}"] if planes > 1 else []
    lines += [f"{key}={value}" for key, value in keys.items()]
    with tifffile.TiffWriter(path) as tif:
        for number in range(planes):
            tif.write(
                STACK[number],
                description="\n".join([*lines, "loop=false", ""]) if number == 0 else None,
                metadata=None,
                resolution=(resolution, resolution),
                resolutionunit=unit_tag,
                contiguous=True,
                software="",
            )
    return path


def ome(path: Path, planes: int = 5, **sizes) -> Path:
    """Write an OME-TIFF whose Pixels element has the given attributes."""
    given_sizes = " ".join(f'PhysicalSize{axis}="{value}"' for axis, value in sizes.items())
    description = (
        '<?xml version="1.0" encoding="UTF-8"?><OME '
        'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
        f'<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="9" SizeY="8" '
        f'SizeZ="{planes}" SizeC="1" SizeT="1" {given_sizes}><TiffData/></Pixels></Image></OME>'
    )
    array = STACK if planes > 1 else PLANE
    tifffile.imwrite(path, array, description=description.encode(), metadata=None)
    return path


def test_every_unit_of_the_formats_is_known() -> None:
    assert set(OME_UNITS) == set(METERS)
    assert set(NGFF_UNITS) <= set(NAMES.values())
    for name in NGFF_UNITS:
        assert unit_symbol(name) in METERS
    for symbol in OME_UNITS:
        assert unit_symbol(symbol) == symbol


@pytest.mark.parametrize(
    ("spelling", "symbol"),
    [
        ("um", "µm"), ("\u00b5m", "µm"), ("\u03bcm", "µm"), (r"\u00B5m", "µm"), ("Micron", "µm"),
        ("microns", "µm"), ("micrometre", "µm"), ("UM", "µm"), ("inch", "in"), ("Inches", "in"),
        ("\u212b", "Å"), ("Angstroms", "Å"), (r"\u00C5", "Å"), ("CM", "cm"), ("Mm", "Mm"),
        ("nanometers", "nm"), ("feet", "ft"), ("pixel", None), ("reference frame", None),
        ("", None), (None, None), ("furlong", "furlong"),
    ],
)  # fmt: skip
def test_spellings(spelling, symbol) -> None:
    assert unit_symbol(spelling) == symbol


@given(
    sizes=st.tuples(*[st.floats(1e-3, 1e3)] * 3),
    units=st.tuples(*[st.sampled_from(OME_UNITS)] * 3),
)
def test_one_physical_size_in_any_units_is_the_same(sizes, units) -> None:
    """The unit of each axis changes neither the ratios nor the size in µm."""
    plain = voxel_size(dict(zip("zyx", sizes, strict=True)), dict.fromkeys("zyx", "µm"))
    written = [convert(size, "µm", unit) for size, unit in zip(sizes, units, strict=True)]
    mixed = voxel_size(dict(zip("zyx", written, strict=True)), dict(zip("zyx", units, strict=True)))
    assert mixed.unit == units[-1]
    assert plain.spacing is not None
    assert mixed.spacing is not None
    back, unit = in_microns(mixed.spacing, mixed.unit)
    assert unit == "µm"
    np.testing.assert_allclose(back, plain.spacing, rtol=1e-9)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"unit": "um"}, ((1, 0.2, 0.2), "µm")),
        ({"unit": r"\u00B5m", "spacing": 2}, ((2, 0.2, 0.2), "µm")),
        ({"unit": "micron", "spacing": -2}, ((2, 0.2, 0.2), "µm")),
        ({"unit": "nm", "yunit": "nm", "zunit": "um", "spacing": 0.3}, ((300, 0.2, 0.2), "nm")),
        ({"unit": "um", "zunit": "nm", "spacing": 300}, ((0.3, 0.2, 0.2), "µm")),
        ({"unit": "um", "zunit": "mm"}, ((1000, 0.2, 0.2), "µm")),
        ({"unit": "um", "yunit": "nm", "spacing": 3}, ((3, 0.0002, 0.2), "µm")),
        ({"unit": "inch", "spacing": 1.5}, ((1.5, 0.2, 0.2), "in")),
        ({"unit": "um", "yunit": "pixel", "spacing": 3}, ((3, 0.2, 0.2), "µm")),
        ({"unit": "pixel", "spacing": 3}, ((3, 0.2, 0.2), None)),
    ],
)
def test_imagej(tmp_path: Path, keys, expected) -> None:
    spacing, unit, _ = spacing_of(fiji(tmp_path / "a.tif", **keys), 3)
    assert (spacing, unit) == (pytest.approx(expected[0]), expected[1])


def test_imagej_plane(tmp_path: Path) -> None:
    path = fiji(tmp_path / "a.tif", planes=1, unit="um", spacing=4)
    assert spacing_of(path, 2) == ((0.2, 0.2), "µm", "")


@pytest.mark.parametrize("spacing", ["0", "nan", "wide"])
def test_imagej_without_a_valid_distance_of_slices(tmp_path: Path, spacing: str) -> None:
    found, unit, note = spacing_of(fiji(tmp_path / "a.tif", unit="um", spacing=spacing), 3)
    assert (found, unit) == ((0.2, 0.2, 0.2), "µm")
    assert "along z" in note


@pytest.mark.parametrize(
    ("resolution", "tag", "expected"),
    [(5e4, 3, 0.2), (25400 / 0.2, 2, 0.2), (300, 2, None), (72, 2, None), (118.11, 3, None),
     (5, 1, None)],
)  # fmt: skip
def test_resolution_tags_of_a_plain_tiff(tmp_path: Path, resolution, tag, expected) -> None:
    """The resolution of a microscope is a pixel size; that of a printer is not."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PLANE, resolution=(resolution, resolution), resolutionunit=tag)
    spacing, unit, _ = spacing_of(path, 2)
    if expected is None:
        assert (spacing, unit) == (None, None)
    else:
        assert (spacing, unit) == (pytest.approx((expected, expected), rel=1e-5), "µm")


@pytest.mark.parametrize("z", [{}, {"Z": 0}, {"Z": -1}, {"Z": "nan"}, {"Z": "inf"}, {"Z": "thick"},
                               {"Z": 1, "ZUnit": "reference frame"}, {"Z": 1, "ZUnit": "pixel"},
                               {"Z": 1, "ZUnit": "furlong"}])  # fmt: skip
def test_ome_without_a_valid_z(tmp_path: Path, z) -> None:
    """The sizes in the plane are kept; the reader says that z is assumed."""
    sizes = {"X": 0.3, "Y": 0.2, **z}
    assert spacing_of(ome(tmp_path / "p.ome.tif", planes=1, **sizes), 2) == ((0.2, 0.3), "µm", "")
    spacing, unit, note = spacing_of(ome(tmp_path / "v.ome.tif", **sizes), 3)
    assert (spacing, unit) == ((0.3, 0.2, 0.3), "µm")
    assert "along z" in note
    facts = survey_image(Scan.of_image(tmp_path / "v.ome.tif", 3))
    assert facts.spacing is None  # the anisotropy is estimated from the objects
    assert any("along z" in note for note in facts.notes)


@pytest.mark.parametrize(
    ("sizes", "spacing", "unit", "noted"),
    [
        ({"X": 0.3}, (0.3, 0.3), "µm", "along y"),
        ({"Y": 0.3}, (0.3, 0.3), "µm", "along x"),
        ({"X": 0, "Y": 0.3, "YUnit": "nm"}, (0.3, 0.3), "nm", "along x"),
        ({"X": 0.3, "Y": 2, "YUnit": "reference frame"}, (0.3, 0.3), "µm", "along y"),
        ({"X": 3, "XUnit": "dm", "Y": 0.3, "YUnit": "m"}, (3, 3), "dm", ""),
        ({"X": 7, "XUnit": "pixel", "Y": 7, "YUnit": "pixel"}, (7, 7), None, ""),
        ({"X": 1, "XUnit": "pixel", "Y": 1, "YUnit": "pixel"}, None, None, ""),
        ({"Z": 0.3}, None, None, ""),
        ({"X": 0, "Y": 0, "Z": 0.3}, None, None, "along y and x"),
    ],
)
def test_ome_in_the_plane(tmp_path: Path, sizes, spacing, unit, noted: str) -> None:
    found = spacing_of(ome(tmp_path / "a.ome.tif", planes=1, **sizes), 2)
    assert found[:2] == (spacing, unit)
    assert noted in found[2]
    assert bool(found[2]) == bool(noted)


@pytest.mark.parametrize("unit", OME_UNITS)
def test_every_ome_unit(tmp_path: Path, unit: str) -> None:
    sizes = {f"{axis}Unit": unit for axis in "XYZ"} | {"X": 2, "Y": 2, "Z": 5}
    assert spacing_of(ome(tmp_path / "a.ome.tif", **sizes), 3)[:2] == ((5, 2, 2), unit)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize(
    ("scale", "units", "expected"),
    [
        ([300, 0.1, 0.1], ["nanometer", "micrometer", "micrometer"], ((0.3, 0.1, 0.1), "µm")),
        ([3, 2, 2], ["angstrom"] * 3, ((3, 2, 2), "Å")),
        ([0, 2, 2], ["micrometer"] * 3, ((2, 2, 2), "µm")),
        ([None, 2, 2], ["micrometer"] * 3, ((2, 2, 2), "µm")),
        ([3, 2, 2], [None, "micrometer", "micrometer"], ((2, 2, 2), "µm")),
        ([3, 2, 2], [None] * 3, ((3, 2, 2), None)),
        ([1, 1, 1], [None] * 3, (None, None)),
    ],
)
def test_ngff(tmp_path: Path, version: str, scale, units, expected) -> None:
    zarr = pytest.importorskip("zarr")
    path = tmp_path / "a.zarr"
    group = zarr.open_group(str(path), mode="w", zarr_format=2 if version == "0.4" else 3)
    group.create_array("0", data=STACK, chunks=(5, 8, 9))
    axes = [
        {"name": axis, "type": "space", **({"unit": unit} if unit else {})}
        for axis, unit in zip("zyx", units, strict=True)
    ]
    datasets = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}]
    image = {"multiscales": [{"version": version, "axes": axes, "datasets": datasets}]}
    group.attrs.update(image if version == "0.4" else {"ome": {"version": version, **image}})
    spacing, unit, note = spacing_of(path, 3)
    assert (spacing, unit) == expected
    assert ("along z" in note) == (expected[0] == (2, 2, 2))


def test_hdf5(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    for sizes, expected in (
        ([0.5, 0.1, 0.2], (0.5, 0.1, 0.2)),
        ([0.0, 0.1, 0.2], (0.2, 0.1, 0.2)),
        ([0.5, math.nan, 0.2], (0.5, 0.2, 0.2)),
        ([0.1, 0.2], (0.2, 0.1, 0.2)),
        ([0.5], None),
    ):
        path = tmp_path / "a.h5"
        with h5py.File(path, "w") as file:
            file["raw"] = STACK
            file["raw"].attrs["element_size_um"] = sizes
        spacing, unit, _ = spacing_of(path, 3)
        assert (spacing, unit) == (expected, "µm" if expected else None)


def test_n5(tmp_path: Path) -> None:
    for number, (resolution, units, expected) in enumerate(
        (
            ([50, 50, 0.3], ["nm", "nm", "um"], ((300, 50, 50), "nm")),
            ([50, 50, 0], ["nm"] * 3, ((50, 50, 50), "nm")),
            ([50, None, 300], ["nm"] * 3, ((300, 50, 50), "nm")),
        )
    ):
        folder = tmp_path / f"{number}.n5"
        block = folder / "raw" / "0" / "0"
        block.mkdir(parents=True)
        attributes = {
            "dimensions": [9, 8, 5], "blockSize": [9, 8, 5], "dataType": "uint8",
            "compression": {"type": "raw"}, "resolution": resolution, "units": units,
        }  # fmt: skip
        (folder / "raw" / "attributes.json").write_text(json.dumps(attributes))
        head = np.array([0, 3], ">u2").tobytes() + np.array([9, 8, 5], ">u4").tobytes()
        (block / "0").write_bytes(head + STACK.tobytes())
        assert spacing_of(folder, 3)[:2] == expected


def test_nifti(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    path = tmp_path / "a.nii"
    for unit, sizes, expected in (
        ("micron", (0.2, 0.2, 1.0), ((1.0, 0.2, 0.2), "µm")),
        ("mm", (0.2, 0.3, 0.0), ((0.2, 0.3, 0.2), "mm")),
        ("meter", (0.2, 0.0, 1.0), ((1.0, 0.2, 0.2), "m")),
        ("unknown", (0.2, 0.2, 1.0), ((1.0, 0.2, 0.2), None)),
        ("unknown", (1.0, 1.0, 1.0), (None, None)),
    ):
        image = nibabel.Nifti1Image(STACK.T, np.eye(4))
        image.header.set_xyzt_units(unit)
        image.header["pixdim"][1:4] = (1, 1, 1)
        image.to_filename(path)
        data = bytearray(path.read_bytes())
        data[80:92] = np.array(sizes, "<f4").tobytes()  # nibabel refuses to write a size of 0
        path.write_bytes(data)
        assert spacing_of(path, 3)[:2] == expected


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
@pytest.mark.parametrize("unit", ["µm", "Å", "thou", "li", "in", "pm", None])
def test_written_units_are_read_again(tmp_path: Path, dtype, unit) -> None:
    """ImageJ (uint8) and OME (int32) keep the size, the unit and the anisotropy."""
    path = write_tiff(tmp_path / "a.tif", STACK.astype(dtype), "ZYX", (3.0, 2.0, 2.0), unit)
    spacing, found, _ = spacing_of(path, 3)
    assert (spacing, found) == (pytest.approx((3, 2, 2), rel=1e-6), unit)


@pytest.mark.parametrize("unit", OME_UNITS)
def test_ome_zarr_names_a_unit_of_the_format(unit: str) -> None:
    levels = ngff.plan_levels((5, 8, 9), (3.0, 2.0, 2.0))
    attributes = {
        "multiscales": [
            ngff.multiscale("a", 3, levels, (3.0, 2.0, 2.0), unit, channels=False, method="nearest")
        ]
    }
    assert {axis["unit"] for axis in attributes["multiscales"][0]["axes"]} <= set(NGFF_UNITS)
    found = ngff.read_multiscale(attributes).size
    expected = in_microns((3.0, 2.0, 2.0), unit)[0]
    assert in_microns(found.spacing, found.unit)[0] == pytest.approx(expected, rel=1e-9)


def test_sphericity_of_a_fiji_stack(tmp_path: Path) -> None:
    """A stack whose z step is 1 µm has the sphericity of the same stack in nm."""
    one = read_image(fiji(tmp_path / "a.tif", unit="um"), 3)
    two = read_image(fiji(tmp_path / "b.tif", 0.005, unit="nm", zunit="um"), 3)
    three = Image(one.array, (1.0, 0.2, 0.2), "µm")
    found = [
        measure_instances(i.array[..., 0], spacing=i.spacing)["sphericity"][0]
        for i in (one, two, three)
    ]
    assert found == pytest.approx([found[2]] * 3, rel=1e-6)
    assert found[0] != pytest.approx(
        measure_instances(one.array[..., 0])["sphericity"][0], rel=1e-3
    )


def test_anisotropy_and_exported_units(tmp_path: Path) -> None:
    """`init` takes the anisotropy from stacks in several units; an export measures in µm."""
    for part in "xy":
        (tmp_path / "train" / part).mkdir(parents=True)
    fiji(tmp_path / "train/x/a.tif", unit="um")
    fiji(tmp_path / "train/x/b.tif", 0.005, unit="nm", zunit="um")
    for name in "ab":
        write_tiff(tmp_path / f"train/y/{name}.tif", STACK, "ZYX")
    survey = survey_dataset(tmp_path)
    assert survey.anisotropy == pytest.approx(5)
    assert survey.has_uniform_spacing
    label = read_image(tmp_path / "train/x/b.tif", 3)
    item = Instances("b", label.array[..., 0], None, label.spacing, label.unit)
    table = instance_table(item)
    assert table["volume_µm³"][0] == pytest.approx(np.count_nonzero(STACK) * 0.2 * 0.2)

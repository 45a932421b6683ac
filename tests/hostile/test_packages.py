"""Model packages of other programs, damaged packages, and packages made to do harm."""

import io
import json
import pickle
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from untrained import write_untrained

from singula.errors import UserError
from singula.inference import load, write_package
from singula.training import model_package
from singula.training.checkpoint import load_checkpoint, save_tuned

Entries = dict[str, bytes]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package")
    return write_package(write_untrained(folder / "a.pth", 2), folder / "a.zip")


@pytest.fixture
def package(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copyfile(original, tmp_path / "inside" / "a.zip"))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Path:
    (tmp_path / "inside").mkdir()
    return tmp_path


def entries_of(package: Path) -> Entries:
    with zipfile.ZipFile(package) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewrite(package: Path, entries: Entries, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(package, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return package


def refusal(package: Path) -> str:
    with pytest.raises(UserError) as refused:
        load(package)
    assert str(package) in refused.value.message
    return refused.value.code


@pytest.mark.parametrize("name", ["bioimageio.yaml", "singula.json", "weights.pt"])
def test_a_package_of_another_program_lacks_what_the_message_names(
    package: Path, name: str
) -> None:
    entries = entries_of(package)
    del entries[name]
    rewrite(package, entries)
    with pytest.raises(UserError) as refused:
        load(package)
    assert refused.value.code == "package.foreign"
    assert f"has no {name}" in refused.value.message


def test_files_that_are_not_packages(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    for data in (b"", b"PK\x03\x04", b"x" * 5000):
        path.write_bytes(data)
        assert refusal(path) == "package.unreadable"
    path.unlink()
    path.mkdir()
    with pytest.raises(UserError):
        load(path)


def test_nothing_is_extracted(package: Path, tmp_path: Path) -> None:
    entries = entries_of(package)
    outside = {"../escaped.txt": b"a", "/tmp/escaped.txt": b"a", "..\\escaped.txt": b"a"}
    rewrite(package, {**outside, **entries})
    before = sorted(tmp_path.rglob("*"))
    load(package)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["../weights.pt", "/weights.pt", "a/b.pt", "..", "", "C:\\a.pt"])
def test_weights_outside_of_the_package_are_refused(package: Path, name: str) -> None:
    entries = entries_of(package)
    info = json.loads(entries["singula.json"])
    entries["singula.json"] = json.dumps({**info, "weights": name}).encode()
    (package.parent.parent / "weights.pt").write_bytes(entries["weights.pt"])
    assert refusal(rewrite(package, entries)) == "records.invalid_field"


class Attack:
    """Object whose unpickling writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[Path, str]]:
        return Path.write_text, (self.path, "executed")


def test_code_in_a_package_is_not_executed(package: Path, tmp_path: Path) -> None:
    entries, witness = entries_of(package), tmp_path / "witness"
    buffer = io.BytesIO()
    torch.save({"network.a": Attack(witness)}, buffer)
    for data in (buffer.getvalue(), pickle.dumps(Attack(witness))):
        rewrite(package, {**entries, "weights.pt": data})
        assert refusal(package) == "checkpoint.unreadable"
    # TorchScript in the place of the tensors; TorchScript and Python next to them are not read.
    scripted = entries["weights_torchscript.pt"]
    rewrite(package, {**entries, "weights.pt": scripted})
    assert refusal(package) == "checkpoint.unreadable"
    code = f"open({str(witness)!r}, 'w')".encode()
    rewrite(package, {**entries, "weights_torchscript.pt": b"no model", "setup.py": code})
    load(package)
    assert not witness.exists()


def test_a_small_file_that_unpacks_to_a_large_one(package: Path) -> None:
    entries = entries_of(package)
    entries["weights.pt"] = bytes(64 << 20)
    assert refusal(rewrite(package, entries, zipfile.ZIP_DEFLATED)) == "package.too_large"


def test_limits_of_sizes(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = entries_of(package)
    many = {f"a{number}": b"" for number in range(1001)}
    assert refusal(rewrite(package, {**entries, **many})) == "package.too_large"
    rewrite(package, entries)
    for limit in ("_MAX_INFO", "_MAX_WEIGHTS"):
        with monkeypatch.context() as patch:
            patch.setattr(model_package, limit, 100)
            assert refusal(package) == "package.too_large"


def test_entries_with_the_same_name(package: Path) -> None:
    with zipfile.ZipFile(package, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("weights.pt", b"")
    assert refusal(package) == "package.unreadable"


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unusual_compression(package: Path, compression: int) -> None:
    assert refusal(rewrite(package, entries_of(package), compression)) == "package.unreadable"


def test_encrypted_entries(package: Path) -> None:
    data = bytearray(package.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = -1
        while (place := data.find(signature, place + 1)) >= 0:
            data[place + offset] |= 1
    package.write_bytes(data)
    assert refusal(package) == "package.unreadable"


def test_flipped_bytes_never_change_a_result(package: Path) -> None:
    """Either the network that is read has not changed, or the file is refused."""
    whole, expected = package.read_bytes(), load_checkpoint(package)
    codes = set()
    for seed in range(60):
        rng = random.Random(seed)
        altered = bytearray(whole)
        for _ in range(rng.choice([1, 4, 400])):
            altered[rng.randrange(len(altered))] ^= 1 << rng.randrange(8)
        package.write_bytes(altered)
        try:
            found = load_checkpoint(package)
        except UserError as error:
            codes.add(error.code)
            continue
        assert found.fingerprint == expected.fingerprint
        assert found.description == expected.description
    assert "package.unreadable" in codes


@pytest.mark.parametrize("end", [0, 1, 100, -1, -100])
def test_truncated_packages(package: Path, end: int) -> None:
    package.write_bytes(package.read_bytes()[:end])
    # What remains can end with the directory of the weights, which are a zip file, too.
    assert refusal(package) in ("package.unreadable", "package.foreign")


@pytest.mark.parametrize(
    "change",
    [{"checkpoint": {}}, {"checkpoint": []}, {"checkpoint": None}, {"epoch": "x"}, {"format": 99}],
    ids=str,
)
def test_altered_descriptions(package: Path, change: dict[str, object]) -> None:
    entries = entries_of(package)
    info = json.loads(entries["singula.json"])
    entries["singula.json"] = json.dumps({**info, **change}).encode()
    assert refusal(rewrite(package, entries))


def test_channels_that_this_version_does_not_know(package: Path) -> None:
    entries = entries_of(package)
    info = json.loads(entries["singula.json"])
    checkpoint = {key: value for key, value in info["checkpoint"].items() if key != "digest"}
    config = checkpoint["config"].replace("DATA_CHANNELS: BC", "DATA_CHANNELS: XYZ")
    info["checkpoint"] = {**checkpoint, "config": config, "channels": "XYZ"}
    entries["singula.json"] = json.dumps(info).encode()
    assert refusal(rewrite(package, entries)) == "config.invalid"


def test_other_weights_with_the_description_of_a_package(package: Path, tmp_path: Path) -> None:
    entries = entries_of(package)
    other = write_untrained(tmp_path / "b.pth", 2, MODEL__FEATURE_MAPS=[2, 4])
    foreign = entries_of(write_package(other, tmp_path / "b.zip"))
    rewrite(package, {**entries, "weights.pt": foreign["weights.pt"]})
    assert refusal(package) == "checkpoint.digest"


def test_thresholds_are_not_saved_in_a_package(package: Path) -> None:
    before = package.read_bytes()
    with pytest.raises(UserError) as refused:
        save_tuned(package, {"thresholds": {"TH_BINARY_MASK": 0.5}})
    assert refused.value.code == "package.read_only"
    assert package.read_bytes() == before

"""Standard output that cannot be written, and file names that are not text."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from selection import fast_first

from singula import cli
from singula.errors import ExitCode
from singula.exports import FORMATS
from singula.io.run_log import RunLog
from singula.io.write import write_csv, write_json, write_text, write_tiff
from singula.report.html import escape

NAMES = ["a\udcff", "b\x1b[31m", "cé", "plain"]
ESCAPED = ["a\\udcff", "b\\x1b[31m", "cé", "plain"]
# Redirections of a POSIX shell, and if they lose standard output.
STREAMS = {
    ">/dev/full": True, "": False, ">&-": True, "2>&-": False, "2>/dev/full": False,
    ">/dev/full 2>/dev/full": True, ">&- 2>&- <&-": True, "| :": True,
}  # fmt: skip
ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
ENCODINGS = [{}, {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1:strict"}, ASCII]


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labels")
    image = np.zeros((16, 16), np.uint16)
    image[4:9, 4:9] = 1
    for name in NAMES:
        write_tiff(folder / f"{name}.tif", image, "YX")
    return folder


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run `singula LINE` in bash; its exit code is that of the command, not that of a pipe."""
    program = f'"{sys.executable}" -m singula {line}; exit "${{PIPESTATUS[0]}}"'
    return subprocess.run(
        ["bash", "-c", program], capture_output=True, env={**os.environ, **environment}
    )


@pytest.mark.parametrize("streams", fast_first(STREAMS))
def test_a_command_continues_without_standard_output(
    streams: str, labels: Path, tmp_path: Path
) -> None:
    done = shell(f"export {labels} --to imagej -o {tmp_path}/out {streams}")
    assert done.returncode == (ExitCode.INCOMPLETE if STREAMS[streams] else ExitCode.DONE)
    assert len(list((tmp_path / "out").iterdir())) == len(NAMES)
    assert b"Traceback" not in done.stderr
    if "2>" not in streams:
        assert done.stderr.startswith(b"error: standard output") == STREAMS[streams]


@pytest.mark.parametrize("streams", fast_first(STREAMS, 3))
@pytest.mark.parametrize(("words", "code"), [("--help", 0), ("no-command", 2), ("run", 2)])
def test_help_and_wrong_use_without_standard_output(streams: str, words: str, code: int) -> None:
    done = shell(f"{words} {streams}")
    assert done.returncode == (code or int(STREAMS[streams]))
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("encoding", fast_first(reversed(ENCODINGS)), ids=str)
def test_unprintable_characters_are_escaped(
    encoding: dict[str, str], labels: Path, tmp_path: Path
) -> None:
    done = shell(f"export {labels} --to imagej -o {tmp_path}/out", **encoding)
    assert (done.returncode, done.stderr) == (ExitCode.DONE, b"")
    assert b"a\\udcff" in done.stdout
    assert b"\x1b" not in done.stdout
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        f"{name}_rois.zip" for name in NAMES
    }


def test_a_closed_stream_is_not_reused_by_a_file(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from singula.util.streams import tolerant_output\n"
        "with tolerant_output():\n"
        f"  file = open({str(tmp_path / 'data')!r}, 'w')\n"
        "  os.write(1, b'from a library')\n"
        "  os.write(2, b'from a library')\n"
        "  print('lost', file=sys.stderr)\n"
    )
    subprocess.run(
        ["bash", "-c", 'exec "$0" -c "$1" >&- 2>&- <&-', sys.executable, code], check=True
    )
    assert (tmp_path / "data").read_bytes() == b""


@pytest.mark.usefixtures("capfd")
@pytest.mark.parametrize("to", FORMATS)
def test_every_format_is_written_for_names_that_are_not_text(
    to: str, labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["singula", "export", str(labels), "--to", to, "-o", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == ExitCode.DONE
    for path in (tmp_path / "out").rglob("*.json"):
        text = path.read_text(encoding="utf-8")
        json.loads(text)
    if to == "csv":
        with (tmp_path / "out" / "instances.csv").open(encoding="utf-8", newline="") as file:
            assert [row["image"] for row in csv.DictReader(file)] == [
                name if name.isprintable() or "\x1b" in name else "a\\udcff" for name in NAMES
            ]
    if to == "coco":
        (path,) = (tmp_path / "out").iterdir()
        found = json.loads(path.read_text(encoding="utf-8"))["images"]
        assert [Path(image["file_name"]).stem for image in found] == NAMES


def test_text_files_contain_escaped_names(tmp_path: Path) -> None:
    name = NAMES[0]
    assert write_text(tmp_path / "a", name).read_text(encoding="utf-8") == "a\\udcff"
    assert json.loads(write_json(tmp_path / "b", [name]).read_text(encoding="utf-8")) == [name]
    table = write_csv(tmp_path / "c", [{"image": name}])
    assert table.read_text(encoding="utf-8") == "image\na\\udcff\n"
    assert [escape(name) for name in NAMES] == ESCAPED
    log = RunLog()
    log.open(tmp_path / "d")
    for name in NAMES:
        log.write(name)
    log.close()
    text = (tmp_path / "d").read_text(encoding="utf-8")
    assert [line.split(" ", 1)[1] for line in text.splitlines()] == ESCAPED


def test_messages_on_a_console_of_windows(tmp_path: Path) -> None:
    name = "no → ≥5 µm 核"
    for encoding in ("cp1252", "ascii"):
        done = shell(f"check '{tmp_path}/{name}'", PYTHONIOENCODING=encoding, PYTHONUTF8="0")
        assert done.returncode == ExitCode.USER_ERROR
        text = done.stderr.decode(encoding)
        assert "no -> >=5 " in text
        assert "\\u6838" in text
        assert "\n  -> " in text

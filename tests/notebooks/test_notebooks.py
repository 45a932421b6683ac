"""Stored notebooks, and complete runs of their forms with small settings."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from singula.notebook import AS_LABELED, LET_DATA_DECIDE, NotebookError, choose_data, kinds, prepare
from singula.synthetic.fluorescence import make_dataset

nbclient = pytest.importorskip("nbclient", reason="no notebook test: `pip install nbclient`")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")
FOLDER = Path(__file__).parents[2] / "notebooks"
TINY = "TRAIN.EPOCHS=1; DATA.TRAIN.REPLICATE=0; MODEL.FEATURE_MAPS=[4, 8]; "
TINY += "MODEL.DROPOUT_VALUES=[0, 0]; SYSTEM.NUM_CPUS=1; SYSTEM.NUM_WORKERS=0"


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_notebooks", FOLDER / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("ndim", [2, 3])
def test_stored_notebooks_are_current_and_without_outputs(maker: ModuleType, ndim: int) -> None:
    text = (FOLDER / f"singula_{ndim}d.ipynb").read_text(encoding="utf-8")
    assert text == maker.make(ndim), "run `python notebooks/make.py`"
    book = nbformat.reads(text, as_version=4)
    nbformat.validate(book)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert all(cell.metadata["cellView"] == "form" for cell in code)


def filled(path: Path, answers: dict[str, object]) -> object:
    """Return a notebook with answers in its forms."""
    book = nbformat.read(path, as_version=4)
    missing = set(answers)
    for cell in book.cells:
        for name, value in answers.items():
            line = re.compile(rf"^{name} = .*?(  #@param)", re.MULTILINE)
            cell.source, count = line.subn(
                lambda found, name=name, value=value: f"{name} = {value!r}{found[1]}", cell.source
            )
            missing -= {name} if count else set()
    assert not missing
    return book


def execute(
    book: object, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, tuple[str, int, int]]:
    """Run a notebook; return the printed text, number of pictures and tables of each form."""
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(name, str(folder / name.lower()))
    client = nbclient.NotebookClient(
        book, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    seen = {}
    for cell in client.nb.cells:
        if cell.cell_type != "code":
            continue
        outputs = cell.outputs
        text = "".join(out.text for out in outputs if out.output_type == "stream")
        rich = [out.data for out in outputs if out.output_type == "display_data"]
        title = re.search(r"#@title (\d)", cell.source)
        assert title is not None
        pictures = sum("image/png" in data for data in rich)
        seen[title[1]] = (text, pictures, sum("text/html" in data for data in rich))
    return seen


@pytest.mark.slow
def test_2d_with_empty_forms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = filled(FOLDER / "singula_2d.ipynb", {"changes": TINY})
    seen = execute(book, tmp_path, monkeypatch)
    assert "generating synthetic nuclei" in seen["3"][0]
    assert "train: 12 images" in seen["3"][0]
    assert seen["3"][1] == 1
    assert seen["5"][2] == 1
    assert "written: results/cells_2d.yaml" in seen["5"][0]
    assert seen["7"][1:] == (2, 2)
    assert "no folder of new images" in seen["8"][0]
    run = tmp_path / "results/cells_2d/results/cells_2d_1"
    assert (run / "report.html").is_file()
    assert len(list((run / "per_image_instances").glob("*.tif"))) == 4


def test_3d_with_own_folders_and_new_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    make_dataset(tmp_path / "own", 3, rng, n_train=3, n_val=0, n_test=1, shape=(12, 48, 48))
    answers = {
        "train_images": "own/train/x",
        "train_labels": "own/train/y",
        "what_to_find": "crowded, round objects",
        "classes": "1",
        "name": "mine",
        "changes": TINY + "; MODEL.Z_DOWN=[1]",
        "images_to_show": 1,
        "new_images": "own/test/x",
        "instances_folder": "found",
    }
    seen = execute(filled(FOLDER / "singula_3d.ipynb", answers), tmp_path, monkeypatch)
    assert "slice with most objects" in seen["3"][0]
    assert seen["7"][1] == 1
    text = (tmp_path / "results/mine.yaml").read_text()
    assert re.search(r"DATA_CHANNELS: BCD +# as you chose", text)
    assert "N_CLASSES: 2" in text
    assert sorted(path.name for path in (tmp_path / "found").glob("[!.]*")) == [
        "image_000.tif",
        "image_000_stats.csv",
    ]


def test_forms_offer_all_known_values(maker: ModuleType) -> None:
    source = "".join(json.loads(maker.make(2))["cells"][3]["source"])
    assert json.loads(source.partition("#@param ")[2].splitlines()[0]) == list(kinds())
    assert AS_LABELED in maker.CLASSES


def test_a_mistake_is_reported_without_a_traceback(tmp_path: Path) -> None:
    with pytest.raises(NotebookError, match="one is empty") as error:
        choose_data(2, str(tmp_path), "")
    assert error.value._render_traceback_() == [str(error.value)]
    with pytest.raises(NotebookError, match="does not exist"):
        choose_data(2, str(tmp_path / "a"), str(tmp_path / "b"))
    (tmp_path / "cells.yaml").write_text("TRAIN: {}\n")
    with pytest.raises(NotebookError, match="was not written by a notebook"):
        prepare((), 2, LET_DATA_DECIDE, AS_LABELED, str(tmp_path), "cells", 1.0)
    assert (tmp_path / "cells.yaml").read_text() == "TRAIN: {}\n"

"""Write singula_2d.ipynb and singula_3d.ipynb: `python notebooks/make.py`.

Both notebooks come from the same text and are stored without outputs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
VARIANTS = {
    2: ("2D", "images", "singula_3d.ipynb", "volumes"),
    3: ("3D", "volumes", "singula_2d.ipynb", "2D images"),
}

INTRODUCTION = """\
# Singula: find every object in {dimensions} {images}

Fill in the forms and run the cells from top to bottom. If all forms are empty, the notebook generates
synthetic nuclei and uses them. You do not need to write code; to see it, double-click a form or choose
*View → Show code*. For {others}, use `{other}`.

Training is fast only on a GPU: in Colab, choose *Runtime → Change runtime type*."""

INSTALL = """\
#@title 0. Install  { display-mode: "form" }
#@markdown Argument of `pip install`: a name, a folder or a wheel. An installed Singula is not changed.
install_from = "singula"  #@param {type:"string"}

import importlib.util
if importlib.util.find_spec("singula") is None:
    %pip install --quiet {install_from}
import singula
from singula import notebook
print("Singula", singula.__version__)"""

DIMENSIONS = """\
#@title 1. Images: {dimensions}  {{ display-mode: "form" }}
#@markdown This notebook is for {dimensions} {images}.
dimensions = {ndim}
print("{dimensions}")"""

FIND = """\
#@title 2. What to find  { display-mode: "form" }
what_to_find = "let the data decide"  #@param CHOICES
print(what_to_find)"""

DATA = """\
#@title 3. Data folders  { display-mode: "form" }
#@markdown Images, and label images with the same names: each object has its own id, the background is 0.
#@markdown Leave all fields empty to use synthetic nuclei. Without test images, some training images are held out.
train_images = ""  #@param {type:"string"}
train_labels = ""  #@param {type:"string"}
test_images = ""  #@param {type:"string"}
test_labels = ""  #@param {type:"string"}

data = notebook.choose_data(dimensions, train_images, train_labels, test_images, test_labels)"""

CLASSES = """\
#@title 4. Classes  { display-mode: "form" }
#@markdown Number of kinds of objects. If more than one, the second channel of the labels is the class of each pixel.
classes = "as in the labels"  #@param ["as in the labels", "1", "2", "3", "4", "5"] {allow-input: true}
print(classes)"""

OUTPUT = """\
#@title 5. Output folder and name  { display-mode: "form" }
output_folder = "results"  #@param {type:"string"}
name = "cells"  #@param {type:"string"}
#@markdown Time limit of the training on this machine, minutes:
minutes = 30  #@param {type:"number"}

plan = notebook.prepare(data, dimensions, what_to_find, classes, output_folder, name, minutes)"""

TRAIN = """\
#@title 6. Train, predict and score  { display-mode: "form" }
use_gpu = True  #@param {type:"boolean"}
#@markdown Keys of the configuration to change, such as `TRAIN.EPOCHS=5; TRAIN.LR=0.001`:
changes = ""  #@param {type:"string"}

report = notebook.train(plan, gpu=use_gpu, changes=changes)"""

RESULTS = """\
#@title 7. Results  { display-mode: "form" }
images_to_show = 2  #@param {type:"integer"}

notebook.show_results(report, images=images_to_show)"""

PREDICT = """\
#@title 8. New images  { display-mode: "form" }
#@markdown Folder of images without labels, and folder for label images and tables.
new_images = ""  #@param {type:"string"}
instances_folder = "instances"  #@param {type:"string"}

notebook.predict(report, new_images, instances_folder)"""


def make(ndim: int) -> str:
    """Return the content of a notebook file.

    Parameters
    ----------
    ndim : {2, 3}
        Number of spatial dimensions.
    """
    from singula.notebook import kinds

    dimensions, images, other, others = VARIANTS[ndim]
    values = {"dimensions": dimensions, "images": images, "other": other, "others": others}
    forms = [
        INSTALL,
        DIMENSIONS.format(ndim=ndim, **values),
        FIND.replace("CHOICES", json.dumps(list(kinds()))),
        DATA,
        CLASSES,
        OUTPUT.replace('"cells"', f'"cells_{ndim}d"'),
        TRAIN,
        RESULTS,
        PREDICT,
    ]
    cells = [_cell("markdown", INTRODUCTION.format(**values), 0)]
    cells += [_cell("code", form, number) for number, form in enumerate(forms, 1)]
    book = {
        "cells": cells,
        "metadata": {
            "accelerator": "GPU",
            "colab": {"provenance": [], "toc_visible": True},
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(book, indent=1, ensure_ascii=False) + "\n"


def _cell(kind: str, text: str, number: int) -> dict[str, Any]:
    cell: dict[str, Any] = {
        "cell_type": kind,
        "id": f"cell-{number}",
        "metadata": {},
        "source": text.splitlines(keepends=True),
    }
    if kind == "code":
        cell["metadata"] = {"cellView": "form", "jupyter": {"source_hidden": True}}
        cell |= {"execution_count": None, "outputs": []}
    return cell


def main() -> None:
    """Write both notebooks to the folder of this file."""
    for ndim in VARIANTS:
        path = HERE / f"singula_{ndim}d.ipynb"
        path.write_text(make(ndim), encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()

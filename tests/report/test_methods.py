"""The paragraph about methods has the facts of the run, and cites what the run used."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from example_run import ExampleRun, Page, cells, change_summary, without

from singula import cli
from singula.models.variants import ARCHITECTURES
from singula.report.build import build_report
from singula.report.methods import Methods, describe_methods
from singula.representations.table import DECODERS
from singula.runs.run import open_run

CHANNELS = "PROBLEM.INSTANCE_SEG.DATA_CHANNELS"
TRAINING = {
    "epochs": 5,
    "parameters": 12345,
    "patches_per_epoch": 40,
    "images": 7,
    "validation_images": 2,
    "smallest_image": [64, 80],
    "largest_image": [512, 512],
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    labels = cells(2)
    folder = ExampleRun(tmp_path, {"one": without(labels, 3), "two": labels}).write()
    change_summary(folder, training=TRAINING, precision="bf16", seed=9)
    change_summary(folder, machine={"device": "cpu", "threads": 4})
    return folder


def changed(run: Path, **keys: Any) -> Methods:
    configuration = json.loads((run / "run.json").read_text())["configuration"]
    configuration |= {name.replace("__", "."): value for name, value in keys.items()}
    change_summary(run, configuration=configuration)
    return describe_methods(open_run(run))


def cited(methods: Methods) -> set[str]:
    return {citation.key for citation in methods.citations}


def test_the_facts_are_those_of_the_run(run: Path) -> None:
    methods = changed(
        run,
        TRAIN__OPTIMIZER="ADAMW",
        TRAIN__LR=0.002,
        TRAIN__BATCH_SIZE=6,
        DATA__PATCH_SIZE=[32, 48, 1],
        DATA__TRAIN__RESOLUTION=[0.25, 0.5],
        AUGMENTOR__ENABLE=True,
        AUGMENTOR__ROT90=True,
        AUGMENTOR__G_BLUR=True,
        TEST__POST_PROCESSING__CLEAR_BORDER=True,
    )
    text = methods.paragraph
    for part in (
        "Singula 0.1.0 (Python 3.11)",
        "7 training images, 2 validation images and 2 test images in 2D",
        "64 × 80 to 512 × 512 pixels (y × x)",
        "pixel size was 0.25 × 0.5",
        "12,345 parameters",
        "from scratch",
        "AdamW",
        "AdamW [3] (learning rate 0.002, constant; weight decay 0.02)",
        "5 epochs of 40 patches of 32 × 48 pixels, in batches of 6, in bfloat16 arithmetic, with "
        "seed 9",
        "rotate by a multiple of 90 degrees in the y-x plane and blur with a Gaussian",
        "1.0 h on cpu (4 threads)",
        "TH_CONTOUR 0.25 (found on the validation images",
        "objects that touch the image border were removed",
    ):
        assert part in text, text
    # 16 of 16 and 15 of 16 objects were found
    scores = open_run(run).scores
    pooled = scores.row("per_image", "pooled over objects", 0.5)
    assert f"was {pooled['f1']:.3f} over all 32 true objects of 2 test images" in text
    assert f"{scores.row('per_image', 'mean over images', 0.5)['f1']:.3f} as the mean" in text


def test_resampling_and_sparse_labels_are_described(run: Path) -> None:
    plain = changed(run).paragraph
    assert "resampled" not in plain
    assert "annotated" not in plain
    text = changed(
        run, DATA__PREPROCESS__SPACING=[0.5, 0.25], DATA__TRAIN__RESOLUTION=[2, 2]
    ).paragraph
    assert "resampled to a pixel size of 0.5 × 0.25, and labels by nearest neighbor" in text
    assert "pixel size was" not in text
    change_summary(run, training={**TRAINING, "annotated": 0.125})
    text = changed(run, DATA__TEST__IGNORE_PATH="masks").paragraph
    assert "12.5% were annotated" in text
    assert "a mask excludes" in text


def test_the_commit_is_shortened(run: Path) -> None:
    for commit, text in (
        ("a" * 40, "commit aaaaaaaaaa;"),
        ("b" * 40 + "-dirty", "b with changes;"),
    ):
        change_summary(run, versions={"singula": "0.1.0", "singula commit": commit, "python": "3"})
        assert text in describe_methods(open_run(run)).paragraph


def test_numbers_of_citations_are_those_of_the_list(run: Path) -> None:
    methods = changed(run)
    numbers = [
        int(n)
        for group in re.findall(r"\[([\d, ]+)\]", methods.paragraph)
        for n in group.split(",")
    ]
    assert list(dict.fromkeys(numbers)) == list(range(1, len(methods.citations) + 1))
    assert len(cited(methods)) == len(methods.citations)
    for number, line in enumerate(methods.references(), 1):
        assert re.fullmatch(rf"\[{number}\] .+ \(\d{{4}}\)\. doi:10\.\d{{4,}}/\S+", line)
    entries = re.findall(r"@article\{(\w+),\n(?:  \w+ = \{.+\},\n)+\}", methods.bibtex())
    assert entries == [citation.key for citation in methods.citations]


@pytest.mark.parametrize(
    ("keys", "new"),
    [
        ({"MODEL__ARCHITECTURE": "attention_unet"}, "oktay2018"),
        ({"MODEL__ARCHITECTURE": "resunet_se"}, "hu2018"),
        ({"TRAIN__OPTIMIZER": "ADAM"}, "kingma2014"),
        ({"TRAIN__LR_SCHEDULER__NAME": "onecycle"}, "smith2019"),
        ({"LOSS__TYPE": "FOCAL"}, "lin2017"),
        ({CHANNELS.replace(".", "__"): "BCD"}, "lin2021"),
    ],
)
def test_only_what_was_used_is_cited(run: Path, keys: dict[str, Any], new: str) -> None:
    assert new not in cited(changed(run))
    assert new in cited(changed(run, **keys))


@pytest.mark.parametrize("channels", DECODERS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_all_methods_have_a_text(run: Path, architecture: str, channels: str) -> None:
    methods = changed(
        run, MODEL__ARCHITECTURE=architecture, **{CHANNELS.replace(".", "__"): channels}
    )
    assert "watershed" in methods.paragraph
    assert "  " not in methods.paragraph
    assert "None" not in methods.paragraph


def test_a_run_without_training_names_its_checkpoint(run: Path) -> None:
    change_summary(
        run, training=None, first_model={"path": "/models/cells.pth", "sha256": "ab" * 32}
    )
    text = describe_methods(open_run(run)).paragraph
    assert "weights were those of cells.pth" in text
    assert "trained" not in text
    change_summary(run, training=TRAINING)
    assert "from the weights of cells.pth" in describe_methods(open_run(run)).paragraph


def test_the_report_and_the_command_show_the_same_text(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    methods = describe_methods(open_run(run))
    page = Page(build_report(run))
    assert methods.paragraph in page.words
    report = (run / "report.html").read_bytes()
    for option, text in (("--methods", methods.paragraph), ("--bibtex", methods.bibtex())):
        monkeypatch.setattr("sys.argv", ["singula", "report", str(run), option])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert not end.value.code
        assert text.strip() in capsys.readouterr().out
    assert (run / "report.html").read_bytes() == report


def test_a_family_is_described_once(run: Path) -> None:
    methods = changed(run, **{CHANNELS.replace(".", "__"): "Db+R32"})
    assert methods.paragraph.count("rays") == 1
    assert {"schmidt2018", "weigert2020"} <= cited(methods)


def test_the_loss_of_an_embedding(run: Path) -> None:
    methods = changed(run, **{CHANNELS.replace(".", "__"): "E2"}, PROBLEM__NDIM="2D")
    assert "hinge" in methods.paragraph
    assert "cross-entropy" not in methods.paragraph


@pytest.mark.parametrize(
    ("channels", "keys", "expected"),
    [
        ("BC", {}, "the binary cross-entropy with"),
        ("BCD", {}, "the binary cross-entropy (B, C) and the mean absolute error (D) with"),
        ("F+Gh+Gv", {}, "the binary cross-entropy (F) and the mean squared error (Gh, Gv) with"),
        ("Db+R32", {}, "the mean absolute error with"),
        (
            "F+H+V",
            {"PROBLEM__INSTANCE_SEG__DATA_CHANNELS_LOSSES": ["bce", "huber", "mse"]},
            "the binary cross-entropy (F) and the Huber loss (H) and the mean squared error (V)",
        ),
        (
            "F+Db",
            {"PROBLEM__INSTANCE_SEG__DATA_CHANNEL_WEIGHTS": [1, 0]},
            "the binary cross-entropy with",
        ),
    ],
)
def test_the_loss_of_each_channel_is_named(
    run: Path, channels: str, keys: dict[str, Any], expected: str
) -> None:
    changes = {CHANNELS.replace(".", "__"): channels, "PROBLEM__NDIM": "2D", **keys}
    paragraph = changed(run, **changes).paragraph
    assert f"from scratch to minimize {expected}" in paragraph

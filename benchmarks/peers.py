"""Compare Singula with other programs: from an image file to a label file, and after training.

    python benchmarks/peers.py --install ENVS
    python benchmarks/peers.py ENVS --work FOLDER --train 20
    python benchmarks/peers.py ENVS --work FOLDER --rounds 3 --page docs/benchmarks/peers.md \\
        --plot docs/benchmarks/peers.png

The first command creates an environment for each program. The second one trains StarDist, Cellpose,
InstanSeg and Singula for equal CPU time; trained programs are skipped. The third one predicts
each workload with each program in turn, so that other work on the machine affects all programs
equally, and prints the medians over the rounds. Each prediction is a new process. Networks that
are not trained here have random weights. Before decoding, their outputs are replaced by maps
computed from the labels, because decoding noise takes another time. These networks run in the first
round only. All results are stored in FOLDER/results.json, to which each call adds its own.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from singula.util.process import prepare_process

prepare_process()

from peer_programs.process import WorkerError, run_worker  # noqa: E402
from peer_programs.programs import PROGRAMS, install  # noqa: E402
from peer_programs.tables import accuracy_table, plot, speed_table  # noqa: E402
from peer_programs.training import (  # noqa: E402
    CONFIGURATIONS,
    singula,
    store,
    stored,
    train_program,
    train_singula,
    train_volume,
)
from peer_programs.workloads import Workload, write_workload  # noqa: E402

WORKLOADS = ("large", "small", "volume", "test")
# Keys of Singula for prediction; "default" has those of the trained model, as the command
VARIANTS: dict[str, dict[str, str]] = {
    "default": {},
    "float32": {"TEST.PRECISION": "32", "TEST.BACKEND": "torch"},
    "bfloat16": {"TEST.PRECISION": "bf16", "TEST.BACKEND": "torch"},
    "float32 OpenVINO": {"TEST.PRECISION": "32", "TEST.BACKEND": "openvino"},
    "bfloat16 OpenVINO": {"TEST.PRECISION": "bf16", "TEST.BACKEND": "openvino"},
}
BEGIN, END = "<!-- begin of the tables -->", "<!-- end of the tables -->"
THRESHOLDS = (0.5, 0.75)
BUILT_IN = "nuclei"  # model of the package
# Programs whose workers can train
TRAINED = ("stardist", "cellpose", "instanseg")


@dataclass(frozen=True)
class Entry:
    """A row of the tables: a program with a network and its settings."""

    program: str
    title: str
    options: dict[str, Any] = field(default_factory=dict)
    training_cpu: float | None = None


def main() -> None:
    arguments = parse()
    if arguments.install:
        for name, error in install(arguments.install, arguments.programs).items():
            print(f"{PROGRAMS[name].title} cannot be installed: {error}")
        return
    work: Path = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    if arguments.train:
        train(arguments)
        return
    results = Results(work / "results.json")
    for name in arguments.workloads:
        workload = write_workload(
            name, work / "images", count=arguments.images, side=arguments.side
        )
        measure(arguments, results, name, workload)
    tables = [speed_table(results.rows, name) for name in WORKLOADS if name != "test"]
    text = "\n\n".join(filter(None, [*tables, accuracy_table(results.rows)]))
    print(f"\n{text}")
    if arguments.plot:
        plot(results.rows, arguments.plot)
        text = f"![F1 against megapixels per CPU second]({arguments.plot.name})\n\n{text}"
    if arguments.page:
        insert(text, arguments.page)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("environments", nargs="?", type=Path, default=Path("peers"))
    parser.add_argument("--install", type=Path, metavar="FOLDER", help="create the environments")
    parser.add_argument("--work", type=Path, default=Path("peers_work"), help="folder for files")
    parser.add_argument("--train", type=float, metavar="MINUTES", help="CPU minutes per program")
    parser.add_argument("--programs", nargs="+", choices=PROGRAMS, default=list(PROGRAMS))
    parser.add_argument("--workloads", nargs="*", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument(
        "--configurations", nargs="+", choices=(*CONFIGURATIONS, BUILT_IN),
        default=["init", BUILT_IN], help=f"of Singula; {BUILT_IN} is the built-in model",
    )  # fmt: skip
    parser.add_argument(
        "--nuclei-minutes", type=float, default=128, metavar="MINUTES",
        help=f"CPU minutes in which {BUILT_IN} was trained, for the table",
    )  # fmt: skip
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--images", type=int, default=200, help="of the workload small")
    parser.add_argument("--side", type=int, help="cut large and volume to this length")
    parser.add_argument("--page", type=Path, metavar="MD", help="page into which the tables go")
    parser.add_argument("--plot", type=Path, metavar="PNG")
    return parser.parse_args()


def insert(text: str, page: Path) -> None:
    """Replace the text between the marks of a page."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        sys.exit(f"{page}: expected {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def train(arguments: argparse.Namespace) -> None:
    folder = arguments.work / "models"
    folder.mkdir(parents=True, exist_ok=True)
    values = (folder, arguments.train, arguments.threads)
    for program in TRAINED:
        if program in arguments.programs:
            trained = train_program(program, arguments.environments, *values)
            report(PROGRAMS[program].title, trained)
    if "singula" in arguments.programs:
        for name in filter(CONFIGURATIONS.__contains__, arguments.configurations):
            report(f"Singula {name}", train_singula(name, *values))


def report(title: str, trained: dict[str, Any]) -> None:
    epochs = trained["epochs"]
    count = epochs if isinstance(epochs, int) else len(epochs)
    print(f"{title}: {count} epochs, {trained['cpu'] / 60:.1f} CPU minutes", flush=True)


class Results:
    """Measurements in a JSON file; a measurement replaces the earlier one of the same round."""

    KEY = ("workload", "title", "round", "threads")

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rows: list[dict[str, Any]] = stored(path)["rows"] if path.is_file() else []

    def add(self, row: dict[str, Any]) -> None:
        key = [row[name] for name in self.KEY]
        self.rows = [each for each in self.rows if [each[name] for name in self.KEY] != key]
        self.rows.append(row)
        store(self._path, {"rows": self.rows})


def entries(arguments: argparse.Namespace, workload: Workload) -> Iterator[Entry]:
    """Yield the programs that take the images of a workload."""
    for program in arguments.programs:
        values = PROGRAMS[program]
        model = arguments.work / "models" / program
        if workload.ndim not in values.ndims:
            continue
        if program == "singula":
            yield from singula_entries(arguments, workload)
        elif workload.ndim == 2 and model.with_suffix(".json").is_file():
            trained = stored(model.with_suffix(".json"))
            yield Entry(program, values.title, {"model": str(model)}, trained["cpu"])
        else:
            yield Entry(program, values.title, {"model": None})


def singula_entries(arguments: argparse.Namespace, workload: Workload) -> Iterator[Entry]:
    models = arguments.work / "models"
    models.mkdir(exist_ok=True)
    for configuration in arguments.configurations:
        done = models / f"singula_{configuration}.json"
        if workload.ndim == 3:
            if configuration != "init":
                continue
            trained = train_volume(models, workload.images[0].parents[1], arguments.threads)
        elif configuration == BUILT_IN:
            trained = {"model": BUILT_IN, "cpu": 60 * arguments.nuclei_minutes}
        elif done.is_file():
            trained = stored(done)
        else:
            continue
        for variant in arguments.variants:
            options = {"model": trained["model"], "keys": VARIANTS[variant]}
            title = f"Singula {configuration}, {variant}"
            yield Entry("singula", title, options, trained["cpu"])


def measure(arguments: argparse.Namespace, results: Results, name: str, workload: Workload) -> None:
    """Predict a workload with each program in turn, and add the measurements to the results."""
    rows = list(entries(arguments, workload))
    maps = {}
    for entry in list(rows):
        if workload.ndim == 3 or entry.options["model"] is None:
            try:
                maps[entry.title] = write_maps(arguments, entry, workload)
            except WorkerError as error:
                print(f"{entry.title}, maps: {error}", file=sys.stderr)
                rows.remove(entry)
    for number in range(arguments.rounds):
        for entry in rows:
            if number and entry.title in maps:
                continue  # slow, and shown without accuracy: once is enough
            output = arguments.work / "labels" / name / entry.title.replace(" ", "_")
            options = {
                "do": "predict", "images": [str(path) for path in workload.images],
                "output": str(output), "threads": arguments.threads, "ndim": workload.ndim,
                "maps": maps.get(entry.title), **entry.options,
            }  # fmt: skip
            trained = entry.title not in maps
            try:
                found = run_worker(arguments.environments, entry.program, options)
                if trained and entry.options.get("keys") == VARIANTS["default"]:
                    found["command"] = run_command(arguments, entry, workload, output)
            except WorkerError as error:
                print(f"{entry.title}, {workload.title}: {error}", file=sys.stderr)
                continue
            row = {
                "workload": name, "title": entry.title, "round": number,
                "threads": arguments.threads, "images": workload.title,
                "pixels": workload.pixels, "count": len(workload.images), "trained": trained,
                "training_cpu": entry.training_cpu, **found,
            }  # fmt: skip
            if number == 0 and trained:
                row["scores"] = scores(workload, output)
            results.add(row)
            print(f"{workload.title}: {entry.title}, {row['work_cpu']:.2f} CPU s", flush=True)


def run_command(
    arguments: argparse.Namespace, entry: Entry, workload: Workload, output: Path
) -> dict[str, Any]:
    """Run `singula predict` on the same images."""
    command = ["predict", str(workload.images[0].parent), "--output", str(output)]
    if entry.options["model"] != BUILT_IN:
        command += ["--model", entry.options["model"]]
    return singula([*command, "--gpu", "cpu", "--no-augment", "--overwrite"], arguments.threads)


def write_maps(arguments: argparse.Namespace, entry: Entry, workload: Workload) -> str:
    """Let a program compute the maps that its network should predict, and return their folder."""
    folder: Path = arguments.work / "maps"
    for title in (entry.title.split(",")[0], workload.title):
        folder /= title.replace(" ", "_")
    if not (folder / "done").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        options = {
            "do": "prepare", "labels": [str(path) for path in workload.labels],
            "maps": str(folder), "threads": arguments.threads, "ndim": workload.ndim,
            **entry.options,
        }  # fmt: skip
        run_worker(arguments.environments, entry.program, options)
        (folder / "done").touch()
    return str(folder)


def scores(workload: Workload, output: Path) -> dict[str, float]:
    """Return F1 of the label files, as the mean over images and pooled over objects."""
    from tifffile import imread

    from singula.metrics import match, match_dataset

    matches = [
        match(imread(label), imread(output / image.name), THRESHOLDS)
        for image, label in zip(workload.images, workload.labels, strict=True)
    ]
    found = {}
    for word, by_image in (("mean", True), ("pooled", False)):
        for score in match_dataset(matches, by_image=by_image):
            found[f"{word} {score.threshold}"] = score.f1
    return found


if __name__ == "__main__":
    main()

"""Build the image of the Dockerfile on a base from debootstrap, and run it as other users.

    python benchmarks/cluster/containers.py --torch-index FOLDER_OR_INDEX --data shared/data/dsb2018
    python benchmarks/cluster/containers.py --short        # only that a wrong build stops

Builds with ``buildah bud --isolation chroot``, which needs neither a daemon nor a registry of
images, and runs with podman, or with ``buildah run`` where podman cannot start a container. The
settings of pip on this machine apply in the build. Needs root, and Debian's packages ``buildah``
and ``debootstrap``; ``podman`` and ``runc`` are optional. Images and files are in a temporary
folder, which is removed. Prints a Markdown table; exit code 1 if a result is not as expected.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
BASE, IMAGE = "localhost/singula-base", "localhost/singula-trial"
_LARGEST = 1.5e9
_PACKAGES = "python3,python3-venv,ca-certificates"
_UNUSED = (
    "var/cache/apt",
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
)  # as in slim images
_CONFIG = """\
PROBLEM: {{TYPE: INSTANCE_SEG, NDIM: 2D, INSTANCE_SEG: {{DATA_CHANNELS: BC}}}}
SYSTEM: {{NUM_WORKERS: 0, SEED: 0}}
DATA:
  PATCH_SIZE: (128, 128, 1)
  TRAIN: {{PATH: {data}/train/raw, GT_PATH: {data}/train/label}}
  VAL: {{FROM_TRAIN: True, SPLIT_TRAIN: 0.25}}
  TEST: {{LOAD_GT: True, PATH: {data}/test/raw, GT_PATH: {data}/test/label}}
MODEL: {{FEATURE_MAPS: [8, 16, 32]}}
TRAIN: {{ENABLE: True, EPOCHS: 2, BATCH_SIZE: 2, OPTIMIZER: ADAMW, LR: 1.E-3}}
TEST: {{ENABLE: True}}
"""


class Trial:
    """Storage of images and containers in a folder.

    Parameters
    ----------
    folder : Path
        Folder for everything that is made.
    seconds : float
        Time limit of all steps together.
    """

    def __init__(self, folder: Path, seconds: float) -> None:
        self.folder = folder
        self._until = time.monotonic() + seconds
        self._storage = ["--root", str(folder / "storage"), "--runroot", str(folder / "run")]
        self.is_right = True

    def call(self, *line: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command within the time limit, with the storage for buildah and podman."""
        words = [str(word) for word in line]
        if words[0] in ("buildah", "podman"):
            words[1:1] = self._storage
        left = max(1, self._until - time.monotonic())
        done = subprocess.run(
            words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=left
        )
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(words)}:\n{(done.stdout + done.stderr)[-3000:]}")
        return done

    def row(self, step: str, is_right: bool, text: str, started: float) -> None:
        """Print a row of the table."""
        self.is_right &= is_right
        seconds = time.monotonic() - started
        print(f"| {step} | {'yes' if is_right else 'NO'} | {text} | {seconds:.0f} |", flush=True)


@contextmanager
def trial(minutes: float) -> Iterator[Trial]:
    """Yield a new storage, and remove its containers, mounts and files."""
    folder = Path(tempfile.mkdtemp(prefix="singula_containers_"))
    folder.chmod(0o755)  # containers run as other users
    made = Trial(folder, 60 * minutes)
    try:
        yield made
    finally:
        made._until = time.monotonic() + 120
        made.call("buildah", "rm", "--all", check=False)
        made.call("buildah", "rmi", "--all", "--force", check=False)
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for mount in sorted((m for m in mounts if m.startswith(f"{folder}/")), reverse=True):
            made.call("umount", mount, check=False)
        shutil.rmtree(folder, ignore_errors=True)


def pip_settings(folder: Path) -> list[str]:
    """Return options of ``buildah bud`` that apply this machine's settings of pip in the build."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    values = {}
    for line in sorted(done.stdout.splitlines(), reverse=True):  # `:env:` is after `global`
        name, _, value = line.partition("=")
        values[name.rpartition(".")[2]] = str(ast.literal_eval(value))
    options = []
    for word in " ".join(values.values()).split():
        path = Path(word.removeprefix("file://"))
        path = (
            path.parent if word.startswith("file://") else path
        )  # pages link to files next to them
        if path.is_absolute() and path.exists():
            options += ["--volume", f"{path}:{path}:ro"]
    sections = (f"{name} = " + "\n    ".join(value.split()) for name, value in values.items())
    secret = folder / "pip.conf"
    secret.write_text("\n".join(["[global]", *sections, ""]))
    return [*options, "--secret", f"id=pip,src={secret}"]


def make_base(made: Trial) -> None:
    """Make an image of Debian bookworm with Python 3.11."""
    started, base = time.monotonic(), made.folder / "base"
    made.call(
        "debootstrap", "--variant=minbase", f"--include={_PACKAGES}", "bookworm", base
    )  # fmt: skip
    for name in _UNUSED:
        shutil.rmtree(base / name)
    (base / "var/cache/apt/archives/partial").mkdir(parents=True)
    container = made.call("buildah", "from", "scratch").stdout.strip()
    made.call("buildah", "copy", "--quiet", container, base, "/")
    made.call("buildah", "commit", "--quiet", "--rm", container, BASE)
    shutil.rmtree(base)
    made.row("base of Debian bookworm", True, f"{image_size(made, BASE) / 1e6:.0f} MB", started)


def image_size(made: Trial, name: str) -> int:
    """Return the bytes of an image, as `buildah images` shows them."""
    images = json.loads(made.call("buildah", "images", "--json").stdout)
    size = next(image["size"] for image in images if f"{name}:latest" in (image["names"] or ()))
    number, unit = size.split()
    return int(float(number) * {"KB": 1e3, "MB": 1e6, "GB": 1e9}[unit])


def build(made: Trial, *options: str) -> subprocess.CompletedProcess[str]:
    """Build the image of the Dockerfile for the CPU."""
    return made.call(
        "buildah", "bud", "--isolation=chroot", f"--build-arg=BASE={BASE}",
        "--build-arg=DEVICE=cpu", *options, f"--tag={IMAGE}", ".", check=False,
    )  # fmt: skip


def check_stop(made: Trial) -> None:
    """Build for the CPU without builds of torch, which must stop."""
    started = time.monotonic()
    done = build(made)
    stops = done.returncode != 0 and "TORCH_INDEX: got nothing" in done.stderr + done.stdout
    made.row("`DEVICE=cpu` without `TORCH_INDEX` stops", stops, "no image", started)
    if not stops:
        print((done.stdout + done.stderr)[-2000:])


def check_build(made: Trial, index: str) -> None:
    """Build for the CPU with builds of torch; the image must be small."""
    started = time.monotonic()
    volume = [f"--volume={index}:{index}:ro"] if Path(index).is_dir() else []
    options = [*pip_settings(made.folder), *volume, f"--build-arg=TORCH_INDEX={index}"]
    done = build(made, *options)
    if done.returncode:
        raise RuntimeError((done.stdout + done.stderr)[-3000:])
    size = image_size(made, IMAGE)
    made.row("image for the CPU below 1.5 GB", size < _LARGEST, f"{size / 1e6:.0f} MB", started)


class Engine:
    """Start containers with podman, or with buildah where podman cannot.

    Parameters
    ----------
    made : Trial
        Storage of the image.
    """

    def __init__(self, made: Trial) -> None:
        self._made = made
        self._container = ""
        limits = ["--ulimit=nofile=4096:4096", "--ulimit=nproc=4096:4096"]  # no right to raise them
        choices = [[], ["--network=none"], ["--network=none", "--runtime=runc", *limits]]
        for self.options in choices if shutil.which("podman") else []:
            line = ["podman", "run", "--rm", *self.options, "--entrypoint=true", IMAGE]
            done = made.call(*line, check=False)
            if done.returncode == 0:
                self.name = " ".join(["podman", "run", *self.options])
                return
            print(f"podman run {' '.join(self.options)}: {done.stderr.strip().splitlines()[-1]}")
        self._container = made.call("buildah", "from", IMAGE).stdout.strip()
        self.name = "buildah run --isolation=chroot"

    def run(
        self, user: int, mounts: dict[Path, bool], line: list[str], *, shell: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run the entry point, or a line of sh in an image that cannot be written.

        Parameters
        ----------
        user : int
            Number of the user and group.
        mounts : dict
            Folders and files of the host; the value is True if they are read-only.
        line : list of str
            Arguments after the name of the image.
        shell : str
            Lines for ``sh -c``, with the arguments as ``$@``.
        """
        if self._container:
            volumes = [f"--volume={p}:{p}{':ro' if ro else ''}" for p, ro in mounts.items()]
            command = ["sh", "-c", shell, "sh", *line] if shell else ["biapy", *line]
            options = ["--isolation=chroot", f"--user={user}:{user}", *volumes]
            return self._made.call(
                "buildah", "run", *options, self._container, "--", *command, check=False
            )
        binds = [
            f"--mount=type=bind,source={p},target={p}{',readonly' if ro else ''}"
            for p, ro in mounts.items()
        ]
        options = [*self.options, f"--user={user}:{user}", *binds]
        if shell:
            home = next(path for path, is_read_only in mounts.items() if not is_read_only)
            options += ["--read-only", f"--env=HOME={home}", "--entrypoint=sh"]
            line = ["-c", shell, "sh", *line]
        return self._made.call("podman", "run", "--rm", *options, IMAGE, *line, check=False)


def section(name: str) -> str:
    """Return a section of the definition file for Apptainer."""
    text = (ROOT / "docker/singula.def").read_text()
    return text.partition(f"\n%{name}\n")[2].partition("\n%")[0]


def instances(results: Path) -> dict[str, bytes]:
    """Return the pixels of the label images of a run by the names of the files."""
    import tifffile

    folder = next(results.rglob("per_image_instances"))
    return {file.name: tifffile.imread(file).tobytes() for file in sorted(folder.glob("*.tif"))}


def check_runs(made: Trial, data: Path) -> None:
    """Run the commands of BiaPy's documentation on copies of real images."""
    copy = made.folder / "data"
    for part, count in (("train", 4), ("test", 2)):
        for image in sorted((data / part / "raw").iterdir())[:count]:
            for kind in ("raw", "label"):
                target = copy / part / kind / image.name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(data / part / kind / image.name, target)
    before = {file: file.read_bytes() for file in copy.rglob("*") if file.is_file()}
    config = made.folder / "job.yaml"
    config.write_text(_CONFIG.format(data=copy))
    engine = Engine(made)
    apptainer = f"{section('environment')}\n{section('runscript')}"
    short, long = ("-cfg", "-rdir", "-name", "-rid", "-gpu"), (
        "--config", "--result_dir", "--name", "--run_id", "--gpu",
    )  # fmt: skip
    cases = (
        (f"`{engine.name}`, user 1000", 1000, short, ""),
        ("`--user 4321:4321`, long options", 4321, long, ""),
        ("image read-only, with the environment of `singula.def`", 4321, long, apptainer),
    )
    expected: dict[str, bytes] = {}
    for number, (step, user, names, shell) in enumerate(cases, 1):
        started = time.monotonic()
        results = made.folder / f"results_{number}"
        results.mkdir()
        shutil.chown(results, user, user)
        values = (config, results, "job", number, "cuda:0")
        line = [str(word) for pair in zip(names, values, strict=True) for word in pair]
        mounts = {results: False, config: True, copy: True}
        done = engine.run(user, mounts, line, shell=shell)
        if done.returncode:
            made.row(step, False, f"exit code {done.returncode}", started)
            print((done.stdout + done.stderr)[-2000:])
            continue
        labels = instances(results)
        expected = expected or labels
        is_owner = all(file.lstat().st_uid == user for file in results.rglob("*"))
        is_right = labels == expected and is_owner and len(labels) == 2
        made.row(step, is_right, "same instances, files of this user", started)
    after = {file: file.read_bytes() for file in copy.rglob("*") if file.is_file()}
    made.row("data unchanged", before == after, f"{len(before)} files", time.monotonic())


def main() -> int:
    """Run the steps, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--torch-index", help="index, or folder of wheels, with torch for the CPU")
    parser.add_argument("--data", type=Path, default=ROOT / "../shared/data/dsb2018")
    parser.add_argument("--short", action="store_true", help="only that a wrong build stops")
    parser.add_argument("--minutes", type=float, default=60, help="time limit")
    options = parser.parse_args()
    absent = [name for name in ("buildah", "debootstrap") if shutil.which(name) is None]
    if absent or not hasattr(os, "geteuid") or os.geteuid() != 0:
        print(f"skipped: {'not installed: ' + ', '.join(absent) if absent else 'needs root'}")
        return 0
    if not options.short and not options.torch_index:
        parser.error("--torch-index: give an index or a folder with torch for the CPU, or --short")
    with trial(options.minutes) as made:
        print("| step | as expected | result | seconds |\n|---|---|---|---|", flush=True)
        try:
            make_base(made)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            if not options.short:
                raise
            print(f"skipped: no base image: {error}")
            return 0
        check_stop(made)
        if not options.short:
            check_build(made, options.torch_index)
            check_runs(made, options.data.resolve())
    return 0 if made.is_right else 1


if __name__ == "__main__":
    raise SystemExit(main())

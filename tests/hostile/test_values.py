"""Values of configurations, options and the environment that cannot be used."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
import yaml
from selection import fast_first

from singula.blocks.dask_options import check_dask_option
from singula.config import Config, config_from_dict, known_keys, load_config
from singula.config.biapy.translate import REMOVE
from singula.config.values import OffOr
from singula.config.yaml_source import mapping_from_yaml, parse_yaml
from singula.data.dataset import PatchDataset, Sample
from singula.data.normalize import Normalizer
from singula.data.preprocess import preprocess
from singula.errors import UserError
from singula.exports import export
from singula.io.image import check_spacing
from singula.io.units import check_unit
from singula.models import build_model
from singula.pipeline import from_config as st
from singula.pipeline.augmentation import CHANGE_OF_KEY, augment_settings
from singula.pipeline.postprocess import post_settings
from singula.pipeline.readers import preprocess_settings
from singula.pipeline.run import Job, run
from singula.pipeline.seed import run_seed
from singula.util.format import show
from singula.util.paths import as_name
from singula.util.process import check_launcher, launcher_number, thread_limit

TAGS = (
    "int", "float", "bool", "null", "timestamp", "binary", "set", "omap", "pairs", "str", "seq",
    "map", "merge", "value", "python/object:os.system", "python/tuple", "unknown",
)  # fmt: skip
NONSENSE = (
    "''", "x", "-", "+", "0x", "0b2", "1:x:2", "2001-99-99", "2001-12-14 21:59:43+99:99", "ü",
    "[1]", "[[1]]", "{a: 1}", "[{a: 1}, {a: 2}]", "[{}]", "{[1]: 2}", "{{}: 1}",
)  # fmt: skip


@pytest.mark.parametrize("tag", TAGS)
def test_tags_never_end_in_another_error(tag: str) -> None:
    """Each tag is read as a value, or refused with its key and line."""
    for value in NONSENSE:
        text = f"TEST:\n  ENABLE: True\nTRAIN:\n  EPOCHS: !!{tag} {value}\n"
        for read in (parse_yaml, mapping_from_yaml):
            with suppress(UserError):
                read(text, "cells.yaml")
        with pytest.raises(UserError) as error:
            config_from_dict(
                {"TEST.ENABLE": True}, [f"TRAIN.EPOCHS=!!{tag} {value}"], source="cells.yaml"
            )
        assert "TRAIN.EPOCHS" in error.value.message, value


@pytest.mark.parametrize("tag", TAGS)
def test_tags_in_a_file_are_reported_at_their_line(tag: str, tmp_path: Path) -> None:
    file = tmp_path / "cells.yaml"
    for value in NONSENSE:
        file.write_text(f"TEST:\n  ENABLE: True\nTRAIN:\n  EPOCHS: !!{tag} {value}\n")
        with pytest.raises(UserError) as error:
            load_config(file)
        assert error.value.code in ("config.invalid", "config.syntax"), value
        assert "cells.yaml:4" in error.value.message, value


GROWING = {
    "long list": "A: [" + "1, " * 300_000 + "1]",
    "many keys": "\n".join(f"K{number}: 1" for number in range(80_000)),
    "deep list": "A: " + "[" * 100_000,
    "deep sections": "\n".join(" " * depth + "A:" for depth in range(1000)),
    "deep block lists": "A:\n  " + "- " * 100_000,
    "aliases of lists": "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
    + "\n".join(
        f"{b}: &{b} [{', '.join(['*' + a] * 10)}]" for a, b in zip("abcdef", "bcdefg", strict=True)
    ),
    "list in itself": "A: &a [*a]",
    "section in itself": "A: &a\n  B: *a",
    "merge of itself": "A: &a\n  <<: *a",
    "more than a mebibyte": "A: '" + "x" * 2**20 + "'",
}


@pytest.mark.parametrize("text", GROWING)
def test_no_text_is_composed_beyond_the_limit(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    composed = []
    compose = yaml.composer.Composer.compose_node
    monkeypatch.setattr(
        yaml.composer.Composer,
        "compose_node",
        lambda self, *place: (composed.append(1), compose(self, *place))[1],
    )
    for read in (parse_yaml, mapping_from_yaml):
        composed.clear()
        with pytest.raises(UserError) as error:
            read(GROWING[text], "cells.yaml")
        assert error.value.code == "config.too_large"
        assert len(composed) <= 20_000


def test_duplicate_and_merged_keys() -> None:
    text = "A: &a {LR: 1, EPOCHS: 2}\nTRAIN:\n  <<: [*a, {LR: 3}]\n  EPOCHS: 4\n"
    tree = parse_yaml(text, "cells.yaml")
    assert {k: v.value for k, v in tree.entries.items() if k[0] == "T"} == {
        "TRAIN.EPOCHS": 4,
        "TRAIN.LR": 1,
    }
    assert not tree.problems
    (problem,) = parse_yaml("TRAIN:\n  LR: 1\n  LR: 2\n", "cells.yaml").problems
    assert problem.text.startswith("TRAIN.LR")
    assert problem.place.line == 3


def test_the_nearest_key_is_searched_for_few_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = {f"TRAIN.UNKNOWN_{number}": 1 for number in range(9000)}
    searched = []
    ratio = SequenceMatcher.ratio
    monkeypatch.setattr(SequenceMatcher, "ratio", lambda self: (searched.append(1), ratio(self))[1])
    with pytest.raises(UserError) as error:
        config_from_dict({"TEST.ENABLE": True, **unknown})
    assert error.value.code == "config.invalid"
    assert "8,800 more" in error.value.message.replace("\u202f", ",")
    few = len(searched)
    searched.clear()
    with pytest.raises(UserError):
        config_from_dict({"TEST.ENABLE": True, **dict(list(unknown.items())[:60])})
    assert few == len(searched)
    with pytest.raises(UserError, match=r"did you mean TRAIN.EPOCHS"):
        config_from_dict({"TEST.ENABLE": True, "TRAIN.EPOCS": 1, "TRAIN." + "X" * 10**6: 1})


@pytest.mark.parametrize("name", ["\x1b[2J", "a\0", "\ud800", "x" * 10_000, "a\nb"], ids=ascii)
def test_unknown_keys_can_be_printed(name: str) -> None:
    with pytest.raises(UserError) as error:
        config_from_dict({"TEST.ENABLE": True, name: 1})
    lines = error.value.message.splitlines()
    assert len(lines) == 2
    assert len(lines[1]) < 300
    assert lines[1].isprintable()


NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE",
           "MASTER_PORT")  # fmt: skip


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*NUMBERS, "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("text", ["abc", "-1", "1.5", "²", "٣", "1_0", "0x1", " 1", "9" * 5000])
@pytest.mark.parametrize("variable", NUMBERS)
def test_the_environment_of_a_launcher_is_validated(
    variable: str, text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(variable, text)
    for check in (check_launcher, lambda: launcher_number(variable)):
        with pytest.raises(UserError) as error:
            check()
        assert error.value.code == "environment.number"
        assert variable in error.value.message
    with pytest.raises(UserError) as error:  # before the configuration is read
        run(Job(tmp_path / "missing.yaml"))
    assert error.value.code == "environment.number"


@pytest.mark.parametrize(
    "values",
    [
        {"RANK": "2", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1234"},
        {"RANK": "1"},
        {"LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "1"},
        {"RANK": "1", "WORLD_SIZE": "2"},
        {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"},
    ],
)
def test_a_launcher_gives_processes_that_can_meet(
    values: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in values.items():
        monkeypatch.setenv(name, text)
    with pytest.raises(UserError) as error:
        check_launcher()
    assert error.value.code == "environment.processes"


def test_what_launchers_set_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    check_launcher()
    for name in NUMBERS:
        monkeypatch.setenv(name, "")
    check_launcher()
    for name, text in zip(NUMBERS, ("3", "4", "1", "2", "2", "29500"), strict=True):
        monkeypatch.setenv(name, text)
    monkeypatch.setenv("MASTER_ADDR", "node1")
    check_launcher()
    assert launcher_number("RANK") == 3


@pytest.mark.parametrize(
    ("text", "threads"),
    [("4", 4), ("4,2", 4), (" 8 ", 8), ("", None), ("0", None), ("²", None), ("abc", None),
     ("-2", None), ("9" * 5000, None)],
)  # fmt: skip
def test_threads_of_the_environment(
    text: str, threads: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    assert thread_limit() == threads


WAYS = ["", ":", "local", "local:", "local:0", "local:-1", "local:1025", "local:" + "9" * 5000,
        "local:²", "local:1 ", "tcp://", "tcp://[:x", "tcp://host", "tcp://host:", "tcp://host:x",
        "tcp://host:0", "tcp://host:65536", "tcp://:8786", "tcp://[::1", "tcp://a b:1",
        "tcp://host:1/x", "tcp://u@host:1", "TCP://host:1", "http://host:1", "tcp:host:1",
        "tcp://host:8786\n", "tcp://\ud800:1", "a\0b"]  # fmt: skip
FILES = ["", "[", "- 1", "jobs: x", "jobs: 0", "jobs: True", "jobs: !!int ''", "cores: 1",
         "jobs: 1", "{jobs: 1, cores: 0, memory: 1GB}", "{jobs: 1, cores: 1, memory: x}",
         "{jobs: 1, cores: 1, memory: 1GB, x: 1}",
         "{jobs: 1, cores: 1, memory: 1GB, processes: 0}",
         "{jobs: 1, cores: 1, memory: 1GB, job_script_prologue: 1}",
         "{jobs: 1, cores: 1, memory: 1GB, worker_extra_args: 1}",
         "{jobs: 1, cores: [1], memory: 1GB}", "a: &a [*a]", "\0", "A: [" + "1, " * 30_000 + "1]",
         ]  # fmt: skip


@pytest.mark.parametrize("way", WAYS, ids=lambda way: ascii(way)[:30])
def test_workers_are_validated_before_anything_starts(way: str) -> None:
    with pytest.raises(UserError) as error:
        check_dask_option(way)
    assert error.value.code == "dask.workers"


@pytest.mark.parametrize("text", FILES, ids=lambda text: ascii(text)[:30])
def test_files_of_batch_systems_are_validated_before_anything_starts(
    text: str, tmp_path: Path
) -> None:
    pytest.importorskip("dask_jobqueue")
    file = tmp_path / "queue.yaml"
    file.write_text(text)
    for queue in ("slurm", "pbs", "lsf", "sge"):
        with pytest.raises(UserError) as error:
            check_dask_option(f"{queue}:{file}")
        assert error.value.code is not None
        assert str(file) in error.value.message


@pytest.mark.parametrize("way", ["tls://host:1", "wss://host:1"])
def test_protocols_that_are_not_set_up(way: str) -> None:
    pytest.importorskip("distributed")
    with pytest.raises(UserError) as error:
        check_dask_option(way)
    assert error.value.code in ("dask.encryption", "dask.library_missing")


NUMERIC = [key.name for key in known_keys() if re.search("int|float", key.type)]
HOSTILE = (
    math.nan, math.inf, -math.inf, -1, 0, 1e-300, 1e300, 10**4000, -(10**4000), 10**5000, 2**31,
    2**63, 2**64, True, "1e3", "1e400", "0x10", "nan", "", [], {}, None, b"1", [[]], [None],
    [math.nan] * 3, [10**4000] * 3, [1] * 20_000,
)  # fmt: skip
BASE = {
    "PROBLEM.NDIM": "3D",
    "DATA.PATCH_SIZE": (4, 16, 16, 1),
    "DATA.EXTRACT_RANDOM_PATCH": True,
    "MODEL.FEATURE_MAPS": (2, 4),
    "MODEL.Z_DOWN": (1,),
    "LOSS.TYPE": "W_CE_DICE",
    "TRAIN.ENABLE": True,
    "TEST.ENABLE": True,
}
SWITCHES = {
    "AUGMENTOR": {
        "AUGMENTOR.ENABLE": True,
        "AUGMENTOR.DA_PROB": 1,
        **{f"AUGMENTOR.{name}": True for name in (*CHANGE_OF_KEY, "RANDOM_ROT", "SHEAR", "ZOOM",
           "SHIFT", "ELASTIC", "MISALIGNMENT")
           if name not in ("GRAYSCALE", "CHANNEL_SHUFFLE")},
    },
    "DATA": {
        "DATA.PROBABILITY_MAP": True,
        "DATA.NORMALIZATION.PERC_CLIP": True,
        "DATA.NORMALIZATION.PERC_LOWER": 1,
        "DATA.NORMALIZATION.PERC_UPPER": 99,
        "DATA.PREPROCESS.TRAIN": True,
        **{f"DATA.PREPROCESS.{name}.ENABLE": True
           for name in ("GAUSSIAN_BLUR", "MEDIAN_BLUR", "CLAHE", "CANNY")},
    },
    "MODEL": {},
    "UNETR": {"MODEL.ARCHITECTURE": "unetr", "DATA.PATCH_SIZE": (16, 16, 16, 1),
              "MODEL.VIT_TOKEN_SIZE": 8, "MODEL.VIT_EMBED_DIM": 12, "MODEL.VIT_NUM_LAYERS": 4,
              "MODEL.VIT_NUM_HEADS": 2, "MODEL.UNETR_VIT_HIDD_MULT": 1},
}  # fmt: skip


def _switches(name: str) -> dict[str, object]:
    if name == f"{REMOVE}.VALUES":
        return {**BASE, f"{REMOVE}.PROPS": [["npixels"]], f"{REMOVE}.SIGN": [["gt"]]}
    group = "UNETR" if "VIT" in name or "UNETR" in name else name.partition(".")[0]
    return {**BASE, **SWITCHES.get(group, {})}


def _bounds(annotation: Any, metadata: Iterable[Any]) -> Iterator[float]:
    """Yield the bounds that the schema declares for a number, or for the numbers of a list."""
    for note in metadata:
        notes = note.bounds if isinstance(note, OffOr) else [note]
        for one in notes:
            yield from (getattr(one, end) for end in ("ge", "gt", "le", "lt") if hasattr(one, end))
    for part in get_args(annotation):
        yield from _bounds(part, getattr(part, "__metadata__", ()))


def _values(name: str) -> list[object]:
    """Return hostile values, and both sides of each declared bound, in the shape of the default."""
    *sections, last = name.split(".")
    part = functools.reduce(lambda part, step: getattr(part, step), sections, Config())
    field = type(part).model_fields[last]
    default = Config().dotted()[name]
    numbers = [*HOSTILE]
    for bound in _bounds(field.annotation, field.metadata):
        numbers += [bound, bound - 1, bound + 1, bound * (1 + 1e-9), bound * (1 - 1e-9)]
    if not isinstance(default, tuple):
        return numbers
    lengths = {len(default) or 1, 3, 4 if name == "DATA.PATCH_SIZE" else 3}
    lists = [[v] * n for v in numbers if isinstance(v, int | float) for n in lengths]
    return [*numbers, *lists, *([[v]] for v in numbers if isinstance(v, int | float))]


def _use(config: Config, name: str) -> None:
    """Create all objects that a run creates before its first step, with small arrays."""
    st.instance_loss(config), st.optimizer_settings(config), st.decode_settings(config)
    st.fit_settings(config, run_seed(config, 1), workers=0, live=False)
    st.tile_plan(config, st.model_settings(config)), st.predict_settings(config, (8, 64, 64))
    post_settings(config), check_spacing(st.spacing(config, "TEST") or 1, config.ndim)
    if name.startswith("MODEL."):
        with torch.device("meta"):
            build_model(st.model_settings(config))
        return
    if name.startswith("SYSTEM.SEED"):
        torch.Generator().manual_seed(run_seed(config, 1))
    if not name.startswith(("AUGMENTOR.", "DATA.", "PROBLEM.")) or name.endswith("PATCH_SIZE"):
        return
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (4, 24, 24, 1)).astype(np.uint8)
    labels = np.zeros(image.shape, np.uint16)
    labels[1:3, 4:12, 4:12] = 1
    if not name.startswith("AUGMENTOR."):
        image = preprocess(image, preprocess_settings(config))
    patches = replace(st.patch_settings(config, "TRAIN"), replicate=1)
    items = PatchDataset(
        [Sample("cells", image, labels)],
        patches,
        st.normalizer(config),
        st.encode_settings(config, "TRAIN"),
        augment_settings(config),
        run_seed(config, 1),
    )
    if not items.places:
        return
    item = items[(0, 0)]
    assert all(torch.isfinite(value).all() for value in item.values()), "not finite"


@pytest.mark.parametrize("name", fast_first(NUMERIC, 10))
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_every_number_is_usable_or_refused_by_its_key(name: str) -> None:
    accepted = 0
    for value in _values(name):
        try:
            config = config_from_dict({**_switches(name), name: value})
        except UserError as error:
            named = name in error.message
        else:
            named = None
        assert named is not False, show(value)
        if named:
            continue
        accepted += 1
        with suppress(UserError):
            _use(config, name)
    assert accepted


ZERO_WEIGHTS = [
    {"PROBLEM.INSTANCE_SEG.DATA_CHANNEL_WEIGHTS": (0, 0)},
    {"PROBLEM.INSTANCE_SEG.DATA_CHANNEL_WEIGHTS": (0, 0, 0), "MODEL.N_CLASSES": 3},
    {"LOSS.WEIGHTS": (0, 0), "LOSS.TYPE": "W_CE_DICE"},
    {"LOSS.CLASS_WEIGHTS": (0, 0), "LOSS.CLASS_REBALANCE": "manual"},
    {
        "DATA.W_FOREGROUND": 0,
        "DATA.W_BACKGROUND": 0,
        "DATA.PROBABILITY_MAP": True,
        "DATA.EXTRACT_RANDOM_PATCH": True,
    },
]


@pytest.mark.parametrize("values", ZERO_WEIGHTS, ids=lambda values: next(iter(values)))
def test_weights_that_are_all_0(values: dict[str, object]) -> None:
    with pytest.raises(UserError) as error:
        config_from_dict({"TRAIN.ENABLE": True, **values})
    assert next(iter(values)) in error.value.message


TOO_LARGE = {
    "DATA.PATCH_SIZE": {"DATA.PATCH_SIZE": (2**18, 2**18, 1)},
    "MODEL.FEATURE_MAPS": {"MODEL.FEATURE_MAPS": (10_000, 10_000), "MODEL.KERNEL_SIZE": 99},
    "MODEL.VIT_EMBED_DIM": {
        "MODEL.ARCHITECTURE": "unetr", "MODEL.VIT_EMBED_DIM": 10_000, "MODEL.VIT_NUM_LAYERS": 100,
        "MODEL.VIT_NUM_HEADS": 10,
    },
    "MODEL.UNETR_VIT_NUM_FILTERS": {
        "MODEL.ARCHITECTURE": "unetr", "MODEL.UNETR_VIT_NUM_FILTERS": 10_000,
    },
    "DATA.PREPROCESS.MEDIAN_BLUR.KERNEL_SIZE": {
        "PROBLEM.NDIM": "3D", "DATA.PATCH_SIZE": (16, 64, 64, 1), "DATA.PREPROCESS.TEST": True,
        "DATA.PREPROCESS.MEDIAN_BLUR.ENABLE": True,
        "DATA.PREPROCESS.MEDIAN_BLUR.KERNEL_SIZE": 999,
    },
}  # fmt: skip


@pytest.mark.parametrize("key", TOO_LARGE)
def test_products_that_no_machine_can_hold(key: str) -> None:
    with pytest.raises(UserError) as error:
        config_from_dict({"TEST.ENABLE": True, **TOO_LARGE[key]})
    assert f"{key}: got" in error.value.message


@pytest.mark.parametrize("thresholds", [(5, 1), (200, None), (None, -1)])
def test_thresholds_of_edges_in_the_wrong_order(thresholds: tuple[float | None, ...]) -> None:
    names = [f"DATA.PREPROCESS.CANNY.{side}_THRESHOLD" for side in ("LOW", "HIGH")]
    keys = dict(zip(names, thresholds, strict=True))
    with pytest.raises(UserError, match="LOW_THRESHOLD: "):
        preprocess(
            np.arange(64, dtype=np.uint8).reshape(8, 8, 1),
            preprocess_settings(
                config_from_dict(
                    {
                        "TEST.ENABLE": True,
                        "DATA.PREPROCESS.TEST": True,
                        "DATA.PREPROCESS.CANNY.ENABLE": True,
                        **keys,
                    }
                )
            ),
        )


@pytest.mark.parametrize("unit", ["furlong", "µ", "1", "metersss", "\ud800", "\0", "x" * 1000])
def test_unknown_units(unit: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        check_unit(unit, "--unit")
    assert error.value.code == "units.unknown"
    assert "µm" in error.value.message
    with pytest.raises(UserError) as error:
        export(np.eye(8, dtype=np.uint8), "csv", tmp_path / "out", spacing=1, unit=unit)
    assert error.value.code == "units.unknown"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("unit", [None, "um", "microns", "Nanometre", "Å", "pixel", ""])
def test_known_units_stay_as_they_are(unit: str | None) -> None:
    assert check_unit(unit, "--unit") == unit


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("kind", ["div", "scale_range", "custom"])
@pytest.mark.parametrize("clip", [None, (1.0, 99.0)])
def test_values_beyond_single_precision(kind: Any, clip: tuple[float, float] | None) -> None:
    image = np.random.default_rng(0).random((16, 16, 1))
    for per_image in (True, False):
        results = []
        for values in (image, image * 1e300):
            fitted = Normalizer(kind, per_image=per_image, clip=clip).fit([values])
            results.append(fitted.scaling(values).apply(values))
        if kind == "div":  # the values stay what they are, and prediction reports them
            assert not np.isfinite(results[1]).any()
        else:
            np.testing.assert_allclose(results[1], results[0], rtol=1e-5, atol=1e-6)


def test_names_from_metadata_stay_in_their_folder() -> None:
    for text in ("../../x", "..\\x", "a\0b", "\ud800", "A/1/0", "\n"):
        name = as_name(text)
        assert Path(name).name == name
        name.encode()

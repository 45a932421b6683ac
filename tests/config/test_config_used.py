"""Every key is read somewhere, or it is in the table of those that have no effect.

The source is read, not run. A key counts as read where an expression of a section's kind is asked
for it (``config.TEST.VERBOSE``, ``keys = config.TEST`` and ``keys.VERBOSE``, an argument that is
annotated with the section), where a name that only one key has is asked for, or where its dotted
name is looked up. A path of the results folder counts when somebody asks the tree for that place.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import singula
from singula.config import Config, config_from_dict
from singula.config.biapy.unsupported import NO_EFFECT, UNAVAILABLE, unsupported_values
from singula.config.keys import key_table, section_names
from singula.config.load import config_and_notices
from singula.config.schema.base import Section
from singula.config.thresholds import KEYS as THRESHOLD_KEYS

SOURCE = Path(singula.__file__).parent
KEYS = frozenset(key_table())
# Neither read nor without effect.
OTHERWISE = {
    "PROBLEM.TYPE": "takes one word only, the workflow there is",
    "PROBLEM.INSTANCE_SEG.DECODER": "read by a property of the configuration",
    **dict.fromkeys(THRESHOLD_KEYS.values(), "read by the names in a table"),
}

# Read of a part that is TRAIN or VAL, which the source does not tell.
ASKED_OF_OTHERS = {"DATA.TEST.IN_MEMORY"}


def joined(section: str, name: str) -> str:
    return f"{section}.{name}" if section else name


def sections_by_class(model: type[Section] = Config, name: str = "") -> Iterator[tuple[str, str]]:
    """Each class of sections, bases too, and where in the configuration one of its kind is."""
    for kind in model.__mro__:
        if issubclass(kind, Section):
            yield kind.__name__, name
    for part, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from sections_by_class(field.annotation, joined(name, part))


PLACES: dict[str, set[str]] = {}
for kind, where in sections_by_class():
    PLACES.setdefault(kind, set()).add(where)
LAST_WORDS = [name.rpartition(".")[2] for name in KEYS]


class Reader(ast.NodeVisitor):
    """Collects the keys that a module reads, and the places of the results folder it asks for."""

    def __init__(self, tree: ast.Module, properties: dict[tuple[str, str], set[str]]) -> None:
        self.read: set[str] = set()
        self.asked: set[str] = set()
        self.known: dict[str, set[str]] = {}
        self.properties = properties
        self.words = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        self.visit(tree)

    def sections(self, node: ast.expr) -> set[str]:
        """Sections that an expression may be; the whole configuration is ''."""
        match node:
            case ast.Name(id=name):
                return self.known.get(name, {""} if name == "config" else set())
            case ast.Attribute(value=value, attr=name):
                found = {joined(part, name) for part in self.sections(value)} & section_names()
                return found or ({""} if name == "config" else set())
            case ast.IfExp(body=body, orelse=other):
                return self.sections(body) | self.sections(other)
            case ast.Call(func=ast.Name(id="getattr"), args=[value, *_]):
                parts = {
                    joined(p, n) for p in self.sections(value) for n in ("TRAIN", "VAL", "TEST")
                }
                return parts & section_names()
        return set()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        outer, self.known = self.known, dict(self.known)
        for argument in (*node.args.args, *node.args.kwonlyargs):
            self.known.pop(argument.arg, None)
            if isinstance(argument.annotation, ast.Name) and argument.annotation.id in PLACES:
                self.known[argument.arg] = PLACES[argument.annotation.id]
        self.generic_visit(node)
        self.known = outer

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        for target in node.targets:
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts, strict=False))
            for name, value in pairs:
                if isinstance(name, ast.Name) and name.id != "config":
                    self.known[name.id] = self.sections(value)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.generic_visit(node)
        sections = self.sections(node.value)
        self.read |= {joined(part, node.attr) for part in sections} & KEYS
        for part in sections:
            self.read |= self.properties.get((part, node.attr), set())
        if not sections and LAST_WORDS.count(node.attr) == 1:
            self.read |= {name for name in KEYS if name.rpartition(".")[2] == node.attr}
        match node.value:
            case ast.Name(id="tree" | "self") | ast.Attribute(attr="tree"):
                self.asked.add(node.attr)

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        match node:
            # A name that the module spells out and asks a section for.
            case ast.Call(func=ast.Name(id="getattr"), args=[value, ast.Name()]):
                names = {joined(p, str(word)) for p in self.sections(value) for word in self.words}
                self.read |= names & KEYS
            case ast.Call(
                func=ast.Attribute(attr="get" | "is_set"), args=[ast.Constant(value=name), *_]
            ):
                self.read |= {str(name)} & KEYS

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self.generic_visit(node)
        if isinstance(node.slice, ast.Constant):
            self.read |= {str(node.slice.value)} & KEYS


def properties() -> dict[tuple[str, str], set[str]]:
    """Keys that the properties of sections read, by section and property."""
    found = {}
    for path in (SOURCE / "config" / "schema").glob("*.py"):
        for kind in ast.parse(path.read_text(encoding="utf-8")).body:
            if not isinstance(kind, ast.ClassDef) or kind.name not in PLACES:
                continue
            for item in kind.body:
                if isinstance(item, ast.FunctionDef):
                    for place in PLACES[kind.name]:
                        reader = Reader(ast.Module([], []), {})
                        reader.known["self"] = {place}
                        for line in item.body:
                            reader.visit(line)
                        found[place, item.name] = reader.read
    return found


def place_keys(tree: ast.Module) -> dict[str, tuple[str, str]]:
    """Places of the results folder: default and key."""
    found = {}
    for node in ast.walk(tree):
        match node:
            case ast.Assign(
                targets=[ast.Name(id=name)],
                value=ast.Call(func=ast.Name(id="_Place"), args=[default, *key]),
            ):
                words = [str(ast.literal_eval(word)) for word in (default, *key)]
                found[name] = (words[0], words[1] if key else "")
            case ast.Assign(
                targets=[ast.Name(id=name)],
                value=ast.Call(
                    func=ast.Name(id="_result_folder"), args=[ast.Constant(value=folder)]
                ),
            ):
                found[name] = (f"{{0.run}}/{folder}", f"PATHS.RESULT_DIR.{folder.upper()}")
    return found


def keys_read(source: Path) -> set[str]:
    """Keys that the program reads outside the rooms that only show and judge them."""
    known, read, asked = properties(), set(), set()
    places: dict[str, tuple[str, str]] = {}
    for path in source.rglob("*.py"):
        inner = path.relative_to(source)
        # The precedence of thresholds is the one place in the configuration that uses keys.
        if inner.parts[0] not in ("config", "gui") or inner.name == "thresholds.py":
            module = ast.parse(path.read_text(encoding="utf-8"))
            reader = Reader(module, known)
            read |= reader.read
            asked |= reader.asked
            places |= place_keys(module)
    # What stands in a place that somebody asks for is asked for too.
    while (
        more := {n for a in asked & set(places) for n in places if f"{{0.{n}}}" in places[a][0]}
        - asked
    ):
        asked |= more
    return read | {key for name, (_, key) in places.items() if key and name in asked}


def test_every_key_is_read_or_documented_as_without_effect() -> None:
    read, told = keys_read(SOURCE), {gap.key for gap in UNAVAILABLE}
    assert sorted(KEYS - read - told - set(OTHERWISE)) == []
    assert sorted(read & (told | set(OTHERWISE)) - ASKED_OF_OTHERS) == []


def test_the_reader_finds_every_kind_of_access(tmp_path: Path) -> None:
    (tmp_path / "gui").mkdir()
    (tmp_path / "gui" / "page.py").write_text("config.TRAIN.LR")
    (tmp_path / "a.py").write_text(
        "class Tree:\n"
        "    charts = _Place('{0.run}/c', 'PATHS.CHARTS')\n"
        "    profiler = _Place('{0.aug}/c', 'PATHS.PROFILER')\n"
        "    run = _Place('r', 'PATHS.RESULT_DIR.PATH')\n"
        "    aug = _Place('a', 'PATHS.DA_SAMPLES')\n"
        "def f(job, tree, keys: ByChunks):\n"
        "    '''TEST.VERBOSE'''\n"
        "    print(tree.charts, keys.FORMAT, job.config.TRAIN.EPOCHS)\n"
        "    print('TEST.VERBOSE', log.VERBOSE)\n"
        "    keys, other = job.config.DATA, 1\n"
        "    keys.VAL.RANDOM, keys.IN_MEMORY, getattr(keys, part).spacing, other.PATH\n"
        "    config.is_set('SYSTEM.SEED')\n"
    )
    assert keys_read(tmp_path) == {
        "PATHS.CHARTS", "PATHS.RESULT_DIR.PATH", "TEST.BY_CHUNKS.FORMAT", "TRAIN.EPOCHS",
        "DATA.VAL.RANDOM", "SYSTEM.SEED",
        *(f"DATA.{part}.RESOLUTION" for part in ("TRAIN", "VAL", "TEST")),
    }  # fmt: skip


def test_keys_without_effect_say_so_in_their_description() -> None:
    idle = {gap.key for gap in UNAVAILABLE if not gap.fatal}
    said = {key.name for key in key_table().values() if key.description.startswith(NO_EFFECT)}
    assert said == idle


def test_defaults_and_values_of_published_files_are_not_reported() -> None:
    both = {"TRAIN.ENABLE": True, "TEST.ENABLE": True, "DATA.TEST.LOAD_GT": True}
    usual = {name: key_table()[name].default for name in {gap.key for gap in UNAVAILABLE}}
    _, notices = config_and_notices({**usual, **both, "DATA.TEST.IN_MEMORY": True})
    assert list(notices) == []


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("SYSTEM.NUM_GPUS", 2, "2 has no effect: --gpu or"),
        ("TRAIN.VERBOSE", True, "True has no effect: the output of training"),
        ("TEST.VERBOSE", False, "False has no effect: the test"),
        ("DATA.VAL.DIST_EVAL", False, "False has no effect: the validation"),
        ("DATA.TEST.ARGMAX_TO_OUTPUT", False, "False has no effect: the most probable"),
        ("PATHS.LWR_Y_FILE", "a.npy", "'a.npy' has no effect: targets"),
        ("PATHS.RESULT_DIR.PER_IMAGE_BIN", "x", "'x' has no effect: binarized images"),
        ("MODEL.BMZ.SOURCE_MODEL_DOI", "10.5281/x", "'10.5281/x' has no effect: networks"),
    ],
)
def test_keys_without_effect_are_reported(key: str, value: object, reason: str) -> None:
    config = config_from_dict({"TRAIN.ENABLE": True, "TEST.ENABLE": True, key: value})
    (line,) = unsupported_values(config, train=True, test=True, fatal=False)
    assert line.startswith(f"{key}: {reason}")


def test_keys_without_effect_are_reported_only_if_relevant() -> None:
    blur = "DATA.PREPROCESS.GAUSSIAN_BLUR"
    keys: dict[str, object] = {
        "TEST.ENABLE": True,
        "TRAIN.VERBOSE": True,
        "TEST.BY_CHUNKS.FLUSH_EACH": 7,
        f"{blur}.CHANNEL_AXIS": 0,
    }
    assert not list(unsupported_values(config_from_dict(keys), train=False, test=True, fatal=False))
    keys |= {"TEST.BY_CHUNKS.ENABLE": True, f"{blur}.ENABLE": True}
    told = list(unsupported_values(config_from_dict(keys), train=False, test=True, fatal=False))
    assert [line.partition(":")[0] for line in told] == [
        "TEST.BY_CHUNKS.FLUSH_EACH",
        f"{blur}.CHANNEL_AXIS",
    ]

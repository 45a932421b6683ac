"""Check the rules of the source on the source itself."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import singula

SOURCE = Path(singula.__file__).parent
# A package imports only packages before it in this list.
PACKAGES = (  # noqa: SIM905
    "errors util io models representations config data training prediction labels measure metrics "
    "blocks runs zoo report exports dataset autoconfig synthetic pipeline inference tuning "
    "commands notebook gui napari_plugin cli __main__"
).split()
FILES = sorted(SOURCE.rglob("*.py"))


def package_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imported(tree: ast.AST) -> list[str]:
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append("relative")
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_package_imports_only_packages_before_it(path: Path) -> None:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    own = parts[0]
    if own in ("__init__", "__main__"):
        return
    assert own in PACKAGES, f"{own} is not a package of the list"
    for name in imported(ast.parse(path.read_text())):
        assert name != "relative", "imports are absolute"
        if not name.startswith("singula."):
            continue
        other = package_of(name)
        if other not in PACKAGES:
            continue  # a name of the package itself, such as __version__
        assert PACKAGES.index(other) <= PACKAGES.index(own), f"{own} imports {other}"
        # Config and images know nothing of each other.
        assert {own, other} != {"config", "io"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    lines = text.splitlines()
    assert len(lines) <= 420
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            body = node.body
            documented = isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
            first = (body[0].end_lineno or 0) if documented else node.lineno
            code = [line for line in lines[first : node.end_lineno] if line.lstrip()[:1] != "#"]
            assert len(code) <= 75, f"{node.name} is too long"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_no_assert_and_no_globals_statement(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        assert not isinstance(node, ast.Assert | ast.Global)


def module_name(path: Path) -> str:
    parts = ("singula", *path.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def module_graph() -> dict[str, set[str]]:
    """Return the modules that each module imports, also in functions or for types only."""
    paths = {module_name(path): path for path in FILES}
    del paths["singula"]  # imports each public name at its first use
    graph = {}
    for module, path in paths.items():
        names = imported(ast.parse(path.read_text()))
        targets = {name if name in paths else name.rpartition(".")[0] for name in names}
        graph[module] = (targets & paths.keys()) - {module}
    return graph


def test_no_modules_import_each_other() -> None:
    try:
        TopologicalSorter(module_graph()).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def modules_after(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*sorted(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(result.stdout.splitlines()[-1].split())


def test_importing_singula_imports_nothing_heavy() -> None:
    heavy = {"torch", "numpy", "pandas", "scipy", "skimage", "matplotlib", "pydantic", "numba"}
    heavy |= {"napari", "npe2", "qtpy"}
    assert not heavy & modules_after("import singula")
    assert not heavy & modules_after("import singula.cli")


def test_the_configuration_needs_neither_torch_nor_numpy() -> None:
    assert not {"torch", "numpy", "scipy", "skimage", "pandas"} & modules_after(
        "import singula.config"
    )


def test_a_prediction_imports_neither_the_compiler_of_torch_nor_libraries_of_training() -> None:
    code = """
from singula.inference import predict_files
from singula.models import ModelSettings, build_model, receptive_radius
from singula.prediction import Predictor
receptive_radius(ModelSettings(2, 1, 2))
build_model(ModelSettings(2, 1, 2))
"""
    training = {"lightning", "torchmetrics", "tensorboard", "torch.utils.tensorboard"}
    assert not (training | {"torch._dynamo", "pandas", "skimage"}) & modules_after(code)


def test_public_names_exist() -> None:
    for name in singula.__all__:
        assert getattr(singula, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = singula.nothing  # type: ignore[attr-defined]

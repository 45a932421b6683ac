"""Commands of the interface in a folder of the user that contains Python files."""

from pathlib import Path

from singula.gui.processes import Processes


def test_python_files_of_the_user_are_not_imported(tmp_path: Path) -> None:
    for name in ("random", "numpy", "singula"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('the file of the user')\n")
    processes, output = Processes(tmp_path), tmp_path / "out" / "output.log"
    processes.start(["models"], output)
    (child,) = processes._children
    try:
        child.wait(120)
    finally:
        child.kill()
    assert "the file of the user" not in output.read_text()
    assert "nuclei" in output.read_text()

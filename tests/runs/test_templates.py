"""The templates load, and train on small data."""

from pathlib import Path

import pytest
import yaml

from singula.config import load_config

TEMPLATES = Path(__file__).parents[2] / "templates"


@pytest.mark.parametrize("path", sorted(TEMPLATES.glob("*.yaml")), ids=lambda p: p.stem)
def test_a_template_loads_without_a_notice(path: Path, messages: list[str]) -> None:
    config = load_config(path)
    assert messages == []
    assert not config.TEST.AUGMENTATION, "8 views gain little and take 8 times as long"


GENERIC = sorted(path for path in TEMPLATES.glob("*_instance_segmentation.yaml"))


def test_each_kind_of_data_has_a_template() -> None:
    kinds = {path.stem.removesuffix("_instance_segmentation") for path in GENERIC}
    assert {"2d", "3d", "3d_anisotropic", "2d_classes", "2d_points"} <= kinds


@pytest.mark.slow
@pytest.mark.parametrize("path", GENERIC, ids=lambda p: p.stem)
def test_a_template_trains(path, command, data_2d, data_3d, data_classes, tmp_path) -> None:
    ndim = 3 if path.name.startswith("3d") else 2
    data = data_3d if ndim == 3 else data_classes if "classes" in path.name else data_2d
    tree = yaml.safe_load(path.read_text())
    for part in ("TRAIN", "TEST"):
        tree["DATA"][part]["PATH"] = str(data / part.lower() / "x")
        tree["DATA"][part]["GT_PATH"] = str(data / part.lower() / "y")
        tree["DATA"][part]["INSTANCE_CHANNELS_DIR"] = str(tmp_path / part / "x")
        tree["DATA"][part]["INSTANCE_CHANNELS_MASK_DIR"] = str(tmp_path / part / "y")
    config = tmp_path / path.name
    config.write_text(yaml.safe_dump(tree))
    small = {
        2: ("DATA.PATCH_SIZE=(64, 64, 1)", "DATA.TEST.PADDING=(8, 8)"),
        3: ("DATA.PATCH_SIZE=(8, 32, 32, 1)", "DATA.TEST.PADDING=(0, 8, 8)"),
    }[ndim]
    changes = [
        *small,
        "TRAIN.EPOCHS=1",
        "TRAIN.LR_SCHEDULER.NAME=onecycle",
        "MODEL.FEATURE_MAPS=[4, 8, 16]",
        "MODEL.Z_DOWN=[1, 2]",
        "DATA.VAL.SPLIT_TRAIN=0.34",
    ]
    if data is data_classes:
        changes.append("MODEL.N_CLASSES=4")
    arguments = [word for change in changes for word in ("--set", change)]
    code = command("run", "--config", config, "--result_dir", tmp_path / "out", *arguments)
    assert code == 0, command.err
    assert "F1 mean" in command.out

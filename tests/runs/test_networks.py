"""Whole runs with networks that differ most from the U-Net."""

import numpy as np
import pytest
import tifffile

import singula

SMALL = {
    "MODEL.VIT_TOKEN_SIZE": 8,
    "MODEL.VIT_EMBED_DIM": 16,
    "MODEL.VIT_NUM_LAYERS": 3,
    "MODEL.VIT_NUM_HEADS": 2,
    "MODEL.UNETR_VIT_HIDD_MULT": 1,
    "MODEL.UNETR_VIT_NUM_FILTERS": 4,
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "ndim"), [("unetr", 2), ("resunet++", 3)])
def test_a_run_and_its_model(
    name: str, ndim: int, command, write_config, data_2d, data_3d, tmp_path
) -> None:
    data = data_2d if ndim == 2 else data_3d
    keys = {**(SMALL if name == "unetr" else {}), "MODEL.ARCHITECTURE": name, "TRAIN.EPOCHS": 1}
    config = write_config(data, ndim, **keys)
    out = tmp_path / "out"
    assert command("run", "--config", config, "--result_dir", out) == 0, command.err
    assert f"training {name} (" in command.out
    folder = out / "job" / "results" / "job_1"
    image = sorted((data / "test" / "x").iterdir())[0]
    stored = tifffile.imread(folder / "per_image_instances" / image.name)
    model = singula.load(folder)
    np.testing.assert_array_equal(model.predict(tifffile.imread(image)), stored)
    if name == "unetr":
        # Tiles of another shape: the positions are interpolated, the weights are the same.
        again = ("run", "--config", config, "--result_dir", out, "--set", "TRAIN.ENABLE=False")
        assert command(*again, "--set", "DATA.PATCH_SIZE=(48, 80, 1)") == 0, command.err

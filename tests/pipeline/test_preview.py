"""Picture of the prediction during a training."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from singula.gui.preview import read_preview
from singula.pipeline.preview import Preview, make_preview
from singula.training.losses import Output
from singula.util.process import PREVIEW_VARIABLE

SIDE = 32
OUTPUTS = [
    Output("B", "bce", "sigmoid"),
    Output("D", "mse", "linear"),
    Output("C", "bce", "sigmoid"),
]


class Patches:
    """Three patches, of which the second has most labels."""

    def __init__(self, shape: tuple[int, ...] = (SIDE, SIDE)) -> None:
        self.shape = shape

    def __len__(self) -> int:
        return 3

    def draw(self, epoch: int, index: int) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        labels = np.zeros((*self.shape, 1), np.int64)
        labels[..., : (4, 16, 8)[index], 0] = 1
        labels[..., -1, 0] = -1  # not annotated
        return np.full((*self.shape, 1), float(index), np.float32), labels, {}


class Net(nn.Module):
    """Network whose output depends on dropout and batch statistics in training only."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop, self.seen = nn.BatchNorm2d(1), nn.Dropout(0.5), []

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        self.seen.append((float(batch.mean()), self.training))
        plane = self.drop(self.norm(batch)) if batch.ndim == 4 else batch
        return torch.cat([plane * 0 + 20, plane, plane * 0 - 20], 1)


def write(tmp_path: Path, clock=None, shape: tuple[int, ...] = (SIDE, SIDE)) -> tuple[Preview, Net]:
    clock = clock or (lambda: 0.0)
    preview = Preview(tmp_path / "preview.png", Patches(shape), OUTPUTS, clock)  # type: ignore[arg-type]
    return preview, Net().train()


def test_the_picture_shows_labels_and_binary_maps(tmp_path: Path) -> None:
    preview, net = write(tmp_path)
    preview(net, torch.device("cpu"), 3)
    assert net.seen == [(1.0, False)]
    assert net.training
    shown = read_preview(tmp_path)
    assert shown is not None
    assert shown.epoch == 3
    assert [title.partition(":")[0] for title in shown.titles] == [
        "Image with outlines of your labels", "B", "C",
    ]  # fmt: skip
    assert "instance" not in "".join(shown.titles)  # pages call them objects
    pixels = np.asarray(Image.open(tmp_path / "preview.png"))
    side = pixels.shape[0]
    assert pixels[side // 2, side + 6 + side // 2].min() == 255  # B is 1 everywhere
    assert pixels[side // 2, 2 * (side + 6) + side // 2].max() == 0


def test_a_volume_is_shown_as_a_slice(tmp_path: Path) -> None:
    preview, net = write(tmp_path, shape=(4, SIDE, SIDE))
    preview(net, torch.device("cpu"), 1)
    assert read_preview(tmp_path) is not None


def test_random_numbers_and_statistics_are_unchanged(tmp_path: Path) -> None:
    preview, net = write(tmp_path)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state, legacy = torch.get_rng_state(), np.random.get_state()[1].copy()
    preview(net, torch.device("cpu"), 1)
    assert torch.equal(state, torch.get_rng_state())
    assert (legacy == np.random.get_state()[1]).all()
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_pictures_take_at_most_one_percent_of_the_time(tmp_path: Path) -> None:
    now = [0.0]

    class Slow(Net):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            now[0] += 2.0
            return super().forward(batch)

    preview, _ = write(tmp_path, lambda: now[0])
    net = Slow()
    for epoch in range(1, 301):
        now[0] += 10.0
        preview(net, torch.device("cpu"), epoch)
    assert 10 <= len(net.seen) <= 17
    assert preview.spent <= 0.01 * now[0] + 2


def test_without_the_interface_there_are_no_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patches = Patches()
    monkeypatch.delenv(PREVIEW_VARIABLE, raising=False)
    assert make_preview(tmp_path / "p.png", patches, OUTPUTS) is None  # type: ignore[arg-type]
    monkeypatch.setenv(PREVIEW_VARIABLE, "1")
    assert make_preview(tmp_path / "p.png", patches, OUTPUTS) is not None  # type: ignore[arg-type]


def test_a_full_disk_does_not_end_the_training(tmp_path: Path) -> None:
    preview, net = write(tmp_path)
    preview.path = tmp_path / "file" / "preview.png"
    (tmp_path / "file").write_text("")
    preview(net, torch.device("cpu"), 1)
    assert net.training


@pytest.mark.parametrize(("text", "ends"), [("CUDA out of memory", False), ("a bug", True)])
def test_exhausted_memory_does_not_end_the_training(tmp_path: Path, text: str, ends: bool) -> None:
    class Failing(Net):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            raise RuntimeError(text)

    preview, _ = write(tmp_path)
    net = Failing().train()
    with pytest.raises(RuntimeError) if ends else nullcontext():
        preview(net, torch.device("cpu"), 1)
    assert net.training


@pytest.mark.parametrize("content", [b"", b"x" * 100, b"\x89PNG\r\n\x1a\n"])
def test_a_damaged_picture_is_not_shown(tmp_path: Path, content: bytes) -> None:
    assert read_preview(tmp_path) is None
    (tmp_path / "preview.png").write_bytes(content)
    assert read_preview(tmp_path) is None

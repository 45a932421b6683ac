"""Ctrl-C and kill: the last checkpoint stays valid, and the command can be resumed."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from singula.training.checkpoint import load_checkpoint


@pytest.mark.slow
@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill"])
def test_an_interrupted_training_can_be_resumed(
    signal_number, command, write_config, data_2d, tmp_path
) -> None:
    config = write_config(data_2d)
    line = ["run", "--config", str(config), "--result_dir", str(tmp_path / "out"), "--resume"]
    process = subprocess.Popen(
        [sys.executable, "-m", "singula.cli", *line, "--set", "TRAIN.EPOCHS=2000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that starts the tests in the background makes them ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    for text in process.stdout:
        if text.startswith("epoch 2/"):
            break
    process.send_signal(signal_number)
    rest, errors = process.communicate(timeout=60)
    if signal_number == signal.SIGINT:
        assert "the last checkpoint is complete, after epoch" in rest
        assert process.returncode == 130, errors
        assert "--resume to continue" in errors
        assert "Traceback" not in errors
    last = Path(tmp_path / "out/job/checkpoints/job_1-checkpoint-last.pth")
    done = load_checkpoint(last).epoch + 1
    assert done >= 1
    assert command(*line, "--set", f"TRAIN.EPOCHS={done + 1}") == 0, command.err
    assert f"resuming after epoch {done} of {done + 1}" in command.out
    assert load_checkpoint(last).epoch == done

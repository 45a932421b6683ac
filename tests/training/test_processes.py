"""Errors of communication between the processes of a run name the process and the step."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from singula.errors import UserError
from singula.training import processes
from singula.training.processes import report_lost_process, set_position

LOST = (
    "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:537] Read error [10.0.0.2]:48817: "
    "{}. This is typically caused by a remote worker hanging."
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RuntimeError(LOST.format("Connection reset by peer")), "process.lost"),
        (RuntimeError(LOST.format("Connection timed out")), "process.lost"),
        (RuntimeError(LOST.format("Connection closed by peer")), "process.lost"),
        (
            RuntimeError("[gloo.cc:1] Timed out waiting 5000ms"),
            "process.timeout",
        ),
        (RuntimeError("Timed out after 61 seconds waiting for clients. 1/2"), "process.timeout"),
        (ConnectionResetError("Connection reset by peer"), "process.lost"),
    ],
)
def test_an_error_of_communication_names_rank_and_step(
    error: Exception, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("RANK", "1")
    set_position("epoch 3, step 41")
    with pytest.raises(UserError) as raised, report_lost_process():
        raise error
    assert raised.value.code == code
    assert raised.value.message.startswith("rank 1 of 3, epoch 3, step 41: ")
    assert ".cc" not in raised.value.message
    monkeypatch.setenv("WORLD_SIZE", "1")
    with pytest.raises(type(error)) as same, report_lost_process():
        raise error
    assert same.value is error


@pytest.mark.parametrize(
    "error", [RuntimeError("shape mismatch"), UserError("no connection", None, "test.other")]
)
def test_other_errors_are_not_changed(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(type(error)) as raised, report_lost_process():
        raise error
    assert raised.value is error


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="options of Linux")
def test_the_system_tests_open_connections(tmp_path: Path) -> None:
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()
        client.connect(server.getsockname())
        processes._test_connections()
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        limit = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        assert 10_000 < limit < 300_000


def test_a_process_without_a_first_process_does_not_wait_for_days() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = """
from singula.errors import UserError
from singula.training.device import Device
from singula.training.processes import join_processes
try:
    join_processes(Device("cpu"))
except UserError as error:
    print(error.code, error.message, sep="|")
"""
    variables = {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "127.0.0.1",
                 "MASTER_PORT": str(port), "SINGULA_TIMEOUT": "2"}  # fmt: skip
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **variables}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    kind, _, message = result.stdout.strip().partition("|")
    assert kind in ("process.timeout", "process.lost"), result.stderr[-2000:]
    assert message.startswith("rank 1 of 2, start: ")

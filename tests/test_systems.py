"""Calls that not all systems have, and their alternatives on macOS and Windows."""

import ast
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

import singula
from singula.util import memory
from singula.util.process import available_cores, process_exists

SOURCE = Path(singula.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
MODULES = {
    "fcntl",
    "grp",
    "posix",
    "pty",
    "pwd",
    "readline",
    "resource",
    "syslog",
    "termios",
    "tty",
}
OS = """O_CLOEXEC O_DIRECTORY O_NOCTTY O_NOFOLLOW O_NONBLOCK O_SYNC SEEK_DATA SEEK_HOLE WNOHANG
chflags chown chroot ctermid fchdir fchown fdatasync fork forkpty fpathconf fstatvfs getegid geteuid
getgid getgroups getloadavg getpgid getpgrp getpriority getresuid getsid getuid getxattr initgroups
killpg lchown lockf major makedev mkfifo mknod nice openpty pathconf pidfd_open pipe2 posix_fadvise
posix_fallocate posix_spawn pread preadv pwrite pwritev register_at_fork sched_getaffinity
sched_setaffinity sched_yield sendfile setegid seteuid setgid setpgid setpriority setsid setuid sync
sysconf sysconf_names tcgetpgrp ttyname uname wait wait3 wait4 waitid"""
SIGNAL = """SIGALRM SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGTSTP SIGUSR1 SIGUSR2
SIG_BLOCK SIG_SETMASK SIG_UNBLOCK alarm getitimer pause pthread_kill pthread_sigmask setitimer
siginterrupt sigpending sigtimedwait sigwait"""
NAMES = {"os": set(OS.split()), "signal": set(SIGNAL.split())}
ARGUMENTS = {"pass_fds", "preexec_fn", "process_group"}  # of Popen
TEXTS = ("/dev/", "/proc/", "/sys/", "libc.so")
# Uses without a comparison of the system, and the reason why they are right everywhere
ALLOWED = {
    ("commands/launch.py", "preexec_fn"): "None on Windows",
    ("pipeline/provenance.py", "/proc/cpuinfo"): "the error is suppressed",
    ("pipeline/peak_memory.py", "/proc/self/clear_refs"): "the error is suppressed",
    ("util/memory.py", "/proc/meminfo"): "psutil if the file is missing",
    ("util/memory.py", "/proc/self/status"): "psutil if the file is missing",
    ("util/memory.py", "/sys/fs/cgroup/memory.max"): "the error is handled",
    ("util/memory.py", "/sys/fs/cgroup/memory.current"): "the error is handled",
    ("util/memory.py", "/sys/fs/cgroup/memory/memory.limit_in_bytes"): "the error is handled",
    ("util/memory.py", "/sys/fs/cgroup/memory/memory.usage_in_bytes"): "the error is handled",
}


def compares_system(test: ast.expr) -> bool:
    text = ast.unparse(test)
    return "sys.platform" in text or "hasattr(os" in text


def posix_only(node: ast.AST) -> Iterator[str]:
    """Yield the names in a node that Windows lacks."""
    if isinstance(node, ast.Import):
        yield from MODULES & {alias.name.partition(".")[0] for alias in node.names}
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield from MODULES & {node.module}
        yield from {alias.name for alias in node.names} & NAMES.get(node.module, set())
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        yield from {node.attr} & NAMES.get(node.value.id, set())
    elif isinstance(node, ast.keyword) and node.arg in ARGUMENTS:
        yield node.arg
    elif isinstance(node, ast.Constant) and str(node.value).startswith(TEXTS):
        yield str(node.value)


def unguarded(node: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield names that Windows lacks, with their lines, where no `if` compares the system.

    After an `if` that ends with `return`, the rest of the function is guarded too.
    """
    for name in posix_only(node):
        yield name, getattr(node, "lineno", 0)
    for field in ast.iter_child_nodes(node):
        if isinstance(field, ast.If | ast.IfExp) and compares_system(field.test):
            last = field.body[-1] if isinstance(field.body, list) else None
            if isinstance(last, ast.Return):
                return
            continue
        yield from unguarded(field)


def test_calls_that_windows_lacks_have_an_alternative() -> None:
    uses = []
    for path in FILES:
        name = path.relative_to(SOURCE).as_posix()
        for use, line in unguarded(ast.parse(path.read_text(encoding="utf-8"))):
            if (name, use) not in ALLOWED:
                uses.append(f"{name}:{line} {use}")
    assert uses == []


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("import fcntl", ["fcntl"]),
        ("def f():\n    from signal import SIGKILL", ["SIGKILL"]),
        ("os.killpg(1, signal.SIGINT)", ["killpg"]),
        ("Popen([], preexec_fn=f)", ["preexec_fn"]),
        ("open('/dev/null')", ["/dev/null"]),
        ("if sys.platform != 'win32':\n    os.killpg(1, 2)", []),
        ("n = os.getuid() if sys.platform != 'win32' else 0", []),
        ("def f():\n    if sys.platform == 'win32':\n        return\n    os.fork()", []),
        ("def f():\n    if sys.platform == 'win32':\n        g()\n    os.fork()", ["fork"]),
        ("getattr(os, 'O_NOFOLLOW', 0)", []),
    ],
)
def test_the_search_detects_and_ignores(code: str, names: list[str]) -> None:
    assert [name for name, _ in unguarded(ast.parse(code))] == names


def test_text_files_have_an_encoding() -> None:
    pytest.importorskip("ruff", reason="`pip install ruff` is missing")
    command = [sys.executable, "-m", "ruff", "check", "--preview", "--select", "PLW1514"]
    result = subprocess.run([*command, "--no-cache", SOURCE], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_memory_of_systems_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    linux = memory.resident_memory(), memory.peak_memory(), memory.free_memory()
    monkeypatch.setattr(memory, "_linux_memory", lambda file, name: 0)
    others = memory.resident_memory(), memory.peak_memory(), memory.free_memory()
    assert others == pytest.approx(linux, rel=0.2)


def test_memory_and_cores_of_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    process = SimpleNamespace(
        memory_info=lambda: SimpleNamespace(peak_wset=5 << 20), cpu_affinity=lambda: [0, 3]
    )
    monkeypatch.setattr(memory, "_linux_memory", lambda file, name: 0)
    monkeypatch.setattr(psutil, "Process", lambda: process)
    monkeypatch.setattr(sys, "platform", "win32")
    assert memory.peak_memory() == 5 << 20
    assert available_cores() == 2


def test_a_process_exists_until_it_has_ended() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert process_exists(os.getpid())
    assert process_exists(child.pid)
    child.communicate(b"\n")
    assert not process_exists(child.pid)
    assert not process_exists(10**30)


@pytest.mark.parametrize("kill", [False, True])
def test_the_interface_stops_a_run_on_windows(monkeypatch: pytest.MonkeyPatch, kill: bool) -> None:
    pytest.importorskip("nicegui", reason="`pip install 'singula[gui]'` is missing")
    from singula.gui.processes import interrupt

    calls: list[object] = []
    child = SimpleNamespace(kill=lambda: calls.append("child"))
    process = SimpleNamespace(
        send_signal=calls.append,
        kill=lambda: calls.append("run"),
        children=lambda recursive: [child],
    )
    monkeypatch.setattr(signal, "CTRL_BREAK_EVENT", 1, raising=False)
    monkeypatch.setattr(sys, "platform", "win32")
    interrupt(process, kill=kill)  # type: ignore[arg-type]
    assert calls == (["child", "run"] if kill else [1])

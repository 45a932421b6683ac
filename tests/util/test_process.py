import gc
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from singula.errors import UserError
from singula.pipeline.run import Job, run
from singula.util import process
from singula.util.process import free_threads, importing


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_collection_is_enabled_after_imports(enabled):
    was = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        with suppress(ImportError), importing():
            assert not gc.isenabled()
            raise ImportError
        assert gc.isenabled() == enabled
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
        (gc.enable if was else gc.disable)()


def test_a_run_does_not_keep_objects_of_its_caller_alive():
    gc.freeze()
    with pytest.raises(UserError):
        run(Job(Path("missing.yaml")))
    assert gc.get_freeze_count() == 0


def test_only_the_main_thread_may_use_several_threads(monkeypatch):
    monkeypatch.setattr(process, "available_cores", lambda: 4)
    threads = {}
    for limit in ("", "1", "3", "99"):
        monkeypatch.setenv("OMP_NUM_THREADS", limit)
        with ThreadPoolExecutor(1) as pool:
            threads[limit] = free_threads(), pool.submit(free_threads).result()
    assert threads == {"": (4, 1), "1": (1, 1), "3": (3, 1), "99": (4, 1)}

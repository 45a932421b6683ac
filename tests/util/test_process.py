import gc
from contextlib import suppress
from pathlib import Path

import pytest

from singula.errors import UserError
from singula.pipeline.run import Job, run
from singula.util.process import importing


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

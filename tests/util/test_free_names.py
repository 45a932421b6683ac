"""Names of new files."""

from pathlib import Path

from singula.util.free_names import free_name


def test_a_free_name_has_the_first_number_with_which_nothing_exists(tmp_path: Path) -> None:
    assert free_name(tmp_path, "cells") == "cells"
    assert free_name(tmp_path / "missing", "cells") == "cells"
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells_2").symlink_to("nowhere")
    (tmp_path / "cells_3.yaml").write_text("")
    assert free_name(tmp_path, "cells") == "cells_3"
    assert free_name(tmp_path, "cells", ("", ".yaml")) == "cells_4"
    assert free_name(tmp_path, "cells", (".yaml",)) == "cells"

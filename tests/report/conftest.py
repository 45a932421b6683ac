"""Let these tests import `example_run` from the same folder."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

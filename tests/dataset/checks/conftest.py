"""Let these tests import `example_data` from the same folder."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

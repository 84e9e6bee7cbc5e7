"""Pages that tests of more than one folder read: the golden model and the hostile files lie in tests/core."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "core"))

"""What the tests of the checks share: the module with their name servers can be imported."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

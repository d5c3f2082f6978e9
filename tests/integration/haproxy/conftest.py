"""What the tests of the role share: clients that the gateways haven't seen before."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import Lab
from strangers import Strangers, among_strangers

sys.path.insert(0, str(Path(__file__).resolve().parent))


@pytest.fixture(scope="session")
def strangers(lab: Lab) -> Iterator[Strangers]:
    with among_strangers(lab) as found:
        yield found

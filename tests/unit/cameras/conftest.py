from collections.abc import Iterator

import pytest

from sim.world import World


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World() as world:
        yield world

from collections.abc import Iterator

import pytest

from sim.tabletop.world import World


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World() as world:
        yield world

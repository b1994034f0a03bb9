"""How episodes of others' worlds are made: what cannot be asked for is said before anything is played."""

from typing import Any

import pytest

from robo_dream.errors import ConfigError
from sim.scripts import ScriptConfig


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"interruptions": -0.5}, r"interruptions is -0\.5; in 150 steps there is room for 0 to 6"),
        ({"interruptions": 7, "num_steps": 150}, r"interruptions is 7; in 150 steps there is room for 0 to 6"),
        ({"picture_every": 0}, "picture_every is 0 control steps; allowed is 1 or more"),
        ({"num_steps": 1}, "num_steps is 1; allowed is 2 or more"),
        ({"max_noise": 1.5}, r"max_noise 1\.5; both are fractions"),
        ({"mix": {"random": -1.0}}, "give non-negative weights"),
    ],
)
def test_what_cannot_be_played_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ScriptConfig(**wrong)

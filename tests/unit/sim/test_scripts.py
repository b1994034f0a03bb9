"""How episodes of others' worlds are made: what cannot be asked for is said before anything is played."""

import math
from typing import Any

import pytest

from robo_dream.errors import ConfigError
from sim.scripts import ScriptConfig


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"interruptions": -0.5}, r"interruptions is -0\.5; allowed is a number of at least 0"),
        ({"interruptions": 7, "num_steps": 150}, r"interruptions is 7\.0; in 150 steps there is room for 0 to 6"),
        ({"picture_every": 0}, "picture_every is 0 control steps; allowed is a whole number of 1 to"),
        ({"num_steps": 1}, "num_steps is 1 control steps; allowed is a whole number of 2 to"),
        ({"max_noise": 1.5}, r"max_noise is 1\.5; allowed is a number of 0 to 1"),
        ({"mix": {"random": -1.0}}, r"mix\['random'\] is -1\.0; allowed is a number of 0 to"),
        ({"mix": {"random": math.nan}}, r"mix\['random'\] is nan; allowed is a finite number"),
        ({"mix": {"random": 0.0}}, "give non-negative weights"),
        ({"max_noise": math.nan}, "max_noise is nan"),
    ],
)
def test_what_cannot_be_played_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ScriptConfig(**wrong)

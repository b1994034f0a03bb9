"""Settings that an audit found accepted: each is refused where it is written, with what is allowed."""

import math
from collections.abc import Callable

import pytest

from hardware.cameras.newest import WatchConfig
from robo_dream.control.episode import LoopConfig
from robo_dream.errors import ConfigError
from robo_dream.models.config import ModelConfig
from robo_dream.planning.policy_guided import PolicyGuidedConfig
from robo_dream.training.config import DreamConfig, TrainingConfig
from robo_dream.viewer.video import VideoConfig
from sim.tabletop.behaviours.play import PlayConfig
from sim.tabletop.scene import BoxConfig, CameraConfig, SceneConfig
from sim.tabletop.start import StartRanges


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: PlayConfig(num_steps=0), "num_steps is 0 control steps; allowed is a whole number of 1 to 100,000 control steps"),
        (lambda: PlayConfig(num_steps=-3), "PlayConfig.num_steps is -3 control steps"),
        (lambda: PlayConfig(max_noise=math.nan), "PlayConfig.max_noise is nan; allowed is a finite number of 0 to 1"),
        (lambda: StartRanges(object_low=(math.nan, 0.0)), "StartRanges.object_low[0] is nan m; allowed is a finite number of -10 to 10 m"),
        (lambda: StartRanges(tool_z=(0.3, 0.1)), "give the lower end first"),
        (lambda: ModelConfig(latent_dim=-5), "ModelConfig.latent_dim is -5; allowed is a whole number of 0 to 8,192"),
        (lambda: ModelConfig(image_size=100), "image_size is 100 px; allowed is a whole number of 32 to 1,024 and a multiple of 16 px"),
        (lambda: TrainingConfig(device="mps"), "TrainingConfig.device is 'mps'; allowed is cpu, cuda or cuda:N"),
        (lambda: DreamConfig(random_goals=0.6, same_goals=0.6), "together they are at most 1"),
        (lambda: VideoConfig(fps=math.inf), "VideoConfig.fps is inf Hz; allowed is a finite number above 0 and at most 240 Hz"),
        (lambda: VideoConfig(picture_size=20_000), "VideoConfig.picture_size is 20000 px; allowed is a whole number of 32 to 2,048 px"),
        (lambda: BoxConfig(mass=-1.0), "BoxConfig.mass is -1.0 kg; allowed is a number of 0.0001 to 1,000 kg"),
        (lambda: BoxConfig(half_size=(30.0, 0.03, 0.03)), "[0] is 30.0 m; allowed is a number of 0.001 to 10 m; did you mean 0.03?"),
        (lambda: CameraConfig("../x", (1.0, 0.0, 0.0), (0.0, 0.0, 0.0)), "CameraConfig.name is '../x'; allowed is a name of letters"),
        (lambda: SceneConfig(objects=()), "SceneConfig.objects is (); allowed is a list of boxes; a scene needs at least one object"),
        (lambda: PolicyGuidedConfig(num_iterations=1_000_000), "num_iterations is 1000000; allowed is a whole number of 1 to 1,000"),
        (lambda: PolicyGuidedConfig(unsure_above=math.nan), "unsure_above is nan; allowed is a finite number of at least 0 or .inf"),
        (lambda: LoopConfig(actuation_seconds=50.0), "is 50.0 s; allowed is a number of at least 0 and below 2 s; did you mean 0.05?"),
        (lambda: WatchConfig(reconnects=-1), "WatchConfig.reconnects is -1; allowed is a whole number of 0 to 1,000"),
    ],
)  # fmt: skip
def test_it_is_refused_in_one_sentence(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_infinity_is_allowed_where_it_means_never() -> None:
    assert PolicyGuidedConfig(unsure_above=math.inf).unsure_above == math.inf

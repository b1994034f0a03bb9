"""The worlds that others wrote, by the `kind` of their configuration."""

from sim.environments.dm_control import DmControlConfig, Reacher
from sim.environments.environment import Environment
from sim.environments.metaworld import Metaworld, MetaworldConfig
from sim.environments.ogbench import Ogbench, OgbenchConfig
from sim.environments.pusht import PushT, PushTConfig

EnvironmentConfig = OgbenchConfig | DmControlConfig | MetaworldConfig | PushTConfig


def build_environment(config: EnvironmentConfig) -> Environment:
    """Close it when done. Raises `MissingExtraError` where its package is not installed."""
    match config:
        case OgbenchConfig():
            return Ogbench(config)
        case DmControlConfig():
            return Reacher(config)
        case MetaworldConfig():
            return Metaworld(config)
        case PushTConfig():
            return PushT(config)

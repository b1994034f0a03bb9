"""The worlds that others wrote, by the `kind` of their configuration."""

from sim.adapters.dm_control import DmControlConfig, Reacher
from sim.adapters.metaworld import Metaworld, MetaworldConfig
from sim.adapters.ogbench import Ogbench, OgbenchConfig
from sim.adapters.pusht import PushT, PushTConfig
from sim.environment import Environment

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

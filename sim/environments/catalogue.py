"""The worlds that others wrote, by the `kind` of their configuration."""

from sim.environments.environment import Environment
from sim.environments.ogbench import Ogbench, OgbenchConfig

EnvironmentConfig = OgbenchConfig


def build_environment(config: EnvironmentConfig) -> Environment:
    """Close it when done. Raises `MissingExtraError` where its package is not installed."""
    match config:
        case OgbenchConfig():
            return Ogbench(config)

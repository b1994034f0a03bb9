"""Checks of configuration numbers, with errors that name the field and what it may be."""

import math

from robo_dream.errors import ConfigError


def require_between(config: object, minimum: float, maximum: float, *names: str) -> None:
    """Raises `ConfigError` unless each field of `config` in `names` is a number from `minimum` to `maximum`."""
    for name in names:
        value = getattr(config, name)
        if math.isnan(value) or not minimum <= value <= maximum:
            allowed = f"at least {minimum}" if math.isinf(maximum) else f"{minimum} to {maximum}"
            raise ConfigError(f"{type(config).__name__}.{name} is {value}; allowed is {allowed}. Set `{name}` within that range.")

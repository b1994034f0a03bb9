"""robo_dream: a robotic manipulation planner that works by imagination."""

__version__ = "0.2.0"

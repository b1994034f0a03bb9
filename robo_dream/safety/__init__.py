"""When not to move: limits, the guard in front of every motion, collision checks, and the keys that stop an arm."""

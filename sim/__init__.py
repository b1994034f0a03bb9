"""MuJoCo worlds that implement the protocols of `robo_dream.embodiment`."""

"""Physical arms and cameras behind the protocols of `robo_dream.embodiment`.

Importing this package loads no torch, jax or mujoco, so it runs on the small computer beside the robot.
"""

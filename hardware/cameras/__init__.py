"""Cameras on a bench: RealSense, anything OpenCV can open, and recordings, each behind `robo_dream.embodiment.Camera`."""

"""Propose and score: planners, costs and proposers over the protocols of `robo_dream.imagination`."""

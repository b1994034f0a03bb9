"""A planner for robots elsewhere: the server, what travels, and the robot's side of it."""

"""Acting: kinematics, tool moves, safety and the receding-horizon loop, the same code in simulation and on the bench."""

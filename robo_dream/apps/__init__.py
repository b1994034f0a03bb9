"""The composition root: the command line `robo-dream`, one short file per verb."""

"""The command line `robo-dream`, one short file a verb: arguments in, runtime called, text out."""

"""Where the cameras stand, whether the joints count right, and how late pictures and motions are; kept in a file that a run checks."""

"""Where cameras stand, whether joints count right, how late pictures and motions are, and the file that says so."""

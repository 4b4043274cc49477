"""The command line. torch is imported by the commands that need it, so that --help answers at once."""

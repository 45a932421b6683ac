"""The work of the commands of the command line."""

"""Implementation of commands of the command line."""

"""``python -m singula``, for where the command is not on the path."""

from singula.cli import main

main()

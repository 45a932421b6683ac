"""Entry point of ``python -m singula.cli``."""

from singula.cli import main

main()

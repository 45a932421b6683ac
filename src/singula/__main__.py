"""Entry points of ``singula``, ``biapy`` and ``python -m singula``.

Signals are handled before the command line is imported, and until the interpreter has ended.
"""

# A built-in module: the import of `signal` takes milliseconds.
import _signal  # type: ignore[import-not-found]

if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)  # no traceback of the next import

from singula.util.signals import INTERRUPTION


def main() -> None:
    """Run ``singula``."""
    INTERRUPTION.install()
    from singula.cli import main as run_program

    run_program()


def run_main() -> None:
    """Run ``biapy``."""
    INTERRUPTION.install()
    from singula.cli import run_main as run_program

    run_program()


if __name__ == "__main__":
    main()

"""`python -m fieldlog.cli`, and what the script `fieldlog` calls: the program.

Rule: nothing is imported before Ctrl-C is seen to: until the program can say something it ends without a word.
"""

import signal
import sys


def start() -> None:
    """The program, from its first moment."""
    is_heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # and not ignored, as behind a shell's &
    if is_heeded:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from fieldlog.cli.main import main

    try:
        if is_heeded:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        main()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    start()

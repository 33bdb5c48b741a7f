"""`fieldlog-sim`: simulated devices in the foreground, until SIGINT, SIGTERM or, if asked, the end of standard input."""

from __future__ import annotations

import sys

from fieldlog_protocol.errors import FieldlogError, UsageError
from fieldlog_sim.options import parse_options


def main(arguments: list[str] | None = None) -> int:
    """Run the simulator; the exit code is 0, or after one sentence on stderr 2 for what makes no sense, 1 for what stands
    in its way, and 130 when it was stopped before it was ready."""
    options = parse_options(arguments)
    from fieldlog_sim.program import run

    try:
        run(options)
    except UsageError as error:
        return _fail(error, 2)
    except (FieldlogError, OSError) as error:
        return _fail(error, 1)
    except KeyboardInterrupt:  # while it still read its files or made its past
        print("interrupted", file=sys.stderr)
        return 130
    return 0


def _fail(error: Exception, code: int) -> int:
    print(f"error: {error}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())

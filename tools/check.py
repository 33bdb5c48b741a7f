"""The one check command, for people and CI alike: format, lint, import rules, types. Runs all, reports all."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_BIN = Path(sys.executable).parent

CHECKS: tuple[tuple[str, ...], ...] = (
    ("ruff", "format", "--check", "."),
    ("ruff", "check", "."),
    ("lint-imports", "--no-cache"),
    ("mypy",),
    ("pyright",),
)


def main() -> int:
    """Exit code 0 when every check passes."""
    failed = [check for check in CHECKS if not _passes(check)]
    for check in failed:
        print(f"failed: {' '.join(check)}")
    print(f"{len(CHECKS) - len(failed)} of {len(CHECKS)} checks passed")
    return 1 if failed else 0


def _passes(check: tuple[str, ...]) -> bool:
    started = time.monotonic()
    result = subprocess.run([_BIN / check[0], *check[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    print(
        f"{'ok  ' if result.returncode == 0 else 'FAIL'} {' '.join(check)} ({time.monotonic() - started:.1f} s)",
        flush=True,
    )
    if result.returncode:
        print(result.stdout + result.stderr)
    return result.returncode == 0


if __name__ == "__main__":
    sys.exit(main())

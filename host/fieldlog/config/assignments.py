"""`KEY=VALUE` words of a command line.

Rule: no I/O; all that is wrong is told at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from fieldlog.config.model import Problem, Problems
from fieldlog.config.raw import parse_raw
from fieldlog_protocol.errors import UsageError


def assigned(assignments: Sequence[str]) -> dict[str, str]:
    """The words for each key, blanks included; raises Problems for what is no assignment, and for keys given twice."""
    found: dict[str, str] = {}
    problems: list[Problem] = []
    for assignment in assignments:
        key, separator, words = assignment.partition("=")
        key = key.strip()
        if not separator or not key:
            problems.append(Problem(None, f"{assignment!r} is no assignment: write KEY=VALUE"))
        elif key in found:
            problems.append(Problem(None, f"{key} is given two values: leave one out"))
        found[key] = words
    if problems:
        raise Problems(tuple(problems))
    return found


def plan_raw(assignments: Sequence[str]) -> dict[str, bytes]:
    """The bytes for each key of a device that describes no types: the values say their type themselves."""
    planned: dict[str, bytes] = {}
    problems: list[Problem] = []
    for key, words in assigned(assignments).items():
        try:
            planned[key] = parse_raw(words.strip())
        except UsageError as error:
            problems.append(Problem(None, f"{key}: {error}"))
    if problems:
        raise Problems(tuple(problems))
    return planned

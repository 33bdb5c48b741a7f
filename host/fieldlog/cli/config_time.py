"""`--timeout` and `--wait` of commands that change settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import click

from fieldlog.config.apply import TIMEOUT_S
from fieldlog_protocol.durations import parse_duration_us
from fieldlog_protocol.errors import UsageError

P = ParamSpec("P")
T = TypeVar("T")

_LONGEST_S = 65_535


def timeout_option(function: Callable[P, T]) -> Callable[P, T]:
    """`--timeout TIME`, handed on as `timeout: str`."""
    return click.option(
        "--timeout",
        default=f"{TIMEOUT_S}s",
        show_default=True,
        metavar="TIME",
        help="After this a device returns to its former values by itself, unless it was seen to hold the new ones.",
    )(function)


def seconds(option: str, text: str, least: int) -> int:
    """Whole seconds of a time that an option gives; raises UsageError for fewer than `least` and for days of them."""
    whole, rest = divmod(parse_duration_us(text), 1_000_000)
    if rest or not least <= whole <= _LONGEST_S:
        raise UsageError(f"{option} takes whole seconds, from {least} s to {_LONGEST_S} s, not {text}")
    return whole

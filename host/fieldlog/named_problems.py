"""What is wrong with a selection of readings, each sentence with the name of the device that it is about.

Rule: a clock knows boots and no device, so its warnings get the name where they are told to people.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fieldlog.archive.readings import Readings


def named_problems(readings: Readings) -> list[str]:
    """All of them, as far as it was iterated."""
    unnamed = set(readings.clock_warnings)
    return [*(text for text in readings.problems if text not in unnamed), *named_clock_warnings(readings)]


def named_clock_warnings(readings: Readings) -> list[str]:
    """Those about times alone."""
    return [f"{source.info.name}: {text}" for source in readings.sources for text in source.clock.warnings]

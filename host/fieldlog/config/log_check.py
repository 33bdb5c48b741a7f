"""The [log] table of a configuration, held against what one device can record.

Rule: no I/O. All that is wrong is told at once, each at its place in the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from fieldlog.arming import Survey, UnfitWish, Wish, unfit
from fieldlog.clock import DeviceTime
from fieldlog.config.channels import with_calibrations
from fieldlog.config.check import checked
from fieldlog.config.log_section import FIELDS, START_FIELDS, combined, one_start, read_log
from fieldlog.config.model import Located, Place, Problem, Problems, Resolved, Wanted
from fieldlog.config.target import Target
from fieldlog.logger_info import LoggerInfo

_NO_TIME = DeviceTime(0, 0, 0)
"""Before all times of a file: none of them is over."""


def held_against(found: Resolved, target: Target, info: LoggerInfo | None) -> tuple[Wanted, tuple[Problem, ...]]:
    """What a file wants of a device, and all that is wrong with any of its tables; `info` None: it is no logger.

    A session is held against the channels as the file calibrates them, and the time of day against nothing: that is for
    whoever begins it. `target` has been read with its streams where the file has calibrations or a session.
    """
    wanted, problems = checked(found, target)
    fields, more = read_log(found)
    if not found.log or info is None:
        return wanted, (*problems, *more, *one_start(found))
    fields.pop("metadata", None)  # judged with the other tables
    streams = with_calibrations(target.streams, wanted.calibration)
    known = Survey(info, streams, target.texts if wanted.metadata is None else wanted.metadata, _NO_TIME)
    refused = unfit_in_turn(combined(fields, {}), known)
    return wanted, (*problems, *more, *one_start(found), *(problem_of(error, found) for error in refused))


def wish_of(found: Resolved, problems: tuple[Problem, ...], known: Survey, options: Mapping[str, object]) -> Wish:
    """What a file and a command line want of a device; raises Problems with all that is wrong with the file.

    `problems` are those of its other tables. `options` are fields of a Wish; what is wrong with them raises UnfitWish.
    """
    section, more = read_log(found)
    if any(problem.place and problem.place in _places(found.metadata or {}) for problem in problems):
        section.pop("metadata", None)
    wish = combined(section, options)
    starts = () if any(options.get(name) for name in START_FIELDS) else one_start(found)
    refused = unfit_in_turn(wish, known)
    wrong = [problem_of(error, found) for error in refused if error.field not in options]
    if problems or more or starts or wrong:
        raise Problems((*problems, *more, *starts, *wrong), found.name)
    if refused:
        raise refused[0]
    return wish


def unfit_in_turn(wish: Wish, known: Survey) -> list[UnfitWish]:
    """All that the device cannot do of a wish, with each of the ways to begin that it names held against it alone."""
    nothing = {name: getattr(Wish(), name) for name in START_FIELDS}
    ways = [name for name in START_FIELDS if getattr(wish, name) != nothing[name]]
    found: dict[tuple[str, str], UnfitWish] = {}
    for way in ways or [""]:
        others: dict[str, object] = {name: value for name, value in nothing.items() if name != way}
        for error in unfit(replace(wish, **others), known):  # type: ignore[arg-type]
            found.setdefault((error.field, str(error)), error)
    return list(found.values())


def problem_of(error: UnfitWish, found: Resolved) -> Problem:
    """At the place in the file where it is asked for; none where the file does not."""
    if error.field == "metadata":
        return Problem(min(_places(found.metadata or {}), default=None), str(error))
    item = next(
        (found.log[key] for key, field in FIELDS.items() if field.name == error.field and key in found.log), None
    )
    return Problem(None if item is None else item.place_of(_number(item, error.stream)), str(error))


def _number(item: Located[object], stream: str | None) -> int | None:
    """The number of a stream in a list of NAME=PERIOD."""
    words: object = item.value if stream is not None else None
    listed = cast("list[object]", words) if isinstance(words, list) else []
    return next((at for at, word in enumerate(listed) if str(word).partition("=")[0].strip() == stream), None)


def _places(table: Mapping[str, Located[object]]) -> set[Place]:
    return {place for item in table.values() for place in (item.place, item.key_place) if place is not None}

"""What a row wants of a device: settings, calibrations and metadata to apply, and the session to arm.

Rule: no I/O. All that is wrong is told at once: with the place in the configuration, or the line of the row.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fieldlog.arming import Survey, UnfitWish, Wish, unfit
from fieldlog.config.check import checked
from fieldlog.config.log_section import FIELDS, combined, read_log
from fieldlog.config.model import Problem, Problems, Resolved, Wanted
from fieldlog.config.target import Target
from fieldlog.config.template import Identity, identity_of, resolved
from fieldlog.logger_info import LoggerInfo
from fieldlog.provision.fleet import NAME_KEY, Fleet, Row


@dataclass(frozen=True, slots=True)
class Order:
    """`wish` None: nothing is to be recorded. `said` is where all of it comes from."""

    said: Resolved
    wanted: Wanted
    wish: Wish | None


def check_rows(fleet: Fleet) -> None:
    """Raise Problems for what is wrong with the rows whatever devices they are for."""
    found: dict[Problem, None] = {}
    for row in fleet.rows:
        identity = Identity(row.serial or "?", row.uid or "?", "?", row.name, row.number)
        said, problems = resolved(row.document(), identity)
        found |= dict.fromkeys(_placed(fleet, row, [*problems, *read_log(said)[1]]))
    if found:
        raise Problems(tuple(found))


def order(fleet: Fleet, row: Row, info: LoggerInfo, target: Target) -> Order:
    """What this device shall have; raises Problems."""
    said, problems = resolved(row.document(), identity_of(info, row.number))
    wanted, more = checked(said, target)
    fields, wrong = read_log(said)
    fields.pop("metadata", None)  # it is applied with the settings
    found = [*problems, *more, *wrong]
    if row.name and NAME_KEY not in target.schema:
        found = [problem for problem in found if NAME_KEY not in problem.sentence]
        found.append(
            Problem(None, f"the device keeps no name ({NAME_KEY}): leave it out, or tell rows apart by serial")
        )
    if found:
        raise Problems(tuple(_placed(fleet, row, found)))
    return Order(said, wanted, combined(fields, {}) if said.log else None)


def require_possible(fleet: Fleet, row: Row, asked: Order, known: Survey) -> None:
    """Raise Problems for what this device cannot do of it."""
    refused = [_located(asked.said, error) for error in ([] if asked.wish is None else unfit(asked.wish, known))]
    if refused:
        raise Problems(tuple(_placed(fleet, row, refused)))


def _located(said: Resolved, error: UnfitWish) -> Problem:
    """At the place in the configuration where it is asked for; none where the row asks for it."""
    item = next((said.log[key] for key, field in FIELDS.items() if field.name == error.field and key in said.log), None)
    return Problem(None if item is None else item.place, f"[log] {error}")


def _placed(fleet: Fleet, row: Row, problems: Iterable[Problem]) -> list[Problem]:
    """Sentences that name the file: the configuration's where they have a place in it, else the row of the fleet."""
    own = f"{fleet.path}:{row.line}"
    return [
        Problem(None, problem.text(row.config.name) if problem.place is not None else f"{own}: {problem.sentence}")
        for problem in problems
    ]

"""What a row wants of a device: settings, calibrations and metadata to apply, and the session to arm.

Rule: no I/O. All that is wrong is told at once: with the place in the configuration, or the line of the row.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fieldlog.arming import Survey, UnfitWish, Wish
from fieldlog.clock import DeviceTime
from fieldlog.config.channels import coefficients, with_calibrations
from fieldlog.config.check import checked
from fieldlog.config.log_check import problem_of, unfit_in_turn
from fieldlog.config.log_section import combined, log_problems, one_start, read_log
from fieldlog.config.model import Place, Problem, Problems, Resolved, Wanted
from fieldlog.config.target import Target
from fieldlog.config.template import Identity, identity_of, resolved
from fieldlog.logger_info import LoggerInfo
from fieldlog.provision.fleet import NAME_KEY, Fleet, Row
from fieldlog_protocol.blocks.schema import Channel, ChannelType
from fieldlog_protocol.commands.logger import Capability
from fieldlog_protocol.errors import UsageError

_ANY_DEVICE = Target({}, (), "", Capability.METADATA)
_ANY_CHANNEL = Channel("any", "", ChannelType.F32)
"""Whatever they are, these take no less."""


@dataclass(frozen=True, slots=True)
class Order:
    """`wish` None: nothing is to be recorded. `said` is where all of it comes from."""

    said: Resolved
    wanted: Wanted
    wish: Wish | None


@dataclass(frozen=True, slots=True)
class _Elsewhere(Problem):
    """A problem of a configuration that the fleet file names."""

    file: str

    def text(self, name: str | None) -> str:  # noqa: ARG002 - it names its own
        return Problem.text(self, self.file)


def check_rows(fleet: Fleet) -> None:
    """Raise Problems for what is wrong with the file, and with its rows whatever devices they are for."""
    found = dict.fromkeys(fleet.problems)
    for row in fleet.rows:
        identity = Identity(row.serial or "?", row.uid or "?", "?", row.name, row.number)
        said, problems = resolved(row.document(), identity)
        found |= dict.fromkeys(_placed(fleet, row, [*problems, *_without_device(said), *log_problems(said)]))
    _raise_if_any(fleet, found)


def _without_device(said: Resolved) -> list[Problem]:
    """What is wrong with calibrations and metadata on any device. Settings have their limits from a device alone."""
    metadata = replace(said, settings={}, calibration={})
    found = list(checked(metadata, _ANY_DEVICE)[1])
    for name, item in said.calibration.items():
        try:
            coefficients(name, _ANY_CHANNEL, item.value)
        except UsageError as error:
            found.append(Problem(item.place, str(error)))
    for table, values in (("settings", said.settings), ("calibration", said.calibration)):
        if "" in values:
            found.append(Problem(values[""].key_place or values[""].place, f"{table} has a value without a name"))
    return found


def order(fleet: Fleet, row: Row, info: LoggerInfo, target: Target, clock: DeviceTime) -> Order:
    """What this device shall have; raises Problems with all that it cannot have or record, `clock` being its time."""
    said, problems = resolved(row.document(), identity_of(info, row.number))
    wanted, more = checked(said, target)
    fields, wrong = read_log(said)
    fields.pop("metadata", None)  # it is applied with the settings
    wish = combined(fields, {}) if said.log else None
    found = [*problems, *more, *wrong, *one_start(said)]
    if row.name and NAME_KEY not in target.schema:
        found = [problem for problem in found if NAME_KEY not in problem.sentence]
        found.append(
            Problem(None, f"the device keeps no name ({NAME_KEY}): leave it out, or tell rows apart by serial")
        )
    if wish is not None:
        streams = with_calibrations(target.streams, wanted.calibration)
        texts = target.texts if wanted.metadata is None else wanted.metadata
        found += [_located(said, error) for error in unfit_in_turn(wish, Survey(info, streams, texts, clock))]
    _raise_if_any(fleet, _placed(fleet, row, found))
    return Order(said, wanted, wish)


def _located(said: Resolved, error: UnfitWish) -> Problem:
    """At the place in the configuration where it is asked for; none where the row asks for it."""
    found = problem_of(error, said)
    return replace(found, sentence=f"[log] {found.sentence}")


def _placed(fleet: Fleet, row: Row, problems: Iterable[Problem]) -> list[Problem]:
    """Problems of the fleet file: at their place, where that is in it, else at the row; and of the configuration it names."""
    return [_in_fleet(fleet, row, problem) for problem in problems]


def _in_fleet(fleet: Fleet, row: Row, problem: Problem) -> Problem:
    if problem.place is None:
        return replace(problem, place=Place(row.line, 1))
    if row.config.name == str(fleet.path):
        return problem
    return _Elsewhere(problem.place, problem.sentence, row.config.name)


def _raise_if_any(fleet: Fleet, problems: Iterable[Problem]) -> None:
    if found := tuple(problems):
        raise Problems(found, str(fleet.path))

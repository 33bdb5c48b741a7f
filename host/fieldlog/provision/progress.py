"""How far a fleet has come: a file beside the fleet's, replaced whole after every step.

Rule: what it says was done was done. A device that is not in it, or not as done, is begun or gone on with.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

import msgspec

from fieldlog.provision.fleet import Row
from fieldlog.whole_file import whole_file
from fieldlog_protocol.errors import FieldlogError

_FORMAT = 1
_Hex = Annotated[str, msgspec.Meta(pattern=r"\A(?:[0-9a-f]{2})+\Z")]
_NOT_KEPT = (
    "It says how far the fleet has come: what was done to the device since stays done, and is found or done again when the "
    "command is repeated. Make room for it, or see to its permissions, before you do"
)


class FlashStep(TypedDict):
    """Which firmware runs now, and which one did before."""

    outcome: str
    version: str
    before: str | None


class ConfigureStep(TypedDict):
    """`changes` as in the JSON of a plan; `kept`: they outlast a restart; `link`: where the device is reached now."""

    changes: list[dict[str, Any]]
    kept: bool
    link: str | None


class ClockStep(TypedDict):
    """How far the clock was off before and after; None: it was not set."""

    was_off_us: int | None
    off_us: int | None
    error_us: int | None


class TestedPart(TypedDict):
    """One result of a self test."""

    name: str
    passed: bool
    measured: str | None


class TestStep(TypedDict):
    """None: the device cannot test itself."""

    results: list[TestedPart] | None


class ArmStep(TypedDict):
    """`session` None: nothing was to be recorded."""

    session: int | None
    state: NotRequired[str]
    label: NotRequired[str]


class Steps(TypedDict, total=False):
    """What came of each step that was done."""

    flash: FlashStep
    configure: ConfigureStep
    clock: ClockStep
    selftest: TestStep
    arm: ArmStep


class Record(msgspec.Struct, kw_only=True):
    """One device of the fleet, and the row that it has.

    `number` and `rows` say where that row stood, and among how many. `arm_id` names the request that arms it, so that it is armed once, however often that is sent. `digest` is that of the
    row, the image and all at the time; `done` when nothing is left to do for it, `error` why the last attempt ended.
    """

    row: str
    uid: _Hex
    digest: str
    number: int = 0
    rows: int = 0
    title: str = ""
    serial: str = ""
    product: str = ""
    hardware: str = ""
    firmware: str = ""
    link: str = ""
    begun: str = ""
    ended: str = ""
    steps: Steps = {}
    arm_id: Annotated[int, msgspec.Meta(ge=0, lt=2**32)] | None = None
    done: bool = False
    error: str | None = None


class _File(msgspec.Struct, kw_only=True):
    format: int
    devices: list[Record]


class Progress:
    """The records of a fleet: one for each row that was given, and for each device."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._records = {record.row: record for record in _read(path)}

    def of(self, row: Row) -> Record | None:
        return self._records.get(row.key)

    def of_device(self, uid: str) -> Record | None:
        """What is known of a device, and of the row that it was given, which may have left the file."""
        return next((record for record in self._records.values() if record.uid == uid), None)

    def keep(self, record: Record) -> None:
        """Store a record, which may be new: then the device has lost the row that it had.

        FieldlogError where that cannot be written; it is stored then with the next one that can.
        """
        others = {row: other for row, other in self._records.items() if other.uid != record.uid or row == record.row}
        self._records = {**others, record.row: record}
        data = msgspec.json.encode(_File(format=_FORMAT, devices=list(self._records.values())))
        with whole_file(self.path, _NOT_KEPT) as aside:
            aside.write_text(json.dumps(json.loads(data), indent=1) + "\n", encoding="utf-8")

    def all(self) -> Iterable[Record]:
        return self._records.values()


def state_path(fleet: Path) -> Path:
    """Beside the fleet file, so that it goes where that goes."""
    return fleet.with_name(f"{fleet.name}.state.json")


@contextmanager
def alone(fleet: Path) -> Generator[None]:
    """Keep a second program from preparing the same fleet: both would give away the same rows.

    FieldlogError when there is one already. Systems without such locks do without.
    """
    with fleet.open("rb") as file:
        _lock(file.fileno(), fleet)
        yield


def _lock(descriptor: int, fleet: Path) -> None:
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise FieldlogError(
            f"another program prepares {fleet} now. Nothing was done here: wait for its end, or give it all devices"
        ) from None
    except OSError:  # a file system that cannot lock
        return


def _read(path: Path) -> list[Record]:
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_File)
        _require_sound(found)
    except FileNotFoundError:
        return []
    except (OSError, msgspec.MsgspecError) as error:
        raise FieldlogError(
            f"{path}, which says how far the fleet has come, cannot be read ({error}). Nothing was changed; repair it, or move "
            "it away to begin anew: steps that were done are found to be done"
        ) from error
    return found.devices


def _require_sound(found: _File) -> None:
    if found.format != _FORMAT:
        raise msgspec.ValidationError(f"it has format {found.format}")
    for what, names in (
        ("row", [record.row for record in found.devices]),
        ("device", [record.uid for record in found.devices]),
    ):
        twice = next((name for at, name in enumerate(names) if name in names[:at]), None)
        if twice is not None:
            raise msgspec.ValidationError(f"the {what} {twice} is there twice")

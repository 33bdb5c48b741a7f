"""How far a fleet has come: a file beside the fleet's, replaced whole after every step.

Rule: what it says was done was done. A device that is not in it, or not as done, is begun or gone on with.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from fieldlog.provision.fleet import Row
from fieldlog.whole_file import whole_file
from fieldlog_protocol.errors import FieldlogError

_FORMAT = 1


class Record(msgspec.Struct, kw_only=True):
    """One device of the fleet, and the row that it has. `steps` hold what came of each that was done.

    `arm_id` names the request that arms it, so that it is armed once, however often that is sent. `digest` is that of the
    row, the image and all at the time; `done` when nothing is left to do for it, `error` why the last attempt ended.
    """

    row: str
    uid: str
    digest: str
    title: str = ""
    serial: str = ""
    product: str = ""
    hardware: str = ""
    firmware: str = ""
    link: str = ""
    begun: str = ""
    ended: str = ""
    steps: dict[str, dict[str, Any]] = {}
    warnings: list[str] = []
    arm_id: int | None = None
    done: bool = False
    error: str | None = None


class _File(msgspec.Struct, kw_only=True):
    format: int = _FORMAT
    devices: list[Record] = []


class Progress:
    """The records of a fleet, by row."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._records = {record.row: record for record in _read(path)}

    def of(self, row: Row) -> Record | None:
        return self._records.get(row.key)

    def row_of(self, uid: str) -> str | None:
        """The key of the row that a device has been given."""
        return next((record.row for record in self._records.values() if record.uid == uid), None)

    def keep(self, record: Record) -> None:
        """Store a record, which may be new."""
        self._records[record.row] = record
        data = msgspec.json.encode(_File(devices=list(self._records.values())))
        with whole_file(self.path) as aside:
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
        if found.format != _FORMAT:
            raise msgspec.ValidationError(f"it has format {found.format}")
    except FileNotFoundError:
        return []
    except (OSError, msgspec.MsgspecError) as error:
        raise FieldlogError(
            f"{path}, which says how far the fleet has come, cannot be read ({error}). Nothing was changed; repair it, or move "
            "it away to begin anew: steps that were done are found to be done"
        ) from error
    return found.devices

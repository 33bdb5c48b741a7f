"""The memory of a logger that no longer answers, read from a dump of it into the archive.

Rule of this module: a dump is gone through twice, a piece at a time. The first time tells whose blocks lie where: blocks
do not name their log, only SCHEMA blocks do. The second time stores them. A block is never guessed to be of a log: what
cannot be told apart is counted and left out. Whatever is in the archive already changes nothing.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fieldlog.archive.log import IMPORTED, Log
from fieldlog.archive.records import LogInfo
from fieldlog.archive.store import Archive
from fieldlog.archive.survey import Survey
from fieldlog_protocol.blocks.salvage import Salvage
from fieldlog_protocol.blocks.schema import SchemaPart
from fieldlog_protocol.errors import UsageError, VerificationError

Progress = Callable[[int, int], None]

_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class ImportedLog:
    """What a dump held of one log: `blocks` in it, of which `stored` were new; `missing` is what the archive lacks now
    between the first and the last block of that log."""

    info: LogInfo
    blocks: int
    stored: int
    conflicts: list[int]
    missing: list[range]


@dataclass(slots=True)
class Imported:
    """What was found in a dump. `strangers` are blocks that nothing says the log of; they are not in the archive.

    `recovered`: blocks that power had left unsealed; of each at most one frame is lost.
    `torn`: headers without a whole block. `newer`: headers of a format that is not known here. `erased` and `other`:
    bytes outside of blocks. `page_sizes`: sizes of the pages found, 0 for blocks without padding.
    """

    size: int = 0
    logs: list[ImportedLog] = field(default_factory=list[ImportedLog])
    strangers: int = 0
    recovered: int = 0
    torn: int = 0
    newer: int = 0
    erased: int = 0
    other: int = 0
    page_sizes: list[int] = field(default_factory=list[int])


def import_dump(
    archive: Archive, dump: Path, *, block_size: int | None = None, name: str = "", progress: Progress | None = None
) -> Imported:
    """Take all whole blocks of a dump into the archive.

    It may be the image of a flash, of its log partition alone, of a card, or blocks laid end to end, of several loggers
    too. `block_size` keeps to pages of that size. `name` is what to call the one logger, unless it has told itself.
    VerificationError when no block is in it, or none whose log is known.
    """
    require_dump(dump)
    reader = _Reader(dump, block_size, progress)
    survey = Survey()
    for offset, wire in reader.blocks():
        survey.add(offset, wire)
    if not survey.blocks:
        raise VerificationError(_nothing(dump, reader))
    survey.settle(lambda samples: _archived(archive, samples))
    if not survey.found:
        raise VerificationError(
            f"{dump} holds blocks, {survey.blocks} of them, but no description that says which "
            "logger wrote them, and the archive holds none of them. Nothing was imported; a larger dump has one"
        )
    _require_one(dump, name, {uid for uid, _ in survey.found})
    return _stored(archive, dump, survey, reader, name.strip())


def _require_one(dump: Path, name: str, uids: set[bytes]) -> None:
    """Refuse a name that nobody could see, or that several would have."""
    if name and not (name.strip() and name.isprintable()):
        raise UsageError(f"{name!r} is no name. Nothing was imported")
    if name and len(uids) > 1:
        raise UsageError(
            f"{dump} holds the logs of {len(uids)} loggers, which cannot all be called {name!r}. Nothing was imported"
        )


def require_dump(dump: Path) -> None:
    """Refuse what has no end or no bytes before anything is opened; a card in its reader is a file as well."""
    try:
        mode = dump.stat().st_mode
    except FileNotFoundError:
        raise UsageError(f"there is no file {dump}. Nothing was imported") from None
    except OSError as error:
        raise UsageError(f"{dump} cannot be read: {error.strerror}. Nothing was imported") from error
    if stat.S_ISREG(mode) or stat.S_ISBLK(mode):
        return
    if stat.S_ISDIR(mode):
        raise UsageError(f"{dump} is a folder, not a dump: name the file in it. Nothing was imported")
    raise UsageError(
        f"{dump} is neither a file nor a disk: what it gives has no end that could be known. Nothing was imported; "
        "copy the dump into a file first"
    )


def _stored(archive: Archive, dump: Path, survey: Survey, reader: _Reader, name: str) -> Imported:
    logs = {whose: archive.log(*whose) for whose in survey.found}
    outcome = f"{IMPORTED} {dump.name}"  # from the beginning: one that is broken off is no pull from the device either
    held = {whose: (log, log.stored, log.begin_pull(outcome)) for whose, log in logs.items()}
    counts = dict.fromkeys(logs, 0)
    strangers = 0
    for offset, wire in reader.blocks():
        whose = survey.whose(offset)
        if whose is None:
            strangers += 1
            continue
        logs[whose].add_blocks([wire])
        counts[whose] += 1
    found = reader.salvage
    done = Imported(
        reader.size,
        strangers=strangers,
        recovered=found.recovered,
        torn=found.torn,
        newer=found.newer,
        erased=found.erased,
        other=found.other,
        page_sizes=sorted(found.sizes),
    )
    for whose, (log, stored, number) in held.items():
        log.end_pull(number, blocks=counts[whose], size=0, outcome=outcome)
        _name(log, survey.found[whose], name)
        done.logs.append(
            ImportedLog(log.info(), counts[whose], log.stored - stored, sorted(log.conflicts), _missing(log))
        )
    return done


def _name(log: Log, part: SchemaPart | None, name: str) -> None:
    """What a description says of the device, and somebody who knows it, unless the device itself has told."""
    known = log.info()
    if part is not None and not known.product:
        log.describe(product=part.product, firmware=part.firmware)
    if not known.label or all(pull.outcome.startswith(IMPORTED) for pull in log.pulls()):
        log.describe(label=name)


def _missing(log: Log) -> list[range]:
    held = log.held()
    return log.absent(held.start, held.stop)


def _nothing(dump: Path, reader: _Reader) -> str:
    found = reader.salvage
    only = f" in pages of {found.block_size} bytes" if found.block_size else ""
    torn = f", {found.torn} headers of blocks that are not whole" if found.torn else ""
    newer = f", {found.newer} of a newer format: update fieldlog" if found.newer else ""
    return (
        f"{dump} holds no whole log block{only}: {reader.size} bytes, {found.erased} of them erased{torn}{newer}. "
        "Nothing was imported; a dump must be the memory byte by byte, not packed and not as hexadecimal text"
    )


class _Reader:
    """Goes through a dump, as often as is asked."""

    def __init__(self, dump: Path, block_size: int | None, progress: Progress | None) -> None:
        self._dump = dump
        self._block_size = block_size
        self._progress = progress
        self._rounds = 0
        self.size = 0
        self.salvage = Salvage(block_size)

    def blocks(self) -> Iterator[tuple[int, bytes]]:
        """(offset, wire form) of each whole block."""
        self.salvage = Salvage(self._block_size)
        try:
            with self._dump.open("rb") as file:
                if not self._rounds:  # a file that grows meanwhile is read as it was
                    self.size = file.seek(0, 2)
                file.seek(0)
                while piece := file.read(min(_PIECE, self.size - file.tell())):
                    yield from self.salvage.feed(piece)
                    if self._progress is not None:
                        self._progress(self._rounds * self.size + file.tell(), 2 * self.size)
                yield from self.salvage.feed(b"", final=True)
        except OSError as error:
            raise UsageError(
                f"{self._dump} cannot be read: {error.strerror}. What was imported before stays"
            ) from error
        self._rounds += 1


def _archived(archive: Archive, samples: list[tuple[int, int]]) -> tuple[bytes, int] | None:
    """The one log in the archive that holds some of these (seq, crc)."""
    logs = [log.info() for log in archive.logs() if any(log.holds(seq, crc) for seq, crc in samples)]
    return (bytes.fromhex(logs[0].uid), logs[0].log_id) if len(logs) == 1 else None

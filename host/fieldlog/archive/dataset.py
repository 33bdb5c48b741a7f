"""The second tier: readings as Parquet files, derived from the blocks and brought up to date with them.

Rule of this module: nothing here is a source of truth. A file is written aside and renamed, and its entry in the manifest
says which blocks, times and descriptions it shows; what has not changed is left alone. Memory is bounded by a few batches.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby, islice, repeat
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from fieldlog.archive.ahead import keep_freed_memory
from fieldlog.archive.columns import Columns, Kind
from fieldlog.archive.database import FILE_NAME, ArchiveError, in_words
from fieldlog.archive.file_writer import FileWriter
from fieldlog.archive.manifest import Entry, Manifest, hold
from fieldlog.archive.outline_file import ColumnHead, Packed, Packer
from fieldlog.archive.places import WINDOW, file_name, is_ours
from fieldlog.archive.selection import Selection
from fieldlog.archive.source import Source
from fieldlog_protocol.blocks.schema import Stream
from fieldlog_protocol.errors import FieldlogError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from fieldlog.archive.arrow import Layout
    from fieldlog.archive.plan import Plan
    from fieldlog.archive.readings import Decoded, Readings
    from fieldlog.archive.series import Series
    from fieldlog.archive.store import Archive
    from fieldlog.clock_model import Times

FORMAT = 4
"""Part of every file's origin: a program that derives differently writes all of them anew."""
_MOST_PROBLEMS = 5
_TURN_S = 1e-3
_MOST_ENDING = 3  # files that wait for the disk, so that a slow one is not filled ahead of what the manifest knows
OnRows = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Update:
    """What an update did: files written, left as they were, removed; rows written; what could not be shown, and why."""

    written: int = 0
    kept: int = 0
    removed: int = 0
    rows: int = 0
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Part:
    """One file as the archive would have it now."""

    name: str
    readings: Readings
    plans: list[Plan]
    columns: Columns
    told: str

    @cached_property
    def origin(self) -> bytes:
        """A hash of what it shows. Made when it is asked for: meanwhile blocks can be decoded."""
        found = hashlib.blake2b(repr((self.told, self.columns.all)).encode(), digest_size=16)
        for plan in self.plans:
            with in_words(self.readings.path):
                crcs = plan.source.checks(plan.rows)
            found.update(_trace(plan, crcs))
        return found.digest()

    @property
    def frames(self) -> int:
        return sum(int(plan.rows.n_frames.sum()) for plan in self.plans)

    def series(self) -> Iterator[Series]:
        return self.readings.batches(self.plans)

    @cached_property
    def layout(self) -> Layout:
        from fieldlog.archive.arrow import Layout

        return Layout(self.columns, metadata={"fieldlog": self.told})

    @property
    def stream(self) -> Stream | None:
        """What describes all of it, None where that changes in between."""
        streams = {plan.stream for plan in self.plans}
        return streams.pop() if len(streams) == 1 else None

    def packed(self, packer: Packer) -> Packed:
        stream = self.stream
        return packer.packed(self.origin, stream, () if stream is None else column_heads(self.columns, stream))


def folder_of(archive: Path) -> Path:
    """Where the readings of the archive in file `archive` lie."""
    return archive.with_name("readings" if archive.name == FILE_NAME else f"{archive.stem}-readings")


def manifest_of(archive: Path) -> Path:
    folder = folder_of(archive)
    return folder.with_name(f"{folder.name}.sqlite")


def update_dataset(archive: Archive, *, everything: bool = False, progress: OnRows | None = None) -> Update:
    """Bring the Parquet files up to date with the blocks: what changed, or `everything` anew.

    ArchiveError, and no half file, when the disk refuses or another process is at it for too long.
    """
    archive.flush()
    keep_freed_memory()
    folder = folder_of(archive.path)
    with _in_words(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with hold(manifest_of(archive.path)) as manifest, _aside(folder) as aside, _in_short_turns():
        manifest.stamp(None)
        stamp, frames = archive.stamp(), _frames(archive)
        done = _Updater(folder, aside, manifest, progress, frames).run(parts(archive), everything=everything)
        if sum(entry.rows for entry in manifest.entries.values()) == frames:
            manifest.stamp(stamp)  # else some blocks cannot be shown, or more came in the meantime
        return done


def _frames(archive: Archive) -> int:
    """How many readings there are, as far as progress wants to know."""
    with in_words(archive.path):
        return sum(source.frames() for source in archive.sources())


def parts(archive: Archive) -> Iterator[Part]:
    """Every file that there should be, in order of log, session and stream."""
    sources = archive.sources()
    with in_words(archive.path):
        streams = {source: source.parts() for source in sources}
        columns = columns_of(streams)
    for source, found in streams.items():
        texts = source.log.session_texts()
        for session, stream_id in found:
            about = _about(source, session, *texts.get(session, ("", {})))
            with in_words(archive.path):
                windows = source.windows(session, stream_id, WINDOW)
            for seqs in windows:
                selection = Selection(frozenset({(source.log.key, session)}), stream=stream_id, seqs=seqs)
                if (part := _part(archive.path, source, selection, columns, about)) is not None:
                    yield part


def columns_of(parts: Mapping[Source, list[tuple[int, int]]]) -> Columns:
    """Those of all files, by the (session, stream) of each log."""
    return Columns(
        stream for source, found in parts.items() for stream in source.schemas.streams({number for _, number in found})
    )


def column_heads(columns: Columns, stream: Stream) -> tuple[ColumnHead, ...]:
    """The columns of a stream's channels."""
    found = [columns.all[place] for place in columns.places(stream, stream.channels)]
    return tuple(ColumnHead(column.name, column.kind is Kind.TEXT) for column in found)


def _about(source: Source, session: int, label: str, metadata: dict[str, str]) -> dict[str, object]:
    """What a file says of where its readings come from."""
    info = source.info
    return {
        "format": FORMAT,
        "device": info.uid,
        "log": info.log_id,
        "serial": info.serial,
        "label": info.label,
        "product": info.product,
        "session": session,
        "session_label": label,
        "metadata": metadata,
    }


def _part(path: Path, source: Source, selection: Selection, columns: Columns, about: dict[str, object]) -> Part | None:
    """One file; None where no block of it can be understood."""
    from fieldlog.archive.readings import Readings

    readings = Readings(path, [source], selection)
    with in_words(path):
        plans = list(readings.plans())
    if not plans:
        return None
    described = list(dict.fromkeys(plan.stream for plan in plans))
    told = msgspec.json.encode({**about, "streams": described}).decode()
    info = source.info
    name = file_name(info.uid, info.log_id, plans[0].session, described[0], selection.seqs)
    return Part(name, readings, plans, columns, told)


def _trace(plan: Plan, crcs: npt.NDArray[np.int64]) -> bytes:
    """Which blocks these are, which of them begin anew, and the times of their first, middle and last ticks.

    Times are piecewise linear, so that a knot that moves any time in a block moves one of these, or its error, or is
    itself inside.
    """
    from fieldlog.archive.plan import times_of

    boots, t0, span = plan.rows.boot_id, plan.rows.t0, plan.rows.span
    times = [times_of(plan.source.clock, boots, ticks) for ticks in (t0, t0 + span // 2, t0 + span)]
    times += _times_inside(plan)
    arrays = [array for found in times for array in (found.utc_us, found.error_us, found.quality)]
    return b"".join(array.tobytes() for array in (plan.rows.seq, crcs, plan.starts, boots, t0, span, *arrays))


def _times_inside(plan: Plan) -> list[Times]:
    """The times of the knots inside blocks, boot by boot."""
    import numpy as np

    found: list[Times] = []
    for boot in np.unique(plan.rows.boot_id).tolist():
        rows = plan.rows[plan.rows.boot_id == boot]
        knots = np.array(plan.source.clock.bends(boot), np.int64)
        block = np.searchsorted(rows.t0, knots) - 1
        inside = knots[(block >= 0) & (knots < rows.end[block])]
        if len(inside):
            found.append(plan.source.clock.utc(boot, inside))
    return found


class _Ended(NamedTuple):
    """A file all of whose readings were handed over."""

    part: Part
    packer: Packer
    entry: Future[Entry]


class _Updater:
    """One update under way: files are planned and decoded here, and written by a thread of their own."""

    def __init__(self, folder: Path, aside: Path, manifest: Manifest, progress: OnRows | None, frames: int) -> None:
        self._folder = folder
        self._aside = aside
        self._manifest = manifest
        self._progress = progress
        self._names: set[str] = set()
        self._frames = frames
        self._seen = 0
        self._ended: deque[_Ended] = deque()
        self._done = Update()

    def run(self, wanted: Iterator[Part], *, everything: bool) -> Update:
        stale = self._stale(wanted, everything=everything)
        try:
            with _in_words(self._folder), FileWriter(self._folder, self._aside) as writer:
                self._write(stale, writer)
        except BaseException:
            self._note_whole()
            raise
        self._done = replace(self._done, kept=len(self._names) - self._done.written)
        with _in_words(self._folder):
            self._remove_all_but(self._names)
        return replace(self._done, problems=_few(self._done.problems))

    def _stale(self, wanted: Iterator[Part], *, everything: bool) -> Iterator[Part]:
        for part in wanted:
            self._names.add(part.name)
            if everything or not self._is_current(part):
                yield part
            else:
                self._tell(part)

    def _tell(self, part: Part) -> None:
        self._seen += part.frames
        if self._progress is not None:
            self._progress(self._seen, self._frames)

    def _is_current(self, part: Part) -> bool:
        entry = self._manifest.entries.get(part.name)
        if entry is None or entry.origin != part.origin or _size(self._folder / part.name) != entry.size:
            return False
        return self._manifest.is_outlined(part.name)

    def _write(self, stale: Iterator[Part], writer: FileWriter) -> None:
        """All files in one flow: while some readings are written, the next are decoded here, which takes about as long."""
        for part, found in groupby(_jobs(stale), key=itemgetter(0)):
            file = writer.file(part.name, part.layout)
            for series in part.readings.settled(job() for _, job in found):
                file.add(series)
                self._settle(_MOST_ENDING)
            self._ended.append(_Ended(part, file.packer, file.end(part.origin)))
            self._settle(_MOST_ENDING)
            self._tell(part)
        self._settle(0)

    def _settle(self, most: int) -> None:
        """Notes the files that bear their names, and waits for all of them but `most`."""
        while self._ended and (len(self._ended) > most or self._ended[0].entry.done()):
            self._written(self._ended[0])
            self._ended.popleft()

    def _note_whole(self) -> None:
        """The files that got their names before something went wrong; the disk may refuse even that."""
        with suppress(FieldlogError):
            for ended in self._ended:
                if ended.entry.done() and not ended.entry.cancelled() and ended.entry.exception() is None:
                    self._written(ended)

    def _written(self, ended: _Ended) -> None:
        part, entry = ended.part, ended.entry.result()
        done, self._done = self._done, replace(self._done, written=self._done.written + 1)
        self._manifest.put(part.name, entry, part.packed(ended.packer))
        problems = dict.fromkeys([*done.problems, *part.readings.left_out])
        self._done = replace(self._done, rows=done.rows + entry.rows, problems=tuple(problems))

    def _remove_all_but(self, names: set[str]) -> None:
        strays = [name for name in files_in(self._folder) if name not in names and not (self._folder / name).is_dir()]
        for name in strays:
            (self._folder / name).unlink()
        for name in self._manifest.entries.keys() - names:
            self._manifest.drop(name)
        self._done = replace(self._done, removed=len(strays))


def _jobs(parts: Iterator[Part]) -> Iterator[tuple[Part, Callable[[], Decoded]]]:
    """While the first readings of a file are written its origin is made and the next file planned, so that none waits for it."""
    part = next(parts, None)
    while part is not None:
        jobs = zip(repeat(part), part.readings.jobs(part.plans), strict=False)
        yield from islice(jobs, 1)
        _ = part.origin
        yield from islice(jobs, 1)
        following = next(parts, None)
        yield from jobs
        part = following


def _few(problems: tuple[str, ...]) -> tuple[str, ...]:
    """A log that cannot be decoded at all has a problem a block."""
    if len(problems) <= _MOST_PROBLEMS:
        return problems
    rest = len(problems) - _MOST_PROBLEMS
    return (*problems[:_MOST_PROBLEMS], f"{rest} more problems of this kind; `fieldlog archive check` names them all.")


def files_in(folder: Path) -> list[str]:
    """The files of derived readings that are there, in order; files of others are none of ours."""
    names = (path.relative_to(folder).as_posix() for path in folder.glob("device=*/session=*/stream=*/*.parquet"))
    return sorted(filter(is_ours, names))


def _size(path: Path) -> int:
    """0 where there is no file: no Parquet file is empty."""
    return path.stat().st_size if path.exists() else 0


@contextmanager
def _aside(folder: Path) -> Generator[Path]:
    """A place beside `folder` for files that are not whole yet; what a killed process left there goes."""
    aside = folder.with_name(f".{folder.name}.part")
    with _in_words(folder):
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _in_short_turns() -> Generator[None]:
    """Threads that want the interpreter get it sooner: what waits here are numpy's and pyarrow's calls, which soon let go."""
    usual_s = sys.getswitchinterval()
    sys.setswitchinterval(_TURN_S)
    try:
        yield
    finally:
        sys.setswitchinterval(usual_s)


@contextmanager
def _in_words(folder: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise ArchiveError(
            f"the Parquet files in {folder} could not be brought up to date: {_reason(error)}. The archive itself is whole, "
            "and so is every file that is there. Make room, check permissions or take away what is in the way, then run "
            "`fieldlog archive rebuild`"
        ) from error


def _reason(error: OSError) -> str:
    path = error.filename2 or error.filename
    return f"{path}: {error.strerror}" if path and error.strerror else str(error.strerror or error)

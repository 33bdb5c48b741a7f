"""One file applied to many devices side by side, in two steps: all are compared with it, somebody looks, all are written.

Rule: nothing is written anywhere while the file is wrong for any device. Beyond that each device stands for itself: one
that fails or is silent is named and stops no other. What became of each is in its `Candidate`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from fieldlog.config.apply import TIMEOUT_S, WAIT_S, Applied, apply, settle
from fieldlog.config.document import Document
from fieldlog.config.log_check import held_against
from fieldlog.config.model import Plan, Problem, Problems
from fieldlog.config.outcome import with_state
from fieldlog.config.plan import make_plan
from fieldlog.config.schema import Schema, nearest
from fieldlog.config.schema_cache import SchemaCache
from fieldlog.config.target import NoDescription, read_target
from fieldlog.config.template import Identity, identity_of, resolved, section_settings
from fieldlog.connection import connect
from fieldlog.device import Device
from fieldlog.logger_info import LoggerInfo, NoLogger
from fieldlog.url import DeviceUrl, distinct
from fieldlog_protocol.errors import FieldlogError, LinkError, ProtocolError, RefusedError

AT_ONCE = 128
"""Devices asked or written at the same time: what takes long is waiting for their links."""

COMPARING_S = 180
"""What a device takes at most to be compared, of which the others wait for the end."""

_NAMED = 3
"""So many devices are named with a problem that not all have."""


class Stage(StrEnum):
    """How far a device has come. From SAME on it is over."""

    WAITING = "waiting"
    COMPARING = "comparing"
    PLANNED = "not applied"
    """Nothing is written: somebody said no, or the file is wrong for another device."""
    APPLYING = "applying"
    SAME = "same device"
    WRONG = "file is wrong"
    UNCHANGED = "no change"
    APPLIED = "applied"
    FAILED = "failed"


OVER = (Stage.SAME, Stage.WRONG, Stage.UNCHANGED, Stage.APPLIED, Stage.FAILED)


@dataclass(slots=True)
class Candidate:
    """One device and what becomes of it. `name` is that of its link. `error` is set when it failed."""

    url: DeviceUrl
    index: int
    name: str
    stage: Stage = Stage.WAITING
    identity: Identity | None = None
    plan: Plan | None = None
    problems: tuple[Problem, ...] = ()
    """What is wrong with the file for this device."""
    schema: Schema | None = None
    """The settings that it describes."""
    applied: Applied | None = None
    error: FieldlogError | OSError | None = None
    same_as: str | None = None
    namesakes: bool = False
    """Whether another device of the command has the same label."""

    @property
    def over(self) -> bool:
        return self.stage in OVER

    @property
    def title(self) -> str:
        """What people know the device by."""
        who = self.identity
        if who is None:
            return self.name
        own = who.serial or who.uid or self.name
        return f"{who.label} ({own})" if who.label and self.namesakes else who.label or own


Told = Callable[[Candidate], None]
Say = Callable[[Candidate, str], None]
Review = Callable[[Sequence[Candidate]], bool]
"""Shown all plans; whether they shall be carried out."""
Connect = Callable[[DeviceUrl], AbstractAsyncContextManager[Device]]


def _ignore(*_: object) -> None:
    """For callers who do not watch."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Who looks on: `told` at every step of a device, `say` with what a step that takes its time is waiting for."""

    told: Told = _ignore
    say: Say = _ignore


async def apply_many(
    document: Document,
    urls: Sequence[str | DeviceUrl],
    review: Review,
    *,
    cache: SchemaCache | None = None,
    timeout_s: int = TIMEOUT_S,
    wait_s: int = WAIT_S,
    watch: Watch | None = None,
    connect: Connect = connect,
    own: Schema | None = None,
) -> list[Candidate]:
    """Give devices what a file says; one Candidate for each, in their order. `own` describes those that do not themselves.

    `wait_s`: how long a change is waited for that another host has open on a device.

    Raises Problems when the file is wrong for any of them, and what `review` raises; nothing is written then. Raises
    nothing for a device that fails: see `Candidate.error`.
    """
    candidates = [Candidate(url, number, url.text) for number, url in enumerate(distinct(urls), 1)]
    watch = watch or Watch()
    for candidate in candidates:
        watch.told(candidate)
    many = _Many(document, candidates, cache, timeout_s, wait_s, watch, connect, own)
    # a bug with one device waits for the others too: what is begun on them shall be ended
    ended = await asyncio.gather(many.decide(review), *map(many.run, candidates), return_exceptions=True)
    errors = [error for error in ended if error is not None]
    if errors:
        raise min(
            errors, key=lambda error: isinstance(error, FieldlogError)
        )  # a bug comes before what it brought about
    return candidates


def common_problems(candidates: Sequence[Candidate]) -> tuple[Problem, ...]:
    """All that is wrong with the file; what only some of several devices mind says which ones do."""
    asked = [candidate for candidate in candidates if candidate.identity is not None]
    minding: dict[Problem, list[str]] = {}
    for candidate in asked:
        for problem in dict.fromkeys(candidate.problems):
            minding.setdefault(problem, []).append(candidate.title)
    return tuple(
        problem if len(names) == len(asked) else Problem(problem.place, f"{problem.sentence} ({_named(names)})")
        for problem, names in minding.items()
    )


def unheard_of(document: Document, section: str, candidates: Sequence[Candidate]) -> tuple[Problem, ...]:
    """Keys of a section for other devices that none of these has, though theirs may."""
    schemas = [candidate.schema for candidate in candidates if candidate.schema is not None]
    known = {key for schema in schemas for key in schema}
    return tuple(
        Problem(located.key_place, f"none of these devices has a setting {key!r}. {nearest(key, known)}".rstrip())
        for key, located in section_settings(document, section).items()
        if schemas and key not in known
    )


def _named(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


@asynccontextmanager
async def _at_most(limit_s: int, name: str) -> AsyncGenerator[None]:
    limit = asyncio.timeout(limit_s)
    try:
        async with limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        raise LinkError(f"{name} answers, and had not said all that it was asked after {limit_s} s") from None


def _untouched(error: FieldlogError | OSError) -> FieldlogError | OSError:
    """What stopped a device before anything was written to it."""
    if isinstance(error, (LinkError, ProtocolError, RefusedError)) and not isinstance(error, NoLogger):
        return with_state(error, "Nothing was changed on it")
    return error


@dataclass(slots=True)
class _Many:
    document: Document
    candidates: Sequence[Candidate]
    cache: SchemaCache | None
    timeout_s: int
    wait_s: int
    watch: Watch
    connect: Connect
    own: Schema | None
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    _compared: int = 0
    _all_compared: asyncio.Event = field(default_factory=asyncio.Event)
    _decision: asyncio.Future[bool] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    _owners: dict[tuple[bytes, int, int], str] = field(default_factory=dict[tuple[bytes, int, int], str])

    async def decide(self, review: Review) -> None:
        """Once every device is compared or has failed."""
        decided = False
        try:
            if self.candidates:
                await self._all_compared.wait()
            problems = common_problems(self.candidates) or self.document.problems
            if problems:
                raise Problems(problems, self.document.name)
            decided = review(self.candidates)
        finally:
            if not self._decision.done():
                self._decision.set_result(decided)

    async def run(self, candidate: Candidate) -> None:
        try:
            async with AsyncExitStack() as links:
                device = await self._compare(candidate, links)
                if device is not None and await self._decision:
                    await self._apply(candidate, device)
        except (FieldlogError, OSError) as error:
            candidate.error = error if candidate.stage is Stage.APPLYING else _untouched(error)
            self._step(candidate, Stage.FAILED)

    async def _compare(self, candidate: Candidate, links: AsyncExitStack) -> Device | None:
        """The device, its link open until the stack is left; None where there is nothing more to do."""
        try:
            async with self._slots:
                self._step(candidate, Stage.COMPARING)
                device = await links.enter_async_context(self.connect(candidate.url))
                async with _at_most(COMPARING_S + self.wait_s, device.name):
                    stage = await self._plan(candidate, device)
                self._step(candidate, stage)
        finally:
            self._compared += 1
            if self._compared == len(self.candidates):
                self._all_compared.set()
        return device if candidate.stage is Stage.PLANNED else None

    async def _plan(self, candidate: Candidate, device: Device) -> Stage:
        candidate.name = device.name
        info = None
        logger = await device.has_logger()
        if not logger and self.own is None:
            raise NoDescription(device.name)
        if logger:
            info = await device.logger_info()
            candidate.same_as = self._owner(info, device.name)
            if candidate.same_as is not None:
                return Stage.SAME
        candidate.identity = Identity(index=candidate.index) if info is None else identity_of(info, candidate.index)
        self._tell_apart(candidate, candidate.identity.label)
        await settle(device, lambda text: self.watch.say(candidate, text), self.wait_s, info=info)
        found, problems = resolved(self.document, candidate.identity)
        target = await read_target(
            device,
            info,
            cache=self.cache,
            streams=bool(found.calibration or found.log),
            texts=bool(found.metadata or found.log),
            own=self.own,
        )
        candidate.schema = target.schema
        wanted, more = held_against(found, target, info)
        candidate.problems = (*problems, *more)
        if candidate.problems:
            return Stage.WRONG
        candidate.plan = await make_plan(device, wanted, target)
        return Stage.UNCHANGED if candidate.plan.empty else Stage.PLANNED

    def _tell_apart(self, candidate: Candidate, label: str) -> None:
        for other in self.candidates:
            if other is not candidate and other.identity is not None and other.identity.label == label:
                other.namesakes = candidate.namesakes = True

    def _owner(self, info: LoggerInfo, name: str) -> str | None:
        """Through which link the device is reached already. Copies of a device are told apart by when they started."""
        owner = self._owners.setdefault((info.uid, info.log_id, info.boot_id), name)
        return None if owner == name else owner

    async def _apply(self, candidate: Candidate, device: Device) -> None:
        plan = candidate.plan
        assert plan is not None
        async with self._slots:
            self._step(candidate, Stage.APPLYING)
            candidate.applied = await apply(
                device, plan, timeout_s=self.timeout_s, tell=lambda text: self.watch.say(candidate, text)
            )
            self._step(candidate, Stage.APPLIED)

    def _step(self, candidate: Candidate, stage: Stage) -> None:
        candidate.stage = stage
        self.watch.told(candidate)

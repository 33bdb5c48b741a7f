"""What a file says for a device, held against what the device can take.

Rule: no I/O. Everything is checked, and all that is wrong is told at once.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

from fieldlog.config.channels import coefficients, find_channel
from fieldlog.config.model import ChannelKey, Coefficients, Located, Place, Problem, Problems, Resolved, Wanted
from fieldlog.config.schema import nearest_setting
from fieldlog.config.target import Target
from fieldlog.config.values import encode_given
from fieldlog.deployment import ZONE, known_zone
from fieldlog_protocol.blocks.metadata import encode_metadata
from fieldlog_protocol.commands.logger import METADATA_MAX
from fieldlog_protocol.errors import UsageError


def check(resolved: Resolved, target: Target) -> Wanted:
    """What the device shall have; raises Problems with all that is wrong."""
    wanted, problems = checked(resolved, target)
    if problems:
        raise Problems(problems, resolved.name)
    return wanted


def checked(resolved: Resolved, target: Target) -> tuple[Wanted, tuple[Problem, ...]]:
    """What can be had, and all that is wrong with the rest, for whoever has more problems to tell with them."""
    checker = _Checker(target)
    wanted = Wanted(
        settings=checker.settings(resolved.settings),
        calibration=checker.calibration(resolved.calibration),
        metadata=None if resolved.metadata is None else checker.metadata(resolved.metadata),
    )
    return wanted, tuple(checker.problems)


@dataclass(frozen=True, slots=True)
class _Checker:
    """Collects what is wrong; what it returns is what is right."""

    target: Target
    problems: list[Problem] = field(default_factory=list[Problem])

    def settings(self, given: Mapping[str, Located[object]]) -> dict[str, bytes]:
        wanted: dict[str, bytes] = {}
        for key, located in given.items():
            setting = self.target.schema.get(key)
            if setting is None:
                self._tell(_at_key(located), self._unknown(key, located.value))
                continue
            with self._telling(located.place):
                wanted[key] = encode_given(setting, located.value)
        return wanted

    def _unknown(self, key: str, value: object) -> str:
        if isinstance(value, dict):
            inner = next(iter(cast("dict[str, object]", value)), "...")
            return f'a setting\'s key is quoted, its parts with / between them: write "{key}/{inner}" = ...'
        firmware = f"firmware {self.target.firmware}" if self.target.firmware else "firmware"
        hint = nearest_setting(key, self.target.schema) or "`fieldlog config show` lists what it has"
        return f"the device's {firmware} has no setting {key!r}. {hint}"

    def calibration(self, given: Mapping[str, Located[object]]) -> dict[ChannelKey, Coefficients]:
        if given and not self.target.calibrates:
            self._tell(_first(given.values()), "this device keeps no calibrations")
            return {}
        wanted: dict[ChannelKey, Coefficients] = {}
        for name, located in given.items():
            with self._telling(_at_key(located)):
                found = find_channel(name, self.target.streams)
                if found.key in wanted:
                    raise UsageError(f"{name} is {found.key}, which is calibrated above already")
                wanted[found.key] = ()
                with self._telling(located.place):
                    wanted[found.key] = coefficients(name, found.channel, located.value)
        return wanted

    def metadata(self, given: Mapping[str, Located[object]]) -> dict[str, str]:
        texts = {key: text for key, located in given.items() if (text := self._text(key, located)) is not None}
        size = len(encode_metadata(texts))
        if given and not self.target.keeps_metadata:
            self._tell(_first(given.values()), "this device keeps no metadata")
        elif size > METADATA_MAX:
            sentence = f"the metadata takes {size} bytes, and a device keeps {METADATA_MAX}: shorten it"
            self._tell(_first(given.values()), sentence)
        return texts

    def _text(self, key: str, located: Located[object]) -> str | None:
        text = located.value
        if not isinstance(text, str):
            self._tell(located.place, f"{key} is a text: write it in quotes")
            return None
        if key == ZONE and text and text != self.target.texts.get(ZONE) and known_zone({ZONE: text}) is None:
            self._tell(located.place, f"there is no time zone {text!r}: use an IANA name such as Europe/Berlin")
        return text

    @contextmanager
    def _telling(self, place: Place | None) -> Generator[None]:
        """What is wrong within is told to be at that place."""
        try:
            yield
        except UsageError as error:
            self._tell(place, str(error))

    def _tell(self, place: Place | None, sentence: str) -> None:
        self.problems.append(Problem(place, sentence))


def _at_key(located: Located[object]) -> Place | None:
    return located.key_place or located.place


def _first(given: Iterable[Located[object]]) -> Place | None:
    """Where a table begins that is wrong as a whole."""
    return min((place for located in given if (place := _at_key(located)) is not None), default=None)

"""Which devices a command for many means: those that are named, all at ports, all loggers that are heard over BLE."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar
from urllib.parse import parse_qsl

import click

from fieldlog.cli.common import Common, present_urls, run
from fieldlog.text import count
from fieldlog.url import DeviceUrl, choose, distinct, parse, with_passkey
from fieldlog_protocol.errors import DeviceNotFound, UsageError

if TYPE_CHECKING:
    from fieldlog.scanning import Advertised

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sources:
    """Where else than among those named devices are looked for. `radio`: options of another one, for BLE."""

    ports: bool
    ble: bool
    radio: str | None

    def __bool__(self) -> bool:
        return self.ports or self.ble


@dataclass(frozen=True, slots=True)
class Meant:
    """The devices, each once. A failure counts of those `named`, or heard: of other ports nobody knows what is there."""

    urls: Sequence[DeviceUrl]
    named: frozenset[str]
    many: bool


def source_options(function: Callable[Concatenate[Common, Sources, P], T]) -> Callable[..., T]:
    """Options for a command that several devices may be named to; it gets them as `Sources` behind the `Common`."""

    @click.option("--all", "ports", is_flag=True, help="Every logger that answers at a port of `fieldlog devices`.")
    @click.option("--ble", is_flag=True, help="Every logger that is heard over BLE: see `fieldlog devices --ble`.")
    @click.option("--radio", metavar="OPTIONS", help="Listen with another radio: what a device URL has behind its ?.")
    @functools.wraps(function)
    def wrapped(common: Common, /, *args: P.args, **kwargs: P.kwargs) -> T:
        given: dict[str, Any] = {name: kwargs.pop(name) for name in ("ports", "ble", "radio")}
        if given["radio"] is not None and not given["ble"]:
            raise UsageError("--radio says how to listen for BLE devices: add --ble")
        return function(common, Sources(**given), *args, **kwargs)

    return wrapped


def meant(common: Common, sources: Sources, state: str) -> Meant:
    """Raises DeviceNotFound, which ends with `state`, where there are none."""
    named = [parse(text) for text in common.devices]
    named += heard_loggers(common, sources.radio, state, named) if sources.ble else []
    others = _at_ports(state, required=not named) if sources.ports else []
    found = distinct([*named, *others] or [choose(None)])
    return Meant(found, frozenset(url.text for url in named), many=bool(sources) or len(found) > 1)


def _at_ports(state: str, *, required: bool) -> list[DeviceUrl]:
    """`required`: that there is no port at all is an error."""
    try:
        return present_urls(state)
    except DeviceNotFound:
        if required:
            raise
        return []


def heard_loggers(common: Common, radio: str | None, state: str, named: Sequence[DeviceUrl] = ()) -> list[DeviceUrl]:
    """A URL for each fieldlog logger that advertises now, with the passkey that was given; without those that are `named`,
    by name or address, which may have passkeys of their own."""
    from fieldlog.scanning import SCAN_S, scan

    common.output.note(f"listening for {SCAN_S:g} s")
    heard = run(scan(*radio_options(radio), SCAN_S))
    loggers = [one for one in heard if one.logger is not None]
    if not loggers:
        more = f" ({count(len(heard), 'other BLE device')} heard)" if heard else ""
        raise DeviceNotFound(
            f"no logger was heard within {SCAN_S:g} s{more}. Check that they have power and are near; one that is "
            f"connected already is not heard. {state}"
        )
    known = {(url.backend, url.target.casefold()) for url in named if url.scheme == "ble"}
    others = [one.url for one in loggers if not known & _targets(one)]
    return [parse(url if common.passkey is None else with_passkey(url, common.passkey)) for url in others]


def _targets(heard: Advertised) -> set[tuple[str | None, str]]:
    """Radio, and name or address."""
    url = parse(heard.url)
    return {(url.backend, url.target.casefold()), (url.backend, heard.address.casefold())}


def radio_options(radio: str | None) -> tuple[str | None, dict[str, str]]:
    """The backend and its options; raises UsageError where none is named."""
    options = dict(parse_qsl((radio or "").removeprefix("?"), keep_blank_values=True))
    backend = options.pop("backend", None)
    if radio is not None and backend is None:
        raise UsageError("--radio needs a backend, such as backend=virtual&at=127.0.0.1:PORT")
    return backend, options

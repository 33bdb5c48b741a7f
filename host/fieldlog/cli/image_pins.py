"""`fieldlog image pins` and `unpin`: the keys that devices' firmware must be signed with, on this computer.

Rule: keys are pinned by an update alone (`fieldlog flash --pin-key`), when it has shown that the device takes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import click

from fieldlog.cli.common import output_options
from fieldlog.cli.output import Output
from fieldlog.pinned_keys import Pin, PinnedKeys, default_pins
from fieldlog_protocol.errors import UsageError


@click.command()
@output_options
def pins(output: Output) -> None:
    """List the devices whose firmware must be signed with a key that `fieldlog flash --pin-key` has pinned."""
    kept = default_pins()
    found = [_as_json(identity, pin) for identity, pin in kept.all().items()]
    output.result({"file": str(kept.path), "pins": found}, lambda: _show(output, kept, found))


def _as_json(identity: str, pin: Pin) -> Mapping[str, object]:
    return {
        "device": identity,
        "kind": pin.key.kind.value,
        "key_hash": pin.key.hash().hex(),
        "security_counter": pin.security_counter,
    }


def _show(output: Output, kept: PinnedKeys, found: list[Mapping[str, object]]) -> None:
    if found:
        rows = [tuple(one.values()) for one in found]
        output.table(["device", "kind", "key hash", "security counter>"], rows)
        output.note(f"they are kept in {kept.path}")
    else:
        output.note("no key is pinned: `fieldlog flash IMAGE --key PEM --pin-key` pins one to a device")


@click.command()
@output_options
@click.argument("device", metavar="DEVICE")
def unpin(output: Output, device: str) -> None:
    """Forget the key that is pinned to a DEVICE, as `image pins` names it; the beginning of its uid will do.

    Until another one is pinned, its updates are held against --key alone.
    """
    kept = default_pins()
    identity = _meant(kept.identities(), device)
    kept.forget(identity)
    said = f"{identity} has no pinned key any more: whose firmware it gets is only verified where --key is given"
    output.result({"device": identity, "unpinned": True}, lambda: output.note(said))


def _meant(known: Iterable[str], text: str) -> str:
    """The one device that is called so, or whose name begins so; raises UsageError for none and for several."""
    known = tuple(known)
    exact = [identity for identity in known if text in (identity, _name(identity))]
    begun = [identity for identity in known if _begins(identity, text)]
    found = exact or begun
    if len(found) != 1:
        raise UsageError(
            f"{len(found) or 'no'} devices with a pinned key are called {text!r}, or begin so. See `fieldlog image pins`"
        )
    return found[0]


def _name(identity: str) -> str:
    return identity.partition(":")[2]


def _begins(identity: str, text: str) -> bool:
    """With or without the word in front, of which nothing alone names a device."""
    kind, _, rest = text.partition(":")
    start = rest if identity.startswith(f"{kind}:") else text
    return bool(start) and _name(identity).startswith(start)

"""`fieldlog log arm --from FILE`: what a configuration file wants recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from fieldlog.arming import Survey, Wish
from fieldlog.config.check import checked
from fieldlog.config.document import Document
from fieldlog.config.log_check import wish_of
from fieldlog.config.model import Resolved, Wanted
from fieldlog.config.plan import make_plan
from fieldlog.config.plan_words import plan_lines
from fieldlog.config.schema_cache import default_cache
from fieldlog.config.target import Target
from fieldlog.config.template import identity_of, resolved
from fieldlog.device import Device
from fieldlog_protocol.errors import UsageError

_NAMED = 4
"""So many values are named that the device does not have."""


async def by_file(
    device: Device, document: Document, known: Survey, given: Mapping[str, object]
) -> tuple[Wish, list[str]]:
    """What the file wants of this device, and what to know of the rest of it; `given` are options, which win.

    Raises Problems with all that is wrong with the file, and UsageError for one that does not say what to record: that is
    no reason to record everything at once.
    """
    found, problems = resolved(document, identity_of(known.info))
    target = await _target(device, found, known)
    wanted, more = checked(found, target)
    wish = wish_of(found, (*problems, *more), known, given)
    if not given and not found.log:
        raise UsageError(
            f"{document.name} has no [log] table that says anything for this device. Nothing was changed; say there what to "
            "record, or with options, or leave --from out: then all streams are recorded from now on"
        )
    return wish, await _not_there(device, document, wanted, target)


async def _target(device: Device, found: Resolved, known: Survey) -> Target:
    """What the device takes, as far as the file speaks of it."""
    info = known.info
    schema = await default_cache().schema(device, info) if found.settings else {}
    return Target(schema, known.streams, info.firmware, info.capabilities, info.uid, known.metadata or {})


async def _not_there(device: Device, document: Document, wanted: Wanted, target: Target) -> list[str]:
    """A warning where the device does not have the settings and calibrations of the file."""
    plan = await make_plan(device, replace(wanted, metadata=None), target)
    keys = [line.key if line.table == "settings" else f"the calibration of {line.key}" for line in plan_lines(plan)]
    if not keys:
        return []
    more = len(keys) - _NAMED
    names = ", ".join(keys[:_NAMED]) + (f" and {more} more" if more > 0 else "")
    differing = f"the device does not have all that {document.name} says beside [log] ({names})"
    return [f"{differing}: `fieldlog config apply {document.name}` gives it that"]

"""Group 2, stat: counters by group (docs/smp.md#commands)."""

from __future__ import annotations

from typing import Annotated

from fieldlog_protocol.commands.base import Command, Empty, ErrorTexts, Group, Message, Op, about, number, string

ERRORS: ErrorTexts = {
    2: "there is no statistics group of this name",
    3: "there is no statistic of this name",
    4: "a statistic has a size that cannot be sent",
    5: "reading the statistics was cut short",
}

NO_SUCH_GROUP = 2


class StatRequest(Message, frozen=True, kw_only=True):
    """Which group of counters."""

    name: Annotated[str, string("name of the statistics group")]


class StatResponse(Message, frozen=True, kw_only=True):
    """The counters of a group."""

    name: Annotated[str, string("name of the statistics group")]
    fields: Annotated[dict[str, Annotated[int, number("counter", ge=0)]], about("counter by name")]


class StatListResponse(Message, frozen=True, kw_only=True):
    """The names of all groups."""

    stat_list: Annotated[tuple[str, ...], about("names of the statistics groups")]


DATA = Command("stat data", Op.READ, Group.STAT, 0, StatRequest, StatResponse, "the counters of a group", (2, 3, 4, 5))
LIST = Command("stat list", Op.READ, Group.STAT, 1, Empty, StatListResponse, "the names of all groups of counters")

COMMANDS = (DATA, LIST)

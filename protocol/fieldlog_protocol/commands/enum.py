"""Group 10, enum: which groups the device serves (docs/smp.md#commands)."""

from __future__ import annotations

from typing import Annotated

from fieldlog_protocol.commands.base import Command, Empty, ErrorTexts, Group, Message, Op, about, string, u16

ERRORS: ErrorTexts = {
    2: "more groups were asked for than the device can answer at once",
    3: "the device is out of memory",
    4: "there is no group with so high an index",
}

TOO_MANY_ENTRIES = 2
INDEX_TOO_LARGE = 4


class CountResponse(Message, frozen=True, kw_only=True):
    """How many groups there are."""

    count: Annotated[int, u16("number of groups")]


class ListResponse(Message, frozen=True, kw_only=True):
    """The ids of all groups."""

    groups: Annotated[tuple[Annotated[int, u16("id")], ...], about("ids of the groups")]


class SingleRequest(Message, frozen=True, kw_only=True):
    """Which entry."""

    index: Annotated[int, u16("position in the list; left out: 0")] | None = None


class SingleResponse(Message, frozen=True, kw_only=True):
    """One group id."""

    group: Annotated[int, u16("id of the group")]
    end: Annotated[bool, about("true: it is the last one")] | None = None


class DetailsRequest(Message, frozen=True, kw_only=True):
    """Which groups to describe."""

    groups: Annotated[tuple[Annotated[int, u16("id")], ...], about("ids of the groups; left out: all")] | None = None


class GroupDetails(Message, frozen=True, kw_only=True):
    """One group."""

    group: Annotated[int, u16("id of the group")]
    name: Annotated[str, string("name of the group")] | None = None
    handlers: Annotated[int, u16("number of commands it serves")] | None = None


class DetailsResponse(Message, frozen=True, kw_only=True):
    """The groups asked for."""

    groups: Annotated[tuple[GroupDetails, ...], about("the groups")]


COUNT = Command("enum count", Op.READ, Group.ENUM, 0, Empty, CountResponse, "how many groups the device serves")
LIST = Command("enum list", Op.READ, Group.ENUM, 1, Empty, ListResponse, "the ids of all groups")
SINGLE = Command("enum single", Op.READ, Group.ENUM, 2, SingleRequest, SingleResponse, "one group id by position", (4,))
DETAILS = Command(
    "enum details", Op.READ, Group.ENUM, 3, DetailsRequest, DetailsResponse, "names of the groups", (2, 3)
)

COMMANDS = (COUNT, LIST, SINGLE, DETAILS)

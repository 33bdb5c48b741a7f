"""Group enum: which groups this device serves."""

from __future__ import annotations

from fieldlog_protocol.commands import GROUP_NAMES, Empty, Group, enum
from fieldlog_sim.device import Device
from fieldlog_sim.dispatch import Dispatcher, Refusal


def register(dispatcher: Dispatcher, device: Device) -> None:  # noqa: ARG001 - the groups are the dispatcher's own
    """Serve the group."""

    def count(_: Empty) -> enum.CountResponse:
        return enum.CountResponse(count=len(dispatcher.groups))

    def names(_: Empty) -> enum.ListResponse:
        return enum.ListResponse(groups=tuple(dispatcher.groups))

    def single(request: enum.SingleRequest) -> enum.SingleResponse:
        groups = tuple(dispatcher.groups)
        index = request.index or 0
        if index >= len(groups):
            raise Refusal(enum.INDEX_TOO_LARGE, Group.ENUM)
        return enum.SingleResponse(group=groups[index], end=True if index == len(groups) - 1 else None)

    def details(request: enum.DetailsRequest) -> enum.DetailsResponse:
        groups = dispatcher.groups
        wanted = groups if request.groups is None else [group for group in request.groups if group in groups]
        return enum.DetailsResponse(
            groups=tuple(
                enum.GroupDetails(group=group, name=GROUP_NAMES.get(group), handlers=groups[group]) for group in wanted
            )
        )

    dispatcher.on(enum.COUNT, count)
    dispatcher.on(enum.LIST, names)
    dispatcher.on(enum.SINGLE, single)
    dispatcher.on(enum.DETAILS, details)

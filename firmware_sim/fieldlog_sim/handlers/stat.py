"""Group stat: counters of the simulated device's parts."""

from __future__ import annotations

from fieldlog_protocol.commands import Empty, Group, stat
from fieldlog_sim.device import Device
from fieldlog_sim.dispatch import Dispatcher, Refusal


def register(dispatcher: Dispatcher, device: Device) -> None:
    """Serve the group."""

    def data(request: stat.StatRequest) -> stat.StatResponse:
        fields = device.statistics().get(request.name)
        if fields is None:
            raise Refusal(stat.NO_SUCH_GROUP, Group.BASIC)  # errors name group 63 (docs/smp.md#seen-on-zephyr)
        return stat.StatResponse(name=request.name, fields=fields)

    def names(_: Empty) -> stat.StatListResponse:
        return stat.StatListResponse(stat_list=tuple(device.statistics()))

    dispatcher.on(stat.DATA, data)
    dispatcher.on(stat.LIST, names)

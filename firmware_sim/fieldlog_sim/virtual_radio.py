"""The virtual radio for other projects' tests: what they need, under names that stay. It needs the extra `sim`.

`backend` and `installed` put it under code that uses bleak; `Air` and `HciServer` are for peripherals of one's own, written
with bumble; `Pace` makes a link as slow as a real one.
"""

from __future__ import annotations

from fieldlog_sim.links.ble.air import Air
from fieldlog_sim.links.ble.hci_server import HciServer
from fieldlog_sim.links.ble.pace import Pace
from fieldlog_sim.links.ble.radio import Radio
from fieldlog_sim.links.ble.virtual import backend, installed

__all__ = ["Air", "HciServer", "Pace", "Radio", "backend", "installed"]

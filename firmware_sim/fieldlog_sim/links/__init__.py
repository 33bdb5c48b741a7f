"""Where a host can reach a simulated device: a pty, UDP, or memory on virtual time."""

from fieldlog_sim.links.memory import MemoryLink
from fieldlog_sim.links.port import Link, Port
from fieldlog_sim.links.pty import PtyLink
from fieldlog_sim.links.udp import UdpLink

__all__ = ["Link", "MemoryLink", "Port", "PtyLink", "UdpLink"]

"""The definition shared by host and device: every number, name, unit, range and text that both ends need.

Rule of this package: no I/O, no clock, no asyncio. Bytes go in and messages come out, or the other way round;
time is always an argument.
"""

__version__ = "0.1.0"

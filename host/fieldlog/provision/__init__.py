"""Preparing a fleet: each device named in one file is flashed, configured, set to time, tested and armed, one after another.

Rule: every step can be repeated and does only what is left to do, so that a line that stopped anywhere goes on.
"""

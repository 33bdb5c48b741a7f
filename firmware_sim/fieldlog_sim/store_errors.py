"""Why a store on flash says no. Handlers turn these into the codes of their group."""

from __future__ import annotations

from fieldlog_protocol.errors import FieldlogError


class StoreFull(FieldlogError):
    """There is no space left; nothing was written."""


class NoSuchFile(FieldlogError):
    """There is no file of this name."""

"""The one error tree of fieldlog. Each branch answers one question.

    FieldlogError
    ├── UsageError            did I misuse it?              exit 2
    ├── RefusedError          did the device say no?        exit 4
    ├── ProtocolError         did the peer break the rules? exit 3
    ├── VerificationError     is the data not what it claims to be? exit 5
    │   ├── BlockError        a log block that is torn, stale or damaged
    │   └── ImageError        a firmware image that is not one, or not whole
    └── LinkError             did the link fail?            exit 3
        ├── DeviceNotFound    no such port, host or device
        ├── NotPaired         the device wants to be paired, or paired otherwise
        └── RequestTimeout    nobody answered in time

Beside these, where they arise: NoLogger (a RefusedError of the host), OtherDevice and TakenBack (VerificationErrors of the
host), ArchiveError and the simulator's StoreFull and FlashError (plain FieldlogErrors, exit 1).

Rule: a message says what happened, what state things are in and what to do next, in that order, as far as the place
that raises it knows.
"""

from __future__ import annotations


class FieldlogError(Exception):
    """Root of every error that fieldlog raises on purpose."""


class UsageError(FieldlogError, ValueError):
    """A request that makes no sense as it was put."""


class ProtocolError(FieldlogError):
    """Bytes that break the protocol."""


class VerificationError(FieldlogError):
    """Data that fails its own check value."""


class BlockError(VerificationError):
    """A log block that is torn, stale or damaged."""


class ImageError(VerificationError):
    """A firmware image that is malformed, truncated or does not match its hash."""


class LinkError(FieldlogError, ConnectionError):
    """The link to the device failed."""


class DeviceNotFound(LinkError):
    """There is no such device, or it cannot be opened."""


class NotPaired(LinkError):
    """The device wants another pairing than there is: trying again does not help."""


class RequestTimeout(LinkError, TimeoutError):
    """Nobody answered a request in time."""


class RefusedError(FieldlogError):
    """The device answered, and the answer was an error.

    `group` is None for an error of the protocol itself (`rc`), else the group whose code it is (SMP v2 `err`).
    `details` holds what else the reply carried, such as the `len` of a file.
    """

    def __init__(self, code: int, group: int | None, text: str, details: dict[str, object] | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.group = group
        self.details = details or {}

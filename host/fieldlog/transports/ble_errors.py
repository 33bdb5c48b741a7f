"""Why a BLE device cannot be used, in sentences: what is wrong, and what to do next."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import Enum

from bleak.exc import (
    BleakBluetoothNotAvailableError,
    BleakBluetoothNotAvailableReason,
    BleakDBusError,
    BleakDeviceNotFoundError,
    BleakError,
    BleakGATTProtocolError,
    BleakGATTProtocolErrorCode,
)

from fieldlog.text import printable
from fieldlog_protocol.errors import DeviceNotFound, LinkError, NotPaired

FAILURES = (BleakError, OSError, EOFError, TimeoutError)
"""What bleak and its backends raise."""

_UNPAIRED = (
    BleakGATTProtocolErrorCode.INSUFFICIENT_AUTHENTICATION,
    BleakGATTProtocolErrorCode.INSUFFICIENT_AUTHORIZATION,
    BleakGATTProtocolErrorCode.INSUFFICIENT_ENCRYPTION_KEY_SIZE,
    BleakGATTProtocolErrorCode.INSUFFICIENT_ENCRYPTION,
)
_UNPAIRED_WORDS = ("NotAuthorized", "NotPaired", "insufficient authentication", "insufficient encryption")
_KEY_MISSING = ("PIN_OR_KEY_MISSING", "PIN or Key Missing", "MIC_FAILURE", "MIC Failure")
_WRONG_PASSKEY = ("CONFIRM_VALUE_FAILED", "PASSKEY_ENTRY_FAILED", "Confirm Value Failed")
_NO_MORE = ("PAIRING_NOT_SUPPORTED", "PAIRING_NOT_ALLOWED", "Pairing Not", "REPEATED_ATTEMPTS", "Repeated Attempts")
_REFUSED = ("AuthenticationFailed", "AuthenticationRejected", "AuthenticationCanceled", "AuthenticationTimeout")
_DENIED = ("AccessDenied", "NotPermitted", "Permission")
_OFF = ("NotReady", "Not Ready")
_NO_SERVICE = ("ServiceUnknown", "NameHasNoOwner")

_Reason = BleakBluetoothNotAvailableReason


class Step(Enum):
    """What was being done when it went wrong."""

    SCAN = "scanning"
    CONNECT = "connecting"
    SUBSCRIBE = "subscribing"
    PAIR = "pairing"
    SEND = "sending"


def needs_pairing(error: BaseException) -> bool:
    """Whether the device wants to be paired, or paired in a better way."""
    if isinstance(error, BleakGATTProtocolError):
        return error.code in _UNPAIRED
    return isinstance(error, BleakError) and _has(error, _UNPAIRED_WORDS)


def explain(error: BaseException, name: str, step: Step) -> LinkError:
    """The error for what bleak raised at a step."""
    if isinstance(error, LinkError):
        return error
    return no_adapter(error) or _not_paired(error, name, step) or _out_of_reach(error, name, step)


def no_adapter(error: BaseException) -> DeviceNotFound | None:
    """The error where it is this computer that has no Bluetooth to offer; None for all others."""
    if isinstance(error, BleakBluetoothNotAvailableError):
        return DeviceNotFound(_NOT_AVAILABLE.get(error.reason, f"Bluetooth cannot be used here: {error.args[0]}"))
    if isinstance(error, FileNotFoundError | ConnectionRefusedError) or _has(error, _NO_SERVICE):
        return DeviceNotFound(
            "this computer has no Bluetooth service running. On Linux start BlueZ (`sudo systemctl start bluetooth`)"
        )
    if isinstance(error, BleakDBusError) and _has(error, _OFF):
        return DeviceNotFound(_NOT_AVAILABLE[_Reason.POWERED_OFF])
    if isinstance(error, PermissionError) or (isinstance(error, BleakDBusError) and _has(error, _DENIED)):
        return DeviceNotFound(f"no permission to use Bluetooth. {_permission_hint()}")
    return None


def not_heard(name: str, seconds: float, heard: Sequence[str], shortened: Sequence[str] = ()) -> DeviceNotFound:
    """The error for a device that did not advertise; `heard` are the SMP devices that did.

    `shortened`: addresses of those that may be it, by a name of which only the beginning is heard.
    """
    names = ", ".join(map(printable, heard))
    others = f"Heard instead: {names}; a device goes by another name as soon as that is set. " if heard else ""
    if shortened:
        others = (
            f"Heard instead: {names}; the air holds only the beginning of a long name. If {' or '.join(shortened)} is meant, "
            "name it by this address. "
        )
    return DeviceNotFound(
        f"{name} was not heard within {seconds:g} s. {others}Check that it has power and is near; a device that is "
        "connected to another computer, or to another program here, is not heard"
    )


def many_heard(name: str, addresses: Sequence[str]) -> DeviceNotFound:
    return DeviceNotFound(
        f"{len(addresses)} devices are called {name}: {', '.join(addresses)}. Nothing was done; name one by its address"
    )


def no_smp(name: str) -> DeviceNotFound:
    return DeviceNotFound(
        f"{name} has no SMP service. Enable it in the firmware (for Zephyr CONFIG_MCUMGR_TRANSPORT_BT), or name another device"
    )


def lost(name: str) -> LinkError:
    return LinkError(
        f"the link to {name} was lost: it went out of range, restarted or was switched off. Whether it carried out the "
        "last command is not known; go nearer and repeat the command"
    )


def no_passkey(name: str) -> NotPaired:
    return NotPaired(
        f"{name} wants a passkey, and none was given. Nothing was sent. Give the one on its label or display with "
        "--passkey, or run the command in a terminal and type it"
    )


def forget_hint() -> str:
    if sys.platform == "linux":
        return "Forget the device here (`bluetoothctl remove ADDRESS`)"
    return "Forget the device in this computer's Bluetooth settings"


def _not_paired(error: BaseException, name: str, step: Step) -> LinkError | None:
    """The error where the pairing is what is wrong."""
    if _has(error, _KEY_MISSING):
        return NotPaired(
            f"{name} and this computer no longer share a key: the device was paired with another computer since, or "
            f"reset. Nothing was sent. {forget_hint()}, and repeat the command"
        )
    if needs_pairing(error):
        return NotPaired(
            f"{name} talks only to paired computers, and this one's pairing is not enough. Nothing was sent. It may want "
            f"a passkey (--passkey). {forget_hint()}, and repeat"
        )
    if step is Step.PAIR:
        return _pairing_failed(error, name)
    if step is Step.SUBSCRIBE and isinstance(error, TimeoutError):
        return LinkError(
            f"{name} did not let itself be subscribed to in time: most likely it waits to be paired. Pair it in this "
            "computer's Bluetooth settings, then repeat the command"
        )
    return None


def _pairing_failed(error: BaseException, name: str) -> LinkError:
    """Refused, or just broken off."""
    if _has(error, _WRONG_PASSKEY):
        return NotPaired(
            f"{name} did not accept the passkey. Nothing was sent. Check it on the device's label or display, and repeat"
        )
    if _has(error, _NO_MORE):
        return NotPaired(
            f"{name} refused to pair: it may be paired with another computer already, or take pairings only for a while "
            "after a button was pressed or power came on. Nothing was sent. Let it pair, or forget its old pairings there"
        )
    if isinstance(error, TimeoutError):
        return NotPaired(f"{name} did not finish pairing in time. Nothing was sent. Go nearer and repeat the command")
    detail = str(error) or type(error).__name__
    if _has(error, _REFUSED):
        return NotPaired(
            f"pairing with {name} failed: {detail}. Nothing was sent. Where it wants a passkey, pair it in the system's "
            "Bluetooth settings"
        )
    return LinkError(f"pairing with {name} failed: {detail}. Nothing was sent. {_closer()}")


def _out_of_reach(error: BaseException, name: str, step: Step) -> LinkError:
    if step is Step.SCAN:
        detail = str(error) or "the system did not answer in time"
        return LinkError(
            f"this computer could not listen for {name}: {detail}. Nothing was sent; repeat the command, and if that does not "
            "help, switch Bluetooth off and on"
        )
    if isinstance(error, BleakDeviceNotFoundError):
        return DeviceNotFound(f"{name} went out of range, or was switched off. {_closer()}")
    if isinstance(error, TimeoutError):
        return LinkError(f"{name} was heard but did not answer while {step.value}. {_closer()}")
    detail = str(error) or type(error).__name__
    return LinkError(f"{name} broke off while {step.value}: {detail}. {_closer()}")


_NOT_AVAILABLE: dict[BleakBluetoothNotAvailableReason, str] = {
    _Reason.NO_BLUETOOTH: "this computer has no Bluetooth adapter, or it is not plugged in. Plug one in and repeat the command",
    _Reason.NO_BLE_CENTRAL_ROLE: "this computer's Bluetooth adapter is too old for BLE. Plug in another one",
    _Reason.POWERED_OFF: "Bluetooth is switched off. Switch it on in the system's settings and repeat the command",
    _Reason.DENIED_BY_USER: "this program has no permission to use Bluetooth. Grant it in the system's privacy settings",
    _Reason.DENIED_BY_SYSTEM: "the system does not permit this program to use Bluetooth. Ask who administers this computer",
    _Reason.DENIED_BY_UNKNOWN: "this program has no permission to use Bluetooth. Grant it in the system's settings",
}


def _has(error: BaseException, words: Sequence[str]) -> bool:
    text = str(error).casefold()
    return any(word.casefold() in text for word in words)


def _closer() -> str:
    return "Go nearer, check its power, and repeat the command"


def _permission_hint() -> str:
    if sys.platform == "linux":
        return "Add yourself to the group for it (`sudo usermod -a -G bluetooth $USER`), then log in again"
    return "Grant it in the system's privacy settings"

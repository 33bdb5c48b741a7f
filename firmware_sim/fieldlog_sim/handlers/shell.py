"""Group shell: a few commands, enough to see that words, output and return value travel."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fieldlog_protocol.commands import Group, shell
from fieldlog_sim.device import Device
from fieldlog_sim.dispatch import Dispatcher, Refusal

_LINE_LIMIT = 256
_NOT_FOUND = 8  # ENOEXEC, as Zephyr's shell returns


def register(dispatcher: Dispatcher, device: Device) -> None:
    """Serve the group."""
    commands: dict[str, Callable[[Sequence[str]], str]] = {
        "echo": " ".join,
        "version": lambda _: f"fieldlog simulator, firmware {device.firmware_version}",
        "uptime": lambda _: f"{device.clock.tick / 32768:.3f} s",
        "flash": lambda _: f"{device.flash.operations} operations, wear at most {max(device.flash.wear)}",
    }

    def execute(request: shell.ShellRequest) -> shell.ShellResponse:
        if not request.argv or not request.argv[0].strip():
            raise Refusal(shell.EMPTY_COMMAND, Group.SHELL)
        if sum(map(len, request.argv)) + len(request.argv) > _LINE_LIMIT:
            raise Refusal(shell.COMMAND_TOO_LONG, Group.SHELL)
        name, *words = " ".join(request.argv).split()
        if name == "help":
            return shell.ShellResponse(o="".join(f"{known}\n" for known in sorted((*commands, "help"))), ret=0)
        command = commands.get(name)
        if command is None:
            return shell.ShellResponse(o=f"{name}: command not found\n", ret=_NOT_FOUND)
        return shell.ShellResponse(o=command(words) + "\n", ret=0)

    dispatcher.on(shell.EXECUTE, execute)

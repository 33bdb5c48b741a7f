"""No capability that a client offers goes unasked, and the two libraries together offer all that is required."""

from __future__ import annotations

import pytest

import test_peers_commands as _commands
import test_peers_files as _files
import test_peers_images as _images
from peers import CAPABILITIES, offers
from peers_suite import CLIENTS, LIBRARIES, LINKS, PROVED, REQUIRED, table

assert {module.__name__ for module in (_commands, _files, _images)}  # importing them declared what they prove


@pytest.mark.parametrize(("client", "link"), [(client, link) for client in CLIENTS for link in LINKS[client]])
def test_all_that_a_client_offers_is_asked(client: str, link: str) -> None:
    offered = {each for each in CAPABILITIES if offers(CLIENTS[client], each)}
    assert offered == {capability for name, where, capability in PROVED if (name, where) == (client, link)}


@pytest.mark.parametrize("link", ["pty", "udp"])
def test_the_two_libraries_cover_all_that_is_required(link: str) -> None:
    covered = {capability for name, where, capability in PROVED if name in LIBRARIES and where == link}
    assert set(REQUIRED) <= covered


def test_a_failure_is_seen_in_the_table() -> None:
    results = dict.fromkeys(PROVED, True)
    assert "FAILED" not in "\n".join(table(results))
    assert "all but echo" not in "\n".join(table(results))
    for library in LIBRARIES:
        results[library, "udp", "echo"] = False
    lines = table(results)
    echo = next(line for line in lines if line.startswith("echo"))
    assert echo.count("FAILED") == len(LIBRARIES)
    assert any("over udp: all but echo of" in line for line in lines)
    assert any("over pty: all of" in line for line in lines)

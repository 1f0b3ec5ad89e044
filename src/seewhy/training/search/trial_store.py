"""Where trials are stored during a search: a database file of the study, or one that is shared.

A trial is claimed (it gets its number and its parameters), then finished; both are transactions,
so a process may be killed between any two steps. What it leaves unfinished is taken over under
the same number. Knows databases and claims; nothing of heads or training.
"""

from __future__ import annotations

import os
import re
import socket
import sqlite3
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import optuna
from optuna.exceptions import (
    DuplicatedStudyError,
    ExperimentalWarning,
    StorageInternalError,
    UpdateFinishedTrialError,
)
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from seewhy.errors import ConfigError, RunError, SeewhyError, first_line

# A trial of another process whose heart has not beaten for so long is taken over, seconds.
PATIENCE = 90.0
BEAT = 15.0
_OWNER, _HEART = "seewhy:owner", "seewhy:heart"
_NOBODY = "nobody"
_ATTEMPTS = 5


class TrialStore:
    """An Optuna storage and the claims on its trials.

    Parameters
    ----------
    url : str or None
        Of a database that several processes may share; None: `path` alone.
    path : Path
        The study's own SQLite file: its transactions survive a kill at any moment.

    Raises
    ------
    ConfigError
        Where `url` is none, its driver is missing or its server does not answer.
    RunError
        Where `path` is damaged or cannot be opened.
    """

    def __init__(self, url: str | None, path: Path) -> None:
        self.shared = bool(url)
        self._url, self._path = url, path
        self._owner = f"{socket.gethostname()}:{os.getpid()}"
        self._hearts: dict[int, tuple[str, float]] = {}
        try:
            with quiet_optuna(), self.answering():
                self.storage = self._storage(url or f"sqlite:///{path.resolve().as_posix()}")
        except (ArgumentError, NoSuchModuleError, ImportError, ValueError) as error:
            raise ConfigError(
                f"search.storage: {_without_password(url or '')!r} cannot be used "
                f"({first_line(error)}); expected for example postgresql+psycopg://host/name"
            ) from error
        except (RuntimeError, OSError) as error:
            raise self._silent(error) from error

    def _storage(self, url: str) -> RDBStorage:
        for _ in range(_ATTEMPTS if self.shared else 0):
            # Processes that make the tables at the same time get into each other's way.
            with suppress(DBAPIError):
                return RDBStorage(url)
            time.sleep(0.2)
        return RDBStorage(url)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Put it into one sentence where the database fails while the context is open."""
        try:
            yield
        except (ArgumentError, NoSuchModuleError):
            raise
        except (SQLAlchemyError, StorageInternalError) as error:
            raise self._silent(error) from error

    def _silent(self, error: Exception) -> SeewhyError:
        cause = _cause(error)
        reason = first_line(cause)
        if self._url:
            place = _without_password(self._url)
            return ConfigError(f"search.storage: {place!r} does not answer ({reason})")
        # A full disk or a lock damages nothing.
        advice = "" if isinstance(cause, sqlite3.OperationalError) else "; start over with --fresh"
        return RunError(f"{self._path}: cannot be used ({reason}){advice}")

    def study(self, name: str, sampler: BaseSampler, pruner: BasePruner) -> optuna.Study:
        """Return the Optuna study called `name`, new or as it is there."""
        with quiet_optuna(), suppress(DuplicatedStudyError):  # another process may be as quick
            return self._open(name, sampler, pruner)
        return self._open(name, sampler, pruner)

    def claim(
        self, study: optuna.Study, budget: int, idle: Callable[[], None] = lambda: None
    ) -> optuna.Trial | None:
        """Return the next trial to run, or None where all of `budget` have ended.

        Waits where the last ones are in other processes' hands, and calls `idle` every second.
        """
        while True:
            trials = study.get_trials(deepcopy=False)
            open_ = [t for t in trials if t.number < budget and t.state == TrialState.RUNNING]
            left = next((t for t in open_ if self._abandoned(t)), None)
            if left is not None:
                with suppress(UpdateFinishedTrialError):  # its process lived, and was quicker
                    return self._owned(optuna.Trial(study, left._trial_id))
            elif len(trials) < budget:
                trial = study.ask()
                if trial.number < budget:
                    return self._owned(trial)
                # Another process claimed the last one between our look and our claim: this one
                # waits for a larger budget.
                trial.set_user_attr(_OWNER, _NOBODY)
            elif open_:
                idle()
                time.sleep(1)
            else:
                return None

    def finish(
        self,
        study: optuna.Study,
        trial: optuna.Trial,
        state: TrialState,
        value: float | None,
        attributes: dict[str, object],
    ) -> None:
        """End a trial; where another process took it over and was quicker, its result stays."""
        with suppress(UpdateFinishedTrialError, ValueError):
            for name, one in attributes.items():
                trial.set_user_attr(name, one)
            study.tell(trial, value, state=state, skip_if_finished=True)

    @contextmanager
    def beating(self, trial: optuna.Trial) -> Iterator[None]:
        """Let other processes see that this trial's process lives, while the context is open."""
        if not self.shared:
            yield
            return
        over = threading.Event()
        heart = threading.Thread(target=self._beat, args=(trial._trial_id, over), daemon=True)
        heart.start()
        try:
            yield
        finally:
            over.set()
            heart.join()

    def _beat(self, trial_id: int, over: threading.Event) -> None:
        while not over.wait(BEAT):
            # A beat that is lost costs nothing; the next one may come through.
            with suppress(SQLAlchemyError, StorageInternalError, RuntimeError):
                self.storage.set_trial_user_attr(trial_id, _HEART, time.time())

    def _abandoned(self, trial: FrozenTrial) -> bool:
        """Tell a running trial whose process is gone; one in a study's own file always is."""
        owner = trial.user_attrs.get(_OWNER, "")
        if not self.shared or owner in (self._owner, _NOBODY) or _is_dead(owner):
            return True
        seen = f"{owner} {trial.user_attrs.get(_HEART)}"
        last, since = self._hearts.get(trial.number, ("", 0.0))
        if seen != last:
            self._hearts[trial.number] = seen, time.monotonic()
            return False
        return time.monotonic() - since > PATIENCE

    def _owned(self, trial: optuna.Trial) -> optuna.Trial:
        trial.set_user_attr(_OWNER, self._owner)
        return trial

    def _open(self, name: str, sampler: BaseSampler, pruner: BasePruner) -> optuna.Study:
        return optuna.create_study(
            storage=self.storage,
            study_name=name,
            sampler=sampler,
            pruner=pruner,
            direction="maximize",
            load_if_exists=True,
        )


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep Optuna's own lines off the screen; its level is as before afterwards."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)


def _is_dead(owner: str) -> bool:
    """Tell an owner ``host:pid`` on this machine whose process has ended."""
    host, _, pid = owner.rpartition(":")
    if host != socket.gethostname() or not pid.isdigit() or os.name != "posix":
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False


def _cause(error: Exception) -> Exception:
    """Return the error of the database itself, beneath those made of it."""
    while isinstance(error.__cause__, Exception):
        error = error.__cause__
    return error


def _without_password(url: str) -> str:
    url = re.sub("(?<=password=)[^&]*", "***", url)
    scheme, _, rest = url.partition("://")
    account, at, place = rest.rpartition("@")
    return f"{scheme}://{account.partition(':')[0]}{at}{place}" if at else url

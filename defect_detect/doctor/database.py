"""Whether FiftyOne is there and its MongoDB starts, tried in a process and a database folder of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib import metadata

import msgspec

from defect_detect.doctor.found import Database

LIMIT = 300.0
"""Seconds that importing FiftyOne and starting its database get."""
_CODE = """
import json
from defect_detect.errors import DefectDetectError
from defect_detect.explore import service
said = {}
try:
    fiftyone = service.connect()
    with service.quiet():
        from fiftyone.core import odm
        said["mongodb"] = odm.get_db_conn().client.server_info()["version"]
        if fiftyone.config.database_uri is None:
            from fiftyone.core.service import DatabaseService
            said["where"] = DatabaseService.find_mongod()
        else:
            said["where"] = "FIFTYONE_DATABASE_URI"
except DefectDetectError as error:
    said["error"] = str(error)
print(json.dumps(said), flush=True)
"""


def look(*, quick: bool) -> Database:
    """What there is; `quick`: without starting it."""
    try:
        version = metadata.version("fiftyone")
    except metadata.PackageNotFoundError:
        return Database(status="absent")
    if quick:
        return Database(status="installed", fiftyone=version)
    said = _tried()
    status = "broken" if said.get("error") else "works"
    return Database(status=status, fiftyone=version, **said)  # type: ignore[arg-type]  # one of its four


def _tried() -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        # Never the user's own database folder: a newer mongod would change its files for good.
        environment = {**os.environ, "FIFTYONE_DATABASE_DIR": folder, "FIFTYONE_DO_NOT_TRACK": "1"}
        complaint = ""
        try:
            said = subprocess.run([sys.executable, "-I", "-c", _CODE], capture_output=True, text=True, check=False,
                                  timeout=LIMIT, env=environment, stdin=subprocess.DEVNULL)  # fmt: skip
            complaint = said.stderr.strip()
            told: dict[str, str] = msgspec.json.decode(said.stdout.splitlines()[-1], type=dict[str, str])
        except subprocess.TimeoutExpired:
            return {"error": f"no answer within {LIMIT:g} s"}
        except (IndexError, msgspec.DecodeError):
            return {"error": (complaint.splitlines() or ["it said nothing"])[-1]}
    return told

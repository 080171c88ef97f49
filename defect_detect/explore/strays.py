"""What FiftyOne wrote of a dataset that doesn't know of it.

FiftyOne writes a view, a workspace, a run or results first, and then that the dataset has them. A kill in between
leaves what neither FiftyOne nor anybody else would find again, and what would outlive the dataset. An export that is
gone on with takes it away.
"""

from __future__ import annotations

from typing import Any


def forget(dataset: Any) -> None:
    """Delete all saved views and workspaces of a dataset that is being written, and the runs that it doesn't know."""
    from fiftyone.core import odm

    document = dataset._doc  # noqa: SLF001 - FiftyOne reaches only those that the dataset knows
    document.saved_views, document.workspaces = [], []
    document.save(virtual=True)
    database = odm.get_db_conn()
    for name in ("views", "workspaces"):
        database[name].delete_many({"_dataset_id": document.id})
    known = [run.id for runs in (document.evaluations, document.brain_methods) for run in runs.values()]
    database.runs.delete_many({"_dataset_id": document.id, "_id": {"$nin": known}})


def drop_results(dataset: Any, key: str) -> None:
    """Delete the same results as those of evaluation `key`, where no run knows them.

    What has the same bytes is of this dataset, for they hold its ids. Of what was cut short, all pieces are the same.
    """
    import gridfs
    from fiftyone.core import odm

    own = dataset._doc.evaluations[key].results  # noqa: SLF001 - FiftyOne says nowhere else which file it is
    database = odm.get_db_conn()
    files, content = gridfs.GridFS(database), own.read()
    size = files.get(own.grid_id).chunk_size
    known = [one["results"] for one in database.runs.find({"results": {"$ne": None}}, {"results": True})]
    for other in database.fs.files.find({"length": len(content), "_id": {"$nin": known}}, {"_id": True}):
        if files.get(other["_id"]).read() == content:
            files.delete(other["_id"])
    # Pieces are written before the file that they are of.
    of_no_file = {"files_id": {"$nin": database.fs.files.distinct("_id")}}
    for stray in database.fs.chunks.distinct("files_id", of_no_file):
        pieces = database.fs.chunks.find({"files_id": stray})
        if all(content[size * piece["n"] : size * (piece["n"] + 1)] == piece["data"] for piece in pieces):
            database.fs.chunks.delete_many({"files_id": stray})

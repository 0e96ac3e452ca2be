"""The files of the directory registry: written whole, read with distrust.

    <root>/instances/<service>/<id>.<random>.json   one instance and the process behind it
    <root>/leaders/<role>.lock                      held (flock) by the leader, by nobody else
    <root>/leaders/<role>.json                      who the leader is
    <root>/kv/<key, quoted>                         one configuration value

A file name of an instance is never used twice, so whoever sees that its process is dead may
remove it: it cannot have become another's meanwhile.
"""

import contextlib
import json
import os
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from services.common.errors import InvalidRequestError
from services.common.registry.interface import Instance
from services.common.registry.names import check_instance
from services.common.registry.processes import Process

RUBBISH_AFTER_S: Final = 60.0
"""Age at which an unreadable or unfinished file is nobody's work in progress any more."""

_UNFINISHED: Final = ".new-"
_MOST_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """An instance, and the process that entered it."""

    instance: Instance
    process: Process


@dataclass(frozen=True, slots=True)
class Leader:
    """The candidate that holds a role, and its process."""

    candidate: str
    process: Process


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that appears complete or not at all; its folder is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.parent / f"{_UNFINISHED}{uuid.uuid4().hex}"
    try:
        unfinished.write_bytes(data)
        unfinished.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise


def write_entry(folder: Path, entry: Entry) -> Path:
    """Write an entry under a new name in the folder of its service; return the file."""
    instance = entry.instance
    path = folder / f"{instance.id}.{uuid.uuid4().hex[:12]}.json"
    data = {
        "service": instance.service,
        "id": instance.id,
        "host": instance.host,
        "port": instance.port,
        "meta": dict(instance.meta),
        **_process_fields(entry.process),
    }
    write_whole(path, json.dumps(data).encode())
    return path


def read_entries(folder: Path) -> list[Entry]:
    """Return the entries of living processes, by id; remove dead ones and old rubbish.

    OSError only when the folder itself cannot be read. Of two entries with one id the later
    counts.
    """
    found: dict[str, tuple[int, Entry]] = {}
    for name in os.listdir(folder):
        path = folder / name
        try:
            written_ns = path.stat().st_mtime_ns
            entry = _parse_entry(_read(path)) if path.suffix == ".json" else None
        except OSError:  # removed meanwhile, a folder, or not ours to read
            continue
        if entry is None:
            _remove_if_rubbish(path, written_ns)
        elif not entry.process.is_alive():
            _remove(path)
        elif written_ns >= found.get(entry.instance.id, (0, entry))[0]:
            found[entry.instance.id] = written_ns, entry
    return [entry for _, (_, entry) in sorted(found.items())]


def write_leader(path: Path, leader: Leader) -> None:
    """Write who leads."""
    data = {"candidate": leader.candidate, **_process_fields(leader.process)}
    write_whole(path, json.dumps(data).encode())


def read_leader(path: Path) -> Leader | None:
    """Return who leads if its process lives; rubbish names nobody."""
    try:
        data = _parse(_read(path))
        leader = Leader(_text(data["candidate"]), _parse_process(data))
    except (FileNotFoundError, KeyError, ValueError):
        return None
    return leader if leader.process.is_alive() else None


def _parse_entry(data: bytes) -> Entry | None:
    try:
        fields = _parse(data)
        meta = {_text(key): _text(value) for key, value in fields["meta"].items()}
        instance = Instance(
            _text(fields["service"]),
            _text(fields["id"]),
            _text(fields["host"]),
            _number(fields["port"]),
            meta,
        )
        return Entry(check_instance(instance), _parse_process(fields))
    except (AttributeError, InvalidRequestError, KeyError, ValueError):
        return None


def _parse(data: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(data)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if not isinstance(fields, dict):
        raise ValueError("no object")
    return fields


def _process_fields(process: Process) -> dict[str, Any]:
    return {"pid": process.pid, "started": process.started}


def _parse_process(fields: dict[str, Any]) -> Process:
    return Process(_number(fields["pid"]), _text(fields["started"]))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")
    return value


def _number(value: object) -> int:
    # Python's int is unbounded and bool is one; a pid or port is neither.
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1 << 31:
        raise ValueError(f"{value!r} is no number above 0")
    return value


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MOST_BYTES)


def _remove_if_rubbish(path: Path, written_ns: int) -> None:
    ours = path.suffix == ".json" or path.name.startswith(_UNFINISHED)
    if ours and time.time_ns() - written_ns > RUBBISH_AFTER_S * 1e9:
        _remove(path)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()

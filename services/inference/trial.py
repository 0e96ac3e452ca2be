"""A version is tried in a process of its own before a shard that serves loads it.

The first runs of a model take memory, hold Python's lock for a tenth of a second each, and keep
a core busy for a second or more: whoever is served meanwhile would wait for that. In a process of
its own, at a low priority, they do so less. And a model that crashes its engine crashes that
process, and no shard.

What a batch takes depends on the network and not on its weights: a version that looks like one
that was measured before, as most new versions of a model do, need not be tried again.

python -m services.inference.trial NAME VERSION, configured by the environment of the shard,
writes a line of JSON: what each batch size took, or why the version must not be served.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from services.common.errors import FacetError, ModelRefusedError
from services.common.models.input_spec import InputSpec
from services.common.models.key import ModelKey
from services.common.models.manifest import Manifest
from services.common.models.repository import ModelRepository
from services.common.settings import read_settings
from services.inference.engines.loading import load_version
from services.inference.loaded_model import warm_sizes
from services.inference.settings import InferenceSettings

AUTOGROUP: Final = Path("/proc/self/autogroup")
NICENESS: Final = 15
"""It takes a twentieth of a core that somebody else wants, and all of one that nobody does."""
WITHIN_S: Final = 300.0
ALIKE: Final = 0.001
"""Artefacts of one network differ in size by no larger a share."""


@dataclass(frozen=True, slots=True)
class _Network:
    """What tells a network from others, as far as a manifest does."""

    input: InputSpec
    classes: int
    sizes: Mapping[str, int]
    """Format of each artefact → bytes."""

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        sizes = {artefact.format: artefact.bytes for artefact in manifest.artefacts}
        return cls(manifest.input, manifest.outputs.classes, sizes)

    def is_like(self, other: Self) -> bool:
        """Names of layers, which a file has as well, may differ a little."""
        return (
            (self.input, self.classes) == (other.input, other.classes)
            and self.sizes.keys() == other.sizes.keys()
            and all(
                abs(self.sizes[each] - other.sizes[each]) <= ALIKE * self.sizes[each]
                for each in self.sizes
            )
        )


class Trials:
    """Knows or finds out what batches take; one at a time, `stop` from any thread."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False
        self._known: dict[str, tuple[_Network, Mapping[int, float]]] = {}
        """Model → the network of the version that was loaded last, and seconds by batch size."""

    def learned(self, manifest: Manifest, seconds: Mapping[int, float]) -> None:
        """Remember what batches of a version took here."""
        self._known[manifest.name] = (_Network.of(manifest), seconds)

    def measure(self, manifest: Manifest) -> Mapping[int, float]:
        """Return the seconds that each batch size takes; see `run` for what it raises."""
        network, seconds = self._known.get(manifest.name, (None, {}))
        if network is not None and network.is_like(_Network.of(manifest)):
            return seconds
        return self.run(manifest.key)

    def run(self, key: ModelKey) -> dict[int, float]:
        """Load, check and warm a version in another process; return seconds by batch size.

        Raises ModelRefusedError with the reason: what the other process found, that it crashed,
        or that it took too long.
        """
        command = (sys.executable, "-m", __name__, key.name, str(key.version))
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        ) as self._process:
            if self._stopped:
                self.stop()
            try:
                written, _ = self._process.communicate(timeout=WITHIN_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                raise ModelRefusedError(
                    f"{key} took more than {WITHIN_S:.0f} s to be tried in a process of its own"
                ) from None
        return _result(key, self._process.returncode, written)

    def stop(self) -> None:
        """End the trial that goes on, and every later one at once."""
        self._stopped = True
        if self._process is not None:
            self._process.kill()


def _result(key: ModelKey, code: int, written: bytes) -> dict[int, float]:
    if code:
        how = f"exit code {code}" if code > 0 else signal.Signals(-code).name
        raise ModelRefusedError(f"{key} ended the process in which it was tried: {how}")
    told = json.loads(written)
    if "refused" in told:
        raise ModelRefusedError(told["refused"])
    return {int(size): seconds for size, seconds in told["seconds"].items()}


def main() -> None:
    """Try one version."""
    _give_way()
    name, version = sys.argv[1:]
    settings = read_settings(InferenceSettings)
    told: dict[str, object]
    try:
        loaded = load_version(
            ModelRepository.open(settings.models_url, settings.file_cache()),
            name,
            int(version),
            batch_sizes=warm_sizes(settings.max_batch),
            preference=settings.engine,
            threads=settings.threads,
        )
        told = {"seconds": dict(loaded.plan.measured)}
    except FacetError as error:
        told = {"refused": error.message}
    sys.stdout.write(json.dumps(told) + "\n")


def _give_way() -> None:
    """Run when nobody else wants the processor.

    Where the kernel groups processes by session (autogroup, sched(7)), niceness counts within the
    group alone: the process gets one of its own, which gives way to others.
    """
    os.nice(NICENESS)
    os.setsid()
    with suppress(OSError):
        AUTOGROUP.write_text(str(NICENESS), encoding="ascii")


if __name__ == "__main__":
    main()

"""The examples of the README do what it says."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.cluster.running import RunningCluster
from tests.conftest import ROOT


def test_the_python_example(
    cluster: RunningCluster, digit_png: Callable[[int], bytes], tmp_path: Path
) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    (tmp_path / "picture.png").write_bytes(digit_png(0))
    code = example.replace("localhost:50051", cluster.gateway)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert re.fullmatch(r"\d \d+\.\d%", first)
    assert first == second

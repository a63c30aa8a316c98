"""The live tests themselves are tested: they run against the emulator."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from aimlapi_embeddings import emulator, supported_models
from tests.support.entry_points import KEY
from tests.support.live_questions import PROBES, UNANSWERED

HERE = Path(__file__).parent
COMMAND = (sys.executable, "-m", "pytest", "-m", "live", str(HERE / "test_live.py"))


def test_the_live_tests_pass_on_the_emulator_and_answer_every_question() -> None:
    with emulator.running() as base_url:
        variables = {
            "AIMLAPI_API_KEY": KEY,
            "AIMLAPI_API_BASE": f"{base_url}/v1",
            "NUGEN_API_KEY": KEY,
            "NUGEN_API_BASE": f"{base_url}/api/v3/inference",
        }
        ran = subprocess.run(
            COMMAND,
            cwd=HERE.parents[1],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    said = ran.stdout
    assert ran.returncode == 0, said
    assert "skipped" not in said
    for row in supported_models():
        assert row.id in said
    for question in (*(probe.question for probe in PROBES), *UNANSWERED):
        assert question in said
    assert KEY not in said

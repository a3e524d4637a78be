"""The third modality, the whole way: trained on texts, every row evaluated, exported, served to a phone that swaps."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from rich.console import Console

from mnet.export.verify import verify_bundle
from mnet.toolchain.cloud import bulk
from mnet.toolchain.cloud.bulk_parts import Job
from mnet.toolchain.cloud.generation import verify_served
from mnet.toolchain.cloud.signing_keys import create_signing_key
from mnet.toolchain.fleet.processes import PhoneProcess, ServerProcess
from mnet.toolchain.training.config import parse_config
from mnet.toolchain.training.evaluate import evaluate
from mnet.toolchain.training.export_run import export_run
from mnet.toolchain.training.recipe import train
from mnet.toolchain.training.run import load_run
from tests.tasks.texts import SMALL, write_folder

FIT = {"epochs": 2, "learning_rate": 0.01, "batch_size": 16}
ROWS = {"static", "fine-tuning", "prompt", "direct", "metanetwork", "cohort", "default pack"}


def test_a_language_model_is_served_factors_made_from_texts(tmp_path: Path) -> None:
    config = {
        "task": SMALL,
        "data": {"name": "text-folder", "path": str(write_folder(tmp_path / "texts"))},
        "model": {"name": "causal-transformer", "width": 16, "blocks": 1, "heads": 2},
        "static": FIT,
        "fine_tuning": {"learning_rates": [0.01, 0.03, 0.1], "steps": [1]},
        "on_device": ["prompt"],
        "direct": {"fit": FIT},
        "metanetwork": {
            "context": {"name": "text", "width": 8, "channels": 8},
            "start": "static",
            "form": "low-rank",
            "rank": 2,
            "fit": FIT,
        },
    }
    path = tmp_path / "run"
    train(parse_config(config, "this test"), path, Console(quiet=True))
    report = evaluate([path], Console(quiet=True))
    assert set(report["metrics"]) == ROWS
    assert all(0 < row["bits"]["mean"] < 8.5 for row in report["metrics"].values())
    run, bundle = load_run(path), export_run(path, "android", tmp_path / "bundle")
    assert bundle.manifest.generated_bytes == 4 * 2 * 2 * (16 + 16), "factors of two layers travel"
    verify_bundle(bundle)
    verify_served(run, bundle)
    uploads = [["a text", "another"], ["the of and say " * 4], ["abcd äöbc.", "last"]]
    contexts = tmp_path / "contexts.jsonl"
    contexts.write_text("\n".join(json.dumps(upload) for upload in uploads))
    with (
        ServerProcess(path, bundle.path, tmp_path / "server") as server,
        PhoneProcess(server, bundle.path, tmp_path / "phone", samples=str(contexts), once=True) as phone,
    ):
        phone.next_event("stopped", silence_s=240.0)
        events: list[dict[str, Any]] = list(phone.events)
    assert not [event for event in events if event["event"] == "refused"]
    assert [event["version"] for event in events if event["event"] == "swapped"] == [1, 2, 3]
    answered = {event["version"]: event["output"] for event in events if event["event"] == "inferred"}
    with torch.no_grad():
        generated = run.metanetwork.generate(run.task.context(uploads[2]))
        expected = run.metanetwork.call(generated, bundle.golden.inputs[0][0][None])
    torch.testing.assert_close(torch.tensor(answered[3]), expected.flatten(), atol=1e-4, rtol=1e-3)
    _generates_for_a_whole_table(path, bundle.path, uploads, tmp_path)


def _generates_for_a_whole_table(run: Path, bundle: Path, uploads: list[list[str]], folder: Path) -> None:
    """Strings in Parquet; whose cannot be read costs nobody else anything."""
    create_signing_key(folder / "signing.pem")
    table = pa.table({"device": ["aa", "bb", "cc", "dd"], "samples": [*uploads, ["fine", ""]]})
    pq.write_table(table, folder / "contexts.parquet")
    contexts, out, key = (str(folder / name) for name in ("contexts.parquet", "out", "signing.pem"))
    job = Job(str(run), str(bundle), contexts, out, key, issued_at=1_700_000_000, salt="salt")
    assert bulk.generate(job, bulk.plan(job), "local", lambda _: None) == bulk.Done(3, 0, 1)
    (refused,) = (folder / "out").glob("refused-*")
    assert json.loads(refused.read_text())[0]["device"] == "dd"

"""Write the vectors that every implementation of the phone must judge alike: `python -m tests.vectors.write`.

`exported/` has real Android bundles of tiny models: `ranker` (weights by inputs, packs in fp32, a request policy of
ids), `separable` (a 1x1 convolution by inputs, packs in fp16) and `convnet` (convolutions by bytes, packs in int8, a
request policy of vectors). `vectors.json` names the phone (device, pinned keys, time) and lists the vectors: what a
hostile, broken or ordinary network could bring, with the verdict (`accepted`, the name of a refusal, `not_believed`,
`bundle_error` or `user_error`). Bytes are base64; `bundle` is `ranker` unless named. Kinds, by what is judged:

    release   jws, newer_than, now (null: no expiry)        the signed statement alone
    keys      statement                                     the signed statement of a server's keys
    pack      pack                                          the pack against the bundle, without running it
    install   jws, pack                                     the pack against its release
    swap      packs                                         the last of packs swapped in one after the other
    manifest  manifest                                      the bytes of `manifest.json`
    bundle    files (path -> bytes, null: deleted)          the bundle with these files changed
    probe     outputs (dtype, values, scale), probe         the 16 sums, see `mnet.export.format.probe`, to 1e-9
    policy    file                                          the bytes of `policy.safetensors`
    asks      policy, state (what a phone kept, or null),   what a phone does after each sample, of which it uploads the
              samples, window, restarts                     last `window`: `ask` or `wait`; it restarts before each
                                                            chance whose number is in `restarts`

`conversations.json` lists what a server answers step by step, and what a phone then asks, runs and says: see
`tests/vectors/conversations.py`.

The signing key is made for the run and thrown away.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from joserfc.jwk import ECKey

from mnet.export.exporter import export_bundle
from mnet.export.format.bundle import Bundle
from mnet.export.format.manifest import PackDtype
from mnet.export.format.shift import Shift
from mnet.export.lowering.spec import ExportSpec
from mnet.toolchain.contract.keys import public_keys
from tests.export.models import ConvNet, Separable, image_spec
from tests.export.ranker import PackFactory, Ranker, ranker_spec
from tests.vectors import policies
from tests.vectors.blind import blind_vectors, models
from tests.vectors.bundles import bundle_vectors, manifest_vectors
from tests.vectors.conversations import conversation_vectors
from tests.vectors.narrow import half_vectors, int8_vectors
from tests.vectors.packs import install_vectors, pack_vectors, swap_vectors
from tests.vectors.probes import probe_vectors
from tests.vectors.releases import release_vectors
from tests.vectors.statements import statement_vectors
from tests.vectors.vector import DEVICE, NOW, Vector

FOLDER = Path(__file__).parent


def main() -> None:
    """Export the bundles again and write the vectors for them."""
    signing, other = (ECKey.generate_key("P-256", {"kid": kid}, auto_kid=False) for kid in ("key-1", "key-2"))
    phone = {"device": DEVICE, "keys": public_keys(signing), "now": NOW}
    vectors = list(_vectors(signing, other))
    _write("vectors.json", phone, vectors)
    torch.manual_seed(0)
    ranker = Ranker(items=50, width=4).eval()
    bundle = Bundle.load(FOLDER / "exported" / "ranker")
    conversations = list(conversation_vectors(bundle, PackFactory(bundle, ranker), signing, other))
    _write("conversations.json", phone, conversations)
    print(f"{len(conversations)} conversations of {sum(len(each['steps']) for each in conversations)} steps")
    bad = sum(vector["verdict"] != "accepted" for vector in vectors if vector["kind"] != "asks")
    asks = sum(vector["kind"] == "asks" for vector in vectors)
    print(f"{len(vectors)} vectors, {bad} of them bad, {asks} about when to ask")


def _write(name: str, phone: dict[str, Any], vectors: list[Vector]) -> None:
    lines = ",\n".join(json.dumps(vector) for vector in vectors)
    content = f'{{"phone": {json.dumps(phone)}, "vectors": [\n{lines}\n]}}\n'
    (FOLDER / name).write_text(content, encoding="utf-8")


def _vectors(signing: ECKey, other: ECKey) -> Iterator[Vector]:
    torch.manual_seed(0)
    ranker, separable, convnet = Ranker(items=50, width=4).eval(), Separable().eval(), ConvNet().eval()
    bundle = _export("ranker", ranker_spec(ranker), "float32", policies.IDS)
    half = _export("separable", image_spec(separable, separable.generated, "input"), "float16", None)
    int8 = _export("convnet", image_spec(convnet, convnet.generated, "bytes"), "int8", policies.VECTORS)
    yield from release_vectors(bundle, signing, other)
    yield from statement_vectors(bundle, signing, other)
    yield from pack_vectors(bundle)
    yield from install_vectors(bundle, signing)
    yield from swap_vectors(bundle, PackFactory(bundle, ranker))
    yield from half_vectors(half, separable)
    yield from int8_vectors(int8, convnet)
    for name, (model, spec) in models().items():
        yield from blind_vectors(_export(name, spec, "float32", None), model)
    yield from manifest_vectors(bundle, int8)
    yield from bundle_vectors(bundle)
    yield from probe_vectors()
    yield from policies.policy_vectors()
    yield from policies.asks_vectors()


def _export(name: str, spec: ExportSpec, pack_dtype: PackDtype, policy: Shift | None) -> Bundle:
    folder = FOLDER / "exported" / name
    shutil.rmtree(folder, ignore_errors=True)
    return export_bundle(replace(spec, pack_dtype=pack_dtype, policy=policy), "android", folder)


if __name__ == "__main__":
    main()

"""Write the vectors that every implementation of the phone must judge alike: `python -m tests.vectors.write`.

`bundle/` is a real Android bundle of a tiny model. `vectors.json` names the phone (device, pinned keys, time) and lists
the vectors: what a hostile, broken or ordinary network could bring, with the verdict (`accepted`, the name of a
refusal, `not_believed` or `bundle_error`). Bytes are base64. Kinds, by what is judged:

    release   jws, newer_than, now (null: no expiry)        the signed statement alone
    keys      statement                                     the signed statement of a server's keys
    pack      pack                                          the pack against the bundle, without running it
    install   jws, pack                                     the pack against its release
    swap      packs                                         the last of packs swapped in one after the other
    manifest  manifest                                      the bytes of `manifest.json`
    bundle    files (path -> bytes, null: deleted)          the bundle with these files changed

The signing key is made for the run and thrown away.
"""

import json
import shutil
from pathlib import Path

import torch
from joserfc.jwk import ECKey

from export.bundle import Bundle
from export.exporter import export_bundle
from tests.export.ranker import PackFactory, Ranker, ranker_spec
from tests.vectors.bundles import bundle_vectors, manifest_vectors
from tests.vectors.packs import install_vectors, pack_vectors, swap_vectors
from tests.vectors.releases import release_vectors
from tests.vectors.statements import statement_vectors
from tests.vectors.vector import DEVICE, NOW
from toolchain.cloud.keys import public_keys

FOLDER = Path(__file__).parent


def main() -> None:
    """Export the bundle anew and write the vectors for it."""
    bundle, model = _export()
    signing, other = (ECKey.generate_key("P-256", {"kid": kid}, auto_kid=False) for kid in ("key-1", "key-2"))
    phone = {"device": DEVICE, "keys": public_keys(signing), "now": NOW}
    factory = PackFactory(bundle, model)
    vectors = [
        *release_vectors(bundle, signing, other),
        *statement_vectors(bundle, signing, other),
        *pack_vectors(bundle),
        *install_vectors(bundle, signing),
        *swap_vectors(bundle, factory),
        *manifest_vectors(bundle),
        *bundle_vectors(bundle),
    ]
    content = {"phone": phone, "vectors": vectors}
    (FOLDER / "vectors.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    bad = sum(vector["verdict"] != "accepted" for vector in vectors)
    print(f"{len(vectors)} vectors, {bad} of them bad")


def _export() -> tuple[Bundle, Ranker]:
    torch.manual_seed(0)
    model = Ranker(items=50, width=4).eval()
    shutil.rmtree(FOLDER / "bundle", ignore_errors=True)
    return export_bundle(ranker_spec(model), "android", FOLDER / "bundle"), model


if __name__ == "__main__":
    main()

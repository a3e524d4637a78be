"""`python -m pytest`: the model trains, is exported, and takes new weights while it runs."""

from pathlib import Path

import mnet

HERE = Path(__file__).parent
SHORT = ["static.epochs=1", "metanetwork.fit.epochs=1"]


def test_it_trains_exports_and_swaps(tmp_path: Path) -> None:
    run = mnet.train(HERE / "config.yaml", tmp_path / "run", SHORT)
    bundle = mnet.export_run(tmp_path / "run", "android", tmp_path / "bundle")  # verified on the real runtime
    session = mnet.open_session(bundle)
    before = session.run(bundle.golden.inputs[0])[0]
    session.swap(mnet.generate_pack(run, bundle, [1, 2, 3], version=1))
    after = session.run(bundle.golden.inputs[0])[0]
    assert session.version == 1
    assert not before.equal(after)

import sys
import threading
from collections.abc import Iterator, Mapping, Sequence

import pytest
import torch
from torch import Tensor

from mnet.export.format.bundle import Bundle
from mnet.export.format.errors import IntegrityError, Reason, Refused
from mnet.export.format.golden import LEAST_CHANGE, relative_error
from mnet.export.format.packs import write_pack
from mnet.export.lowering.target import Program, Run
from mnet.export.session import Session, open_baked, open_session
from mnet.export.targets import load_program, target_names
from tests.export.ranker import PackFactory, Ranker, random_weights, ranker_bundle


@pytest.fixture(scope="module", params=target_names())
def bundle(request: pytest.FixtureRequest, model: Ranker, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The bundle of each target in turn: a session behaves alike on every runtime."""
    return ranker_bundle(tmp_path_factory, model, request.param)


def same(actual: Sequence[Tensor], expected: Tensor, bundle: Bundle) -> bool:
    """Whether the first output is eager PyTorch's, as exactly as the target computes."""
    return relative_error(actual, [expected], bundle.manifest.scales) <= bundle.manifest.golden.tolerance


def load_fresh(bundle: Bundle) -> Program:
    """The bundle's program, loaded again."""
    return load_program(bundle.path / bundle.manifest.model.program, bundle.manifest)


def test_a_swap_gives_what_eager_pytorch_gives(bundle: Bundle, packs: PackFactory) -> None:
    session = open_session(bundle)
    before = session.run(bundle.golden.inputs[1])[0]
    assert same([before], packs.expected(bundle.default_weights, 1), bundle)
    for version in range(1, 21):
        weights = random_weights(bundle, seed=version)
        session.swap(packs.pack(weights, version))
        after = session.run(bundle.golden.inputs[1])[0]
        assert session.version == version
        assert same([after], packs.expected(weights, 1), bundle)
        change = relative_error([after], [before], bundle.manifest.scales)
        assert change > LEAST_CHANGE * bundle.manifest.golden.tolerance
        before = after


def test_one_changed_parameter_alone_is_swapped(bundle: Bundle, packs: PackFactory) -> None:
    session = open_session(bundle)
    for version, name in enumerate(bundle.default_weights, start=1):
        weights = bundle.default_weights | {name: random_weights(bundle, seed=1)[name]}
        session.swap(packs.pack(weights, version))
        assert same(session.run(bundle.golden.inputs[0]), packs.expected(weights), bundle)


def test_outputs_belong_to_the_caller(bundle: Bundle) -> None:
    session = open_session(bundle)
    first = session.run(bundle.golden.inputs[0])[0]
    kept = first.clone()
    session.run(bundle.golden.inputs[1])
    assert torch.equal(first, kept)


def test_a_snapshot_keeps_its_weights_through_later_swaps(bundle: Bundle, packs: PackFactory) -> None:
    session = open_session(bundle)
    snapshots = [session.live]
    weights = [bundle.default_weights]
    for version in range(1, 5):
        weights.append(random_weights(bundle, seed=version))
        session.swap(packs.pack(weights[-1], version))
        snapshots.append(session.live)
    for snapshot in (*snapshots, *reversed(snapshots)):
        outputs = snapshot.run(bundle.golden.inputs[0])
        assert same(outputs, packs.expected(weights[snapshot.version]), bundle)


def refusal(session: Session, pack: bytes, bundle: Bundle) -> Reason:
    """The reason; and the session must serve on as if nothing had happened."""
    version, before = session.version, session.run(bundle.golden.inputs[0])[0]
    with pytest.raises(Refused) as caught:
        session.swap(pack)
    assert session.version == version
    assert torch.equal(session.run(bundle.golden.inputs[0])[0], before)
    return caught.value.reason


def test_versions_only_rise(bundle: Bundle, packs: PackFactory) -> None:
    session = open_session(bundle)
    assert refusal(session, bundle.default_pack(), bundle) is Reason.STALE_VERSION
    weights = random_weights(bundle, seed=1)
    session.swap(packs.pack(weights, version=5))
    for version in (5, 4, 0):
        assert refusal(session, packs.pack(weights, version), bundle) is Reason.STALE_VERSION
    session.swap(packs.pack(weights, version=6))


def test_what_does_not_fit_is_refused_while_serving(bundle: Bundle, packs: PackFactory) -> None:
    session = open_session(bundle)
    weights = random_weights(bundle, seed=1)
    session.swap(packs.pack(weights, version=1))
    nan = weights | {"head_in.bias": torch.full((16,), torch.nan)}
    bad = write_pack(nan, bundle_id=bundle.id, version=2, generator="", probe=[0.0] * 16)
    assert refusal(session, bad, bundle) is Reason.NOT_FINITE
    assert refusal(session, packs.pack(weights, version=2)[:-1], bundle) is Reason.MALFORMED
    other = write_pack(weights, bundle_id="0" * 64, version=2, generator="", probe=[0.0] * 16)
    assert refusal(session, other, bundle) is Reason.WRONG_BUNDLE


def test_the_probe_catches_weights_other_than_the_packs(bundle: Bundle, packs: PackFactory) -> None:
    session = open_session(bundle)
    weights = random_weights(bundle, seed=1)
    probe = packs.probe(random_weights(bundle, seed=2))
    bad = write_pack(weights, bundle_id=bundle.id, version=1, generator="", probe=probe)
    assert refusal(session, bad, bundle) is Reason.SELF_TEST_FAILED


def test_outputs_that_overflow_are_refused(bundle: Bundle) -> None:
    session = open_session(bundle)
    huge = {name: torch.full_like(value, 3e38) for name, value in bundle.default_weights.items()}
    pack = write_pack(huge, bundle_id=bundle.id, version=1, generator="", probe=[0.0] * 16)
    assert refusal(session, pack, bundle) is Reason.SELF_TEST_FAILED


class StaleProgram:
    """A runtime that keeps the first weights it got, as a cache keyed by name does."""

    def __init__(self, bundle: Bundle) -> None:
        self._program = load_fresh(bundle)
        self._first: Run | None = None

    def bind(self, parameters: Mapping[str, Tensor]) -> Run:
        self._first = self._first or self._program.bind(parameters)
        return self._first


def test_a_runtime_that_keeps_old_weights_is_caught(bundle: Bundle, packs: PackFactory) -> None:
    session = Session(bundle, StaleProgram(bundle), bundle.default_weights)
    pack = packs.pack(random_weights(bundle, seed=1), version=1)
    assert refusal(session, pack, bundle) is Reason.SELF_TEST_FAILED


def test_a_session_does_not_start_on_wrong_outputs(bundle: Bundle) -> None:
    program = load_fresh(bundle)
    with pytest.raises(IntegrityError) as caught:
        Session(bundle, program, random_weights(bundle, seed=1))
    assert caught.value.reason is Reason.SELF_TEST_FAILED


def test_the_baked_model_gives_the_same_without_weights(bundle: Bundle, packs: PackFactory) -> None:
    outputs = open_baked(bundle).run(bundle.golden.inputs[0])
    assert same(outputs, packs.expected(bundle.default_weights), bundle)


def test_inputs_that_do_not_fit_are_a_value_error_and_harm_nothing(bundle: Bundle) -> None:
    session = open_session(bundle)
    history, candidates = bundle.golden.inputs[0]
    before = session.run((history, candidates))[0]
    wrong = [
        (history,),
        (history, candidates, candidates),
        (history[:, :1], candidates),
        (history.int(), candidates),
        (history, torch.full_like(candidates, 10_000)),
    ]
    for inputs in wrong:
        with pytest.raises(ValueError, match="the model"):
            session.run(inputs)
    assert torch.equal(session.run((history, candidates))[0], before)


@pytest.fixture
def eager_switching() -> Iterator[None]:
    """Python changes threads at nearly every step."""
    former = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(former)


@pytest.mark.usefixtures("eager_switching")
def test_swaps_under_running_inference_mix_nothing(
    bundle: Bundle, packs: PackFactory, pytestconfig: pytest.Config
) -> None:
    """Every output must be that of exactly its input under the version that its snapshot names."""
    distinct, swaps = 8, pytestconfig.getoption("swaps")
    weights = [bundle.default_weights, *(random_weights(bundle, seed) for seed in range(1, distinct))]
    expected = [[packs.expected(each, sample) for each in weights] for sample in range(3)]
    prepared = [packs.pack(weights[version % distinct], version) for version in range(1, swaps + 1)]
    session = open_session(bundle)
    done = threading.Event()
    seen: list[tuple[int, int, Tensor]] = []

    def infer(sample: int) -> None:
        while not done.is_set():
            snapshot = session.live
            seen.append((sample, snapshot.version, snapshot.run(bundle.golden.inputs[sample])[0]))

    readers = [threading.Thread(target=infer, args=(sample,)) for sample in range(3)]
    for reader in readers:
        reader.start()
    try:
        for pack in prepared:
            session.swap(pack)
    finally:
        done.set()
        for reader in readers:
            reader.join()
    assert session.version == swaps
    versions = len({version for _, version, _ in seen})
    assert versions > swaps / 20, "the readers saw too few versions to prove anything"
    print(f"{bundle.manifest.target}: {len(seen)} inferences saw {versions} of {swaps} versions")
    wrong = [
        (sample, version)
        for sample, version, output in seen
        if not same([output], expected[sample][version % distinct], bundle)
    ]
    assert wrong == []

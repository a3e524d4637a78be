"""How much memory ranking a catalogue takes at most."""

from mnet.toolchain.data import Interactions
from mnet.toolchain.tasks.answers import WorkingBytes
from mnet.toolchain.tasks.ranking import METRICS
from mnet.toolchain.tasks.recommendation_settings import RecommendationSettings
from mnet.toolchain.tasks.trends import MOMENTS
from mnet.toolchain.tasks.windows import SCORED

# Scores, masked ones, their softmax, and the gradients of these.
COPIES = 6
# Of an interaction: item, time, user, whether it is the first of its item, and what sorting them takes.
ROW = 64
# Of an item: each moment of the trends, five half-lives in bf16; the layers of the generator at a batch's two moments.
STATES, LAYERS = 2 * 5 * MOMENTS, 2 * 800
# Packs that a test scores at a time, where the catalogue leaves room for them.
PACKS = 256


def ranking_bytes(
    data: Interactions, settings: RecommendationSettings, context_length: int, batch_size: int, world: bool
) -> WorkingBytes:
    """As `Task.working_bytes`: scores of each target in a batch for all that it competes with, above all."""
    k, items = settings.refresh, data.n_items
    columns = items if world else settings.negatives_of(items) or items
    targets = batch_size * (k if world else context_length)
    tested = max(1, min(PACKS, SCORED // (k * items)))
    dates = settings.rolling
    rolled = round((1 - dates.train - dates.validation) * len(data.items))
    queries = rolled if settings.protocol == "rolling" else data.n_users
    held = ROW * len(data.items) + (items * (STATES + LAYERS) if world else 0)
    return WorkingBytes(
        training=held + (4 * COPIES * targets + 8 * batch_size) * columns,
        evaluation=held + (4 * COPIES * k + 8) * tested * items,
        # Values in fp64, once by batch, once whole, once in the bootstrap.
        figures=3 * 8 * len(METRICS) * queries,
    )

"""Amazon Video Games, as preprocessed and published with SASRec: 31,013 users, 23,715 items, 287,107 reviews.

Kang and McAuley kept users and items with five reviews or more of the raw set
(McAuley et al., SIGIR 2015). The file has `user item` a line, in time order for each user, and no dates.
"""

from pathlib import Path

from mnet.toolchain.data.download import Source, find
from mnet.toolchain.data.interactions import Interactions
from mnet.toolchain.data.read_table import read_interactions

DATA_SETS = {"amazon-video-games": "load_amazon_video_games"}

NAME = "amazon-video-games"
REPOSITORY = "https://github.com/kang205/SASRec"
SOURCE = Source(
    "https://raw.githubusercontent.com/kang205/SASRec/e3738967fddab206d6eeb4fda433e7a7034dd8b1/data/Video.txt",
    "sha256",
    "b7376fe24430743f411dc7f567285657b2adb3f74361cc7ba0aee94f3024b651",
)


def load_amazon_video_games(path: Path | None = None) -> Interactions:
    """Read the data set from its file, or download it once into the cache. Raises UserError."""
    file = find(NAME, path, "Video.txt", SOURCE, f"Video.txt out of {REPOSITORY}")
    columns = {"user": "user", "item": "item"}
    return read_interactions(NAME, file, columns, header=("user", "item"), delimiter=" ")

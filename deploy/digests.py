"""`make digests`: the digest of each image that this folder names by a tag, as its registry has it now, by Docker.

It replaces the digests that stand there: review the difference, and test before you roll it out.
"""

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

# An image with a tag where files name one: not the image of the project itself, which is built from the Dockerfile.
IMAGE = re.compile(
    r"(?P<where>^\s*(?:FROM|-?\s*image:)\s+[\"']?)(?P<image>(?!mnet:)[\w./-]+:[\w.-]+)(?:@sha256:[0-9a-f]{64})?",
    re.M,
)


@cache
def digest(image: str) -> str:
    """Of all platforms of the image together."""
    asked = ["docker", "buildx", "imagetools", "inspect", image, "--format", "{{.Manifest.Digest}}"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode or not re.fullmatch(r"sha256:[0-9a-f]{64}", done.stdout.strip()):
        sys.exit(f"no digest of {image}: {(done.stderr or done.stdout).strip()}")
    return done.stdout.strip()


for path in sorted(Path(__file__).parent.rglob("*")):
    if path.name == "Dockerfile" or path.suffix in (".yaml", ".yml"):
        text = path.read_text(encoding="utf-8")
        pinned = IMAGE.sub(lambda found: f"{found['where']}{found['image']}@{digest(found['image'])}", text)
        if pinned != text:
            path.write_text(pinned, encoding="utf-8")
            print(path)

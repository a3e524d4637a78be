"""MovieLens 100K from each of its forms, from a server, and what is said about bad input."""

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from toolchain.data.movielens import download, load_movielens_100k
from toolchain.errors import UserError

ROWS = "7\t50\t5\t300\n3\t172\t4\t100\n7\t1\t1\t200\n3\t50\t2\t400\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [("u.data", ROWS), ("ml.inter", "user_id:token\titem_id:token\trating\ttimestamp\n" + ROWS)],
)
def test_both_file_forms_give_the_same_sequences(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    data = load_movielens_100k(tmp_path / name)
    # Films 1, 50, 172 become items 1, 2, 3; every rating counts, in time order.
    assert [data.sequence(user).tolist() for user in range(data.n_users)] == [[3, 2], [1, 2]]
    assert data.times.tolist() == [100, 400, 200, 300]
    assert (data.n_items, data.titles) == (3, None)


def test_a_folder_gives_titles_too(tmp_path: Path) -> None:
    (tmp_path / "u.data").write_text(ROWS)
    (tmp_path / "u.item").write_bytes(
        "1|Toy Story (1995)|x\n50|Star Wars (1977)|x\n172|Les Misérables (1995)|x\n".encode("latin-1")
    )
    assert load_movielens_100k(tmp_path).titles == (
        "Toy Story (1995)",
        "Star Wars (1977)",
        "Les Misérables (1995)",
    )


@pytest.mark.parametrize("line", ["1\t2\t3", "1\tx\t3\t4", "", "1,2,3,4"])
def test_a_malformed_line_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "u.data"
    file.write_text(f"{ROWS}{line}\n")
    with pytest.raises(UserError, match=r"u\.data, line 5: expected user, item, rating and timestamp"):
        load_movielens_100k(file)


def test_a_missing_or_empty_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"u\.data does not exist"):
        load_movielens_100k(tmp_path)
    (tmp_path / "u.data").touch()
    with pytest.raises(UserError, match="holds no interactions"):
        load_movielens_100k(tmp_path)


class Site:
    """A loopback server of one archive; counts what it is asked for."""

    def __init__(self, body: bytes) -> None:
        site = self
        self.body = body
        self.requests = 0

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.requests += 1
                self.send_response(200)
                self.send_header("content-length", str(len(site.body)))
                self.end_headers()
                self.wfile.write(site.body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/ml-100k.zip"


@pytest.fixture
def site() -> Iterator[Site]:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        archive.writestr("ml-100k/u.data", ROWS)
        archive.writestr("ml-100k/u.item", "1|Toy Story (1995)|x\n50|Star Wars|x\n172|Empire|x\n")
    site = Site(body.getvalue())
    thread = threading.Thread(target=site.server.serve_forever)
    thread.start()
    yield site
    site.server.shutdown()
    site.server.server_close()
    thread.join()


def md5(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def test_it_is_downloaded_once(site: Site, tmp_path: Path) -> None:
    folders = [download(site.url, md5(site.body), tmp_path) for _ in range(2)]
    assert folders[0] == folders[1]
    assert site.requests == 1
    assert load_movielens_100k(folders[0]).titles == ("Toy Story (1995)", "Star Wars", "Empire")
    assert sorted(file.name for file in folders[0].iterdir()) == ["u.data", "u.item"]


def test_another_archive_is_refused_and_not_kept(site: Site, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"has MD5 {md5(site.body)}, expected 0e33"):
        download(site.url, into=tmp_path)
    assert not list((tmp_path / "ml-100k").iterdir())


def test_without_a_server_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="download it yourself and give its folder with --data"):
        download("http://127.0.0.1:1/ml-100k.zip", into=tmp_path)

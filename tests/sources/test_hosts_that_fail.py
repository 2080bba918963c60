"""Files at URLs that change, vanish, or whose host is busy or away, after they were pinned."""

import hashlib
import io
import tarfile
import threading
import traceback
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from variorum.machine.memo import DiskMemo
from variorum.schemas.component import Context, Source
from variorum.schemas.errors import SourceChanged, SourceError, TemporaryError, VariorumError
from variorum.sources.parquet import Parquet
from variorum.sources.web import hosts
from variorum.sources.webdataset import Webdataset
from variorum.stages.job import models

SECRET = "geheim1234567890"


@pytest.fixture
def ctx(tmp_path, own_cache, monkeypatch) -> Context:
    monkeypatch.setattr(hosts, "WAITS", (0.0, 0.0))
    return Context(0, models("embedded"), DiskMemo(tmp_path / "memo"))


def png(value: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((8, 12, 3), value, np.uint8)).save(stream, "PNG", compress_level=0)
    return stream.getvalue()


def tar(values) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for number, value in enumerate(values):
            info = tarfile.TarInfo(f"{number}.png")
            info.size = len(png(value))
            archive.addfile(info, io.BytesIO(png(value)))
    return stream.getvalue()


def parquet(values) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table({"image": [png(value) for value in values]}), stream, compression="none")
    return stream.getvalue()


class Handler(BaseHTTPRequestHandler):
    """One file, whose content, version and answers the test sets."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer(b"")

    def do_GET(self):
        self.answer(self.server.data)

    def answer(self, data: bytes) -> None:
        host = self.server
        if host.away:
            self.close_connection = True
            return
        status = next(host.statuses, 200)
        if status != 200:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start, stop = 0, len(host.data)
        if (wanted := self.headers.get("Range")) and host.ranges:
            first, last = wanted.removeprefix("bytes=").split("-")
            start, stop = int(first), min(int(last or stop) + 1, stop)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(host.data)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(stop - start))
        if host.ranges:
            self.send_header("Accept-Ranges", "bytes")
        if host.tagged:
            self.send_header("ETag", f'"{hashlib.md5(host.data).hexdigest()}"')
        self.end_headers()
        self.wfile.write(data[start:stop])


class Host(ThreadingHTTPServer):
    data = b""
    statuses: Iterator[int] = iter(())
    ranges = True
    tagged = True
    away = False

    def handle_error(self, *_):
        """A client that hangs up is no error."""


@pytest.fixture
def host():
    with Host(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


KINDS = {"tar": (tar, Webdataset, "shards"), "parquet": (parquet, Parquet, "files")}
every_kind = pytest.mark.parametrize("kind", list(KINDS))


def source_at(host: Host, kind: str) -> Source:
    _, component, field = KINDS[kind]
    return component(**{field: f"http://me:{SECRET}@127.0.0.1:{host.server_port}/a.{kind}?token={SECRET}"})


def planned(host: Host, kind: str, ctx: Context) -> Source:
    host.data = KINDS[kind][0](range(4))
    source = source_at(host, kind)
    source.pin(ctx)
    assert source.size(ctx) == 4
    return source


def images(source: Source, ctx: Context) -> list[bytes]:
    return [item.image for item in source.read(0, 4, ctx)]


def raised(kind: type[VariorumError], source: Source, ctx: Context) -> str:
    """The error's message. Nobody's password may be in it, nor in the traceback that `--debug` shows."""
    with pytest.raises(kind) as caught:
        list(source.read(0, 4, ctx))
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@every_kind
def test_another_version_of_the_same_length_is_an_error(kind, host, ctx):
    source = planned(host, kind, ctx)
    assert images(source, ctx) == [png(value) for value in range(4)]
    host.data = KINDS[kind][0]([9, 1, 2, 3])
    assert "has changed since the run began" in raised(SourceChanged, source, ctx)
    again = source_at(host, kind)
    assert again.pin(ctx) != source.pin(ctx)
    assert images(again, ctx)[0] == png(9)


@every_kind
@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_file_that_may_not_be_had_any_more_is_a_change(kind, status, host, ctx):
    source = planned(host, kind, ctx)
    host.statuses = iter([status] * 99)
    assert f"127.0.0.1:{host.server_port}/a.{kind}" in raised(SourceChanged, source, ctx)


@every_kind
@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_busy_host_is_asked_again_and_then_the_run_stops(kind, status, host, ctx):
    source = planned(host, kind, ctx)
    healthy = images(source, ctx)
    host.statuses = iter([status])
    assert images(source, ctx) == healthy
    host.statuses = iter([status] * 99)
    assert "run the same command again" in raised(TemporaryError, source, ctx)
    host.statuses = iter(())
    assert images(source, ctx) == healthy
    host.statuses = iter([status] * 99)
    again = source_at(host, kind)
    with pytest.raises(TemporaryError) as caught:
        again.pin(ctx)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    host.statuses = iter(())
    assert again.pin(ctx) == source.pin(ctx)


@every_kind
def test_a_host_that_is_away_is_no_data(kind, host, ctx):
    source = planned(host, kind, ctx)
    port = host.server_port
    host.away = True
    raised(TemporaryError, source, ctx)
    with pytest.raises(TemporaryError, match=f"http://127.0.0.1:{port}/a"):
        source_at(host, kind).size(ctx)


@every_kind
def test_a_missing_file_is_one_line(kind, host, ctx):
    host.statuses = iter([404] * 99)
    with pytest.raises(SourceError, match=f"a.{kind}") as caught:
        source_at(host, kind).pin(ctx)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_host_without_ranges_and_versions_gives_the_whole_file_which_is_hashed(host, ctx):
    host.ranges = host.tagged = False
    source = planned(host, "tar", ctx)
    assert images(source, ctx) == [png(value) for value in range(4)]
    other = planned(host, "tar", ctx)
    host.data = tar([9, 1, 2, 3])
    from variorum.sources.tars import ranges as remote

    remote._copy.cache_clear()
    assert "another content" in raised(SourceChanged, other, ctx)


def test_what_passes_and_what_stays():
    import socket

    for error in (TimeoutError(), ConnectionResetError(), socket.gaierror(-3, "try again"), MemoryError()):
        assert hosts.host_may_pass(error)
    for error in (FileNotFoundError(2, "no"), PermissionError(13, "no"), ValueError("no"), OSError("damaged")):
        assert not hosts.host_may_pass(error)
    chained = FileNotFoundError("http://x")
    chained.__cause__ = TimeoutError()
    assert hosts.host_may_pass(chained)
    assert not hosts.host_may_pass(ConnectionError("Couldn't reach 'x' on the Hub (OfflineModeIsEnabled)"))

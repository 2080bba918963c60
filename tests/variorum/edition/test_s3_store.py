"""A store in a bucket of a real S3 server: conditional writes, large uploads, old listings, faults of networks."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from s3_faults import Answer, Asked, Gateway, Pass, gateway, refused, times
from s3_server import BUCKET, READER, STRANGER, Key, Server, use

from variorum.edition import bucket as remote
from variorum.edition.gc import collect, unnamed
from variorum.edition.store import Store
from variorum.pipeline import Job, build
from variorum.schemas.errors import CorruptShard, StoreError, TemporaryError
from variorum.schemas.manifest import Receipt, ShardInfo
from variorum.schemas.recipe import Recipe

pytestmark = pytest.mark.slow


@pytest.fixture
def url() -> str:
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"


@pytest.fixture
def there(s3_server: Server, monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> Server:
    use(monkeypatch, s3_server)
    return s3_server


@pytest.fixture
def through(s3_server: Server, monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> Iterator[Gateway]:
    with gateway(s3_server) as found:
        use(monkeypatch, found.server)
        yield found


def made(store: Store, number: int, content: bytes = b"") -> Receipt:
    table = store.keep_bytes(content or b"table %d" % number, ".parquet", samples=1)
    unit = hashlib.sha256(b"unit %d" % number).hexdigest()
    return store.put_receipt(Receipt(unit=unit, start=0, stop=1, shards={}, members=[], rows=table, made={"by": "me"}))


# ── once only ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_of_many_that_write_one_receipt_one_wins(there, url):
    stores = [Store(url) for _ in range(8)]
    for round_ in range(2):
        barrier, won = threading.Barrier(8), []

        def put(who: int, round_: int = round_, barrier: threading.Barrier = barrier, won: list[str] = won) -> None:
            table = ShardInfo(sha256=hashlib.sha256(b"x").hexdigest(), size=1, samples=1)
            unit = hashlib.sha256(b"%d" % round_).hexdigest()
            mine = Receipt(unit=unit, start=0, stop=1, shards={}, members=[], rows=table, made={"by": str(who)})
            barrier.wait()
            won.append(str(stores[who].put_receipt(mine).made["by"]))

        stores[0].keep_bytes(b"x", ".parquet", samples=1)
        threads = [threading.Thread(target=put, args=(who,)) for who in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 8
        assert len(set(won)) == 1


def test_a_conditional_write_of_a_large_file_is_refused_when_it_ends(there, tmp_path, url):
    store = Store(url)
    (tmp_path / "large").write_bytes(os.urandom(1 << 20) * 11)
    target = f"{store.root}/large"
    store.fs.put_file(str(tmp_path / "large"), target, chunksize=5 << 20, mode="create")
    with pytest.raises(OSError, match="pre-conditions"):
        store.fs.put_file(str(tmp_path / "large"), target, chunksize=5 << 20, mode="create")
    assert list(remote.unfinished_uploads(store.fs, store.root)) == []


@pytest.mark.parametrize("says_so", [True, False])
def test_a_server_without_conditional_writes_is_told(through, url, caplog, says_so):
    def ignore(asked: Asked, forward: Pass) -> Answer:
        if not asked.conditional:
            return forward(asked)
        return refused(501, "NotImplemented") if says_so else Answer(200, headers={"ETag": '"0"'})

    through.fault = ignore
    with caplog.at_level(logging.WARNING):
        store = Store(url)
    assert "let only one process at a time write to it" in caplog.text
    assert store.put_if_absent("a.json", b"1")
    assert not store.put_if_absent("a.json", b"2")
    assert store.read("a.json") == b"1"


def test_the_answer_to_a_write_gets_lost(through, url):
    store = Store(url)

    def lose(asked: Asked, forward: Pass) -> None:
        forward(asked)

    through.fault = times(1, lose, lambda asked: asked.method == "PUT" and "/units/" in asked.path)
    receipt = made(store, 1)
    assert store.receipt(receipt.unit) == receipt
    assert sum("/units/" in asked.path and asked.method == "PUT" for asked in through.asked) == 2


# ── what is large ────────────────────────────────────────────────────────────────────────────────────────────────────


def large(store: Store, megabytes: int = 40) -> ShardInfo:
    with store.temporary(".tar") as path:
        path.write_bytes(os.urandom(1 << 20) * megabytes)
        return store.keep(path, sha256=hashlib.sha256(path.read_bytes()).hexdigest(), samples=1)


def test_a_large_shard_goes_in_parts_and_comes_back(through, url):
    store = Store(url)
    info = large(store)
    parts = [asked for asked in through.asked if "partNumber=" in asked.path]
    assert [len(asked.body) for asked in sorted(parts, key=lambda one: one.path)] == [16 << 20, 16 << 20, 8 << 20]
    assert hashlib.sha256(store.path(info).read_bytes()).hexdigest() == info.sha256
    assert Store(url, writable=False).hash(info, ".tar") == info.sha256


@pytest.mark.parametrize("megabytes", [1, 40])
def test_bytes_that_change_on_their_way_are_sent_again(through, url, megabytes):
    def spoil(asked: Asked, forward: Pass) -> Answer:
        place = len(asked.body) // 2
        changed = bytes([asked.body[place] ^ 1])
        return forward(
            Asked(asked.method, asked.path, asked.headers, asked.body[:place] + changed + asked.body[place + 1 :])
        )

    store = Store(url)
    through.fault = times(1, spoil, lambda asked: asked.method == "PUT" and len(asked.body) > 1000)
    info = large(store, megabytes)
    assert store.hash(info, ".tar") == info.sha256
    through.fault = times(1, spoil, lambda asked: asked.method == "PUT" and "/units/" in asked.path)
    receipt = made(store, 1)
    assert store.receipt(receipt.unit) == receipt


def test_parts_of_a_killed_process_are_found_and_removed(there, url):
    store = Store(url)
    name = f"{store.root}/objects/{'0' * 64}.tar"
    _, key = remote.bucket_of(name)
    number = store.fs.call_s3("create_multipart_upload", Bucket=BUCKET, Key=key)["UploadId"]
    store.fs.call_s3("upload_part", Bucket=BUCKET, Key=key, UploadId=number, PartNumber=1, Body=b"x" * 1000)
    kept = made(store, 1)
    assert unnamed(store, 3600) == []  # another process may be at it
    (found,) = unnamed(store, 0)
    assert (found.kind, found.name, found.size) == ("uploads", f"objects/{'0' * 64}.tar", 1000)
    assert abs(found.changed - time.time()) < 600
    assert [one.kind for one in collect(store, 0)] == ["uploads"]
    assert unnamed(store, 0) == []
    assert store.whole(kept.files())


# ── listings, and what others change ─────────────────────────────────────────────────────────────────────────────────


def test_an_old_listing_neither_repeats_work_nor_hides_what_is_gone(through, url):
    store = Store(url)
    files = [file for number in range(10) for file in made(store, number).files()]
    first: list[Answer] = []

    def remember(asked: Asked, forward: Pass) -> Answer:
        if not asked.listing or "objects" not in asked.path:
            return forward(asked)
        first.append(first[0] if first else forward(asked))
        return first[0]

    through.fault = remember
    assert store.whole(files)
    files += [file for number in range(10, 20) for file in made(store, number).files()]
    assert store.whole(files), "the listing has ten of twenty"
    assert len(first) == 1
    info, suffix = files[3]
    store.fs.rm_file(store.object(info, suffix))
    other = Store(url)
    (own,) = Path(other.scratch.parent / "objects").glob(f"{info.sha256}*")
    own.unlink()
    assert other.whole(files), "the listing still has it"
    with pytest.raises(CorruptShard, match="no file; run the recipe again"):
        other.path(info, suffix)
    assert not other.whole(files)
    made(other, 3)
    assert other.whole(files)


def test_records_are_found_by_divided_listings_and_removed_together(there, url, monkeypatch):
    monkeypatch.setattr("variorum.edition.store.FEW", 2)
    monkeypatch.setattr("variorum.edition.store.MANY", 4)
    store = Store(url)
    receipts = {one.unit: one for one in (made(store, number) for number in range(8))}
    assert Store(url).receipts([*receipts, "0" * 64]) == receipts
    unit = next(iter(receipts))
    assert store.finished([unit, f"{unit[:32]}{'0' * 32}"], unit[:32]) == {unit}
    files = [file for one in receipts.values() for file in one.files()]
    assert store.whole(files)
    store.drop_parts([*receipts.values()])
    assert store.recorded("units", many=True) == set()
    assert store.sound(files) == set()


def test_signs_of_patterns_in_a_prefix_mean_themselves_when_files_are_removed(there, url):
    store, other = Store(f"{url}[ab]*"), Store(f"{url}a")
    kept = [made(one, 1) for one in (store, other)][1]
    store.drop_parts([kept, made(store, 2)])
    assert store.recorded("units") == set()
    assert other.receipt(kept.unit) == kept
    assert other.whole(kept.files())


@pytest.mark.parametrize(
    ("code", "kind", "said"), [("AccessDenied", StoreError, "DeleteObject"), ("SlowDown", TemporaryError, "slow")]
)
def test_a_file_that_the_server_does_not_remove_is_told(through, url, monkeypatch, code, kind, said):
    monkeypatch.setattr(remote, "PAUSES", (0, 0))
    store = Store(url)
    receipt = made(store, 1)
    key = store.object(receipt.rows, ".parquet").partition("/")[2]
    body = f"<DeleteResult><Error><Key>{key}</Key><Code>{code}</Code><Message>slow</Message></Error></DeleteResult>"

    def keep(asked: Asked, forward: Pass) -> Answer:
        return Answer(200, body.encode())

    through.fault = times(1, keep, lambda asked: "delete" in asked.path)
    store.drop_parts([receipt])  # it is asked again for the one that is left
    assert store.sound(receipt.files()) == set()
    through.fault = times(9, keep, lambda asked: "delete" in asked.path)
    with pytest.raises(kind, match=said):
        store.drop_parts([receipt])


@pytest.mark.parametrize("part", [16 << 20, 5 << 20])
def test_a_large_file_does_not_replace_one_that_came_meanwhile(there, url, monkeypatch, tmp_path, part):
    monkeypatch.setattr(remote, "PART", part)
    monkeypatch.setattr(remote, "size", lambda *_: None)  # as if both looked before either wrote
    store = Store(url)
    for number, new in ((1, True), (2, False)):
        with store.temporary(".csv") as file:
            file.write_bytes(b"%d" % number * (11 << 20))
            assert store.put_file_if_absent("queue.csv", file) == new
    assert store.read("queue.csv")[:1] == b"1"
    assert list(remote.unfinished_uploads(store.fs, store.root)) == []


def test_others_see_what_was_written_at_once(there, url):
    reader = Store(url, writable=False)
    assert reader.listed("editions/*/*/manifest.json") == []
    for number in range(3):
        writer = Store(url)
        writer.put(f"editions/d/{number}.0.0/manifest.json", b"{}")
        assert len(reader.listed("editions/*/*/manifest.json")) == number + 1
        assert reader.read(f"editions/d/{number}.0.0/manifest.json") == b"{}"


def test_a_damaged_object_is_made_again(there, url, photos):
    fields = {"dataset": "d", "version": "1.0.0", "samples_per_shard": 4}
    recipe = Recipe.parse({**fields, "source": {"name": "image_folder", "path": str(photos)}})
    store = Store(url)
    before = build(Job(recipe, store))
    info = before.shards["test"][0]
    store.fs.pipe_file(store.object(info, ".tar"), b"\1" * info.size)
    with pytest.raises(CorruptShard, match="its name; run the recipe again"):
        store.path(info)
    assert build(Job(recipe, Store(url))).digest() == before.digest()
    assert Store(url).hash(info, ".tar") == info.sha256
    assert store.fs.size(f"{store.root}/damaged/{info.sha256}.tar") == info.size


# ── faults ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def hang_up(asked: Asked, forward: Pass) -> None:
    return None


def cut(asked: Asked, forward: Pass) -> Answer:
    answer = forward(asked)
    answer.cut = len(answer.body) // 2
    return answer


@pytest.mark.parametrize(
    "fault",
    [
        lambda asked, forward: refused(503, "SlowDown"),
        lambda asked, forward: refused(500, "InternalError"),
        lambda asked, forward: refused(409, "ConditionalRequestConflict") if asked.conditional else forward(asked),
        hang_up,
        cut,
    ],
    ids=["busy", "internal", "conflict", "hangs up", "cut"],
)
def test_faults_that_pass_are_got_over(through, url, fault):
    store = Store(url)
    places = ("/objects/", "/units/")
    through.fault = times(1, fault, lambda asked: any(place in asked.path for place in places))
    receipt = made(store, 1)
    through.fault = times(1, fault, lambda asked: asked.method == "GET")
    assert store.receipt(receipt.unit) == receipt
    through.fault = times(1, fault, lambda asked: asked.method == "GET")
    other = Store(url)
    (own,) = Path(other.scratch.parent / "objects").iterdir()
    own.unlink()
    assert other.path(receipt.rows, ".parquet").read_bytes() == b"table 1"


def test_faults_that_stay_are_said_in_one_line(through, url, monkeypatch):
    monkeypatch.setitem(remote.CONNECTION, "retries", {"mode": "standard", "total_max_attempts": 1})
    store = Store(url)
    through.fault = lambda asked, forward: refused(500, "InternalError")
    said = r"^store s3://.*it doesn't do its work now \(InternalError.*\); finished work is kept"
    for work in (
        lambda: store.read("a"),
        lambda: store.put("a", b""),
        lambda: made(store, 1),
        lambda: unnamed(store, 0),
    ):
        with pytest.raises(TemporaryError, match=said):
            work()


@pytest.mark.parametrize(
    ("key", "changes", "kind", "said"),
    [
        (STRANGER, {}, StoreError, r"bucket variorum forbids it; give this key the right s3:ListBucket"),
        (READER, {}, StoreError, r"bucket variorum forbids it; give this key the right s3:PutObject"),
        (
            Key("NOBODYHASTHISKEY", "x" * 30, ()),
            {},
            StoreError,
            "it doesn't know the access key; set AWS_ACCESS_KEY_ID",
        ),
        (Key(READER.access, "x" * 30, ()), {}, StoreError, "the secret key doesn't belong to the access key"),
        (None, {"AWS_ACCESS_KEY_ID": ""}, StoreError, "no keys found; set AWS_ACCESS_KEY_ID"),
        (None, {"AWS_PROFILE": "nosuch"}, StoreError, "AWS_PROFILE names a profile that isn't there"),
        (None, {"AWS_ENDPOINT_URL_S3": "nonsense"}, StoreError, "Invalid endpoint: nonsense; set AWS_ENDPOINT_URL_S3"),
        (None, {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}, TemporaryError, "Could not connect to the endpoint URL"),
    ],
    ids=["stranger", "reader", "unknown", "wrong secret", "no keys", "profile", "endpoint", "unreachable"],
)
def test_what_is_wrong_is_known_early(s3_server, monkeypatch, own_cache, url, key, changes, kind, said):
    monkeypatch.setitem(remote.CONNECTION, "retries", {"mode": "standard", "total_max_attempts": 1})
    use(monkeypatch, s3_server.seen_by(key) if key else s3_server)
    for name, value in changes.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    with pytest.raises(kind, match=rf"^store {url}: .*{said}") as error:
        Store(url)
    assert "\n" not in str(error.value)
    assert not any(word in str(error.value) for word in (READER.secret, STRANGER.secret, "xxxxx"))


def test_a_clock_that_is_wrong(there, monkeypatch, url):
    import datetime

    import botocore.auth

    now, hour = botocore.auth.get_current_datetime, datetime.timedelta(hours=1)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *words, **more: now(*words, **more) - hour)
    with pytest.raises(StoreError, match=r"the clock of this machine differs from the server's .* timedatectl"):
        Store(url)


def test_other_buckets(there):
    with pytest.raises(
        StoreError, match=r"there is no bucket mistyped at http://127\.0\.0\.1:\d+; make it, or correct"
    ):
        Store("s3://mistyped/store")
    with pytest.raises(StoreError, match="no bucket has such a name"):
        Store("s3://no such name/store")
    for prefix in ("/a", "a//b", "a/../b", ".", "a\\b", "a\nb"):
        with pytest.raises(StoreError, match="servers change such a prefix"):
            Store(f"s3://variorum/{prefix}")
    with pytest.raises(StoreError, match="keys don't belong in the URL of a bucket") as error:
        Store(f"s3://{READER.access}:{READER.secret}@variorum/store")
    assert READER.secret not in str(error.value)
    assert READER.access not in str(error.value)


def test_who_may_only_read_reads(there, s3_server, monkeypatch, url):
    receipt = made(Store(url), 1)
    use(monkeypatch, s3_server.seen_by(READER))
    store = Store(url, writable=False)
    assert store.receipt(receipt.unit) == receipt
    assert store.path(receipt.rows, ".parquet").read_bytes() == b"table 1"
    with pytest.raises(StoreError, match="give this key the right s3:PutObject, or choose another place with --store"):
        store.put("a", b"")

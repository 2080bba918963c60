import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from variorum.machine.memo import DiskMemo

KEY = "ab" * 32


def arrays() -> dict[str, np.ndarray]:
    return {"mask": np.arange(48, dtype=np.uint8).reshape(6, 8), "box": np.array([0.25, 0.5], np.float32)}


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(
        np.array_equal(one[name], other[name]) and one[name].dtype == other[name].dtype for name in one
    )


def never():
    raise AssertionError("computed again")


def test_a_result_is_stored(tmp_path):
    assert same(DiskMemo(tmp_path)(KEY, arrays), arrays())
    assert same(DiskMemo(tmp_path)(KEY, never), arrays())


def test_threads_compute_a_key_once(tmp_path):
    memo, barrier, calls = DiskMemo(tmp_path), threading.Barrier(8), []

    def compute():
        calls.append(1)
        return arrays()

    def ask(_):
        barrier.wait()
        return memo(KEY, compute)

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(ask, range(8)))
    assert len(calls) == 1
    assert all(same(result, arrays()) for result in results)


def test_locks_are_deleted_after_use(tmp_path):
    memo = DiskMemo(tmp_path)
    for number in range(20):
        memo(f"{number:064x}", arrays)
        memo(f"{number:064x}", never)
    with pytest.raises(ZeroDivisionError):
        memo("ff" * 32, lambda: 1 / 0)
    assert memo._locks == {}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    memo = DiskMemo(tmp_path_factory.mktemp("memo"))
    memo(KEY, arrays)
    path = memo.folder / KEY[:2] / f"{KEY}.npz"
    return memo, path, path.read_bytes()


@given(st.data())
def test_a_truncated_file_is_computed_again(kept, data):
    memo, path, whole = kept
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    assert same(memo(KEY, arrays), arrays())
    assert path.read_bytes()[:2] == b"PK"


@given(st.data())
def test_a_file_damaged_anywhere_gives_the_right_arrays(kept, data):
    memo, path, whole = kept
    content = bytearray(whole)
    content[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    found = memo(KEY, arrays)  # a few header bytes (times, versions) don't matter
    assert all(np.array_equal(found[name], value) for name, value in arrays().items() if name in found)
    path.write_bytes(whole)


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x93NUMPY\x01\x00", b"\x80\x04pickle"])
def test_a_file_with_other_content_is_computed_again(kept, content):
    memo, path, _ = kept
    path.write_bytes(content)
    assert same(memo(KEY, arrays), arrays())


def test_an_unwritable_folder_only_costs_time(tmp_path):
    (tmp_path / "memo").write_bytes(b"a file")
    assert same(DiskMemo(Path(tmp_path / "memo"))(KEY, arrays), arrays())

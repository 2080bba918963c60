import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from variorum.machine import workplace
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
    assert same(memo(KEY, never), arrays())


@given(st.data())
def test_a_file_damaged_anywhere_is_computed_again(kept, data):
    memo, path, whole = kept
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    calls = []
    assert same(memo(KEY, lambda: (calls.append(1), arrays())[1]), arrays())
    assert bool(calls) == (content != whole)
    assert same(memo(KEY, never), arrays())


def test_a_single_bit_counts_wherever_it_is(kept):
    memo, path, whole = kept
    missed = 0
    for place in range(0, len(whole), 3):
        content = bytearray(whole)
        content[place] ^= 1 << place % 8
        path.write_bytes(content)
        calls = []
        missed += not same(memo(KEY, lambda calls=calls: (calls.append(1), arrays())[1]), arrays()) or not calls
    assert missed == 0


def test_an_entry_under_the_name_of_another_is_computed_again(tmp_path):
    memo, other = DiskMemo(tmp_path), "ac" + KEY[2:]
    memo(KEY, arrays)
    path = tmp_path / other[:2] / f"{other}.npz"
    path.parent.mkdir()
    path.write_bytes((tmp_path / KEY[:2] / f"{KEY}.npz").read_bytes())
    assert same(memo(other, lambda: {"mask": np.zeros(3)}), {"mask": np.zeros(3)})


def test_an_entry_of_an_older_version_is_replaced_without_a_word(tmp_path, caplog):
    path = tmp_path / KEY[:2] / f"{KEY}.npz"
    path.parent.mkdir()
    np.savez_compressed(path, **arrays())
    memo = DiskMemo(tmp_path)
    for compute in (arrays, never):
        assert same(memo(KEY, compute), arrays())
    assert not caplog.records


def test_a_damaged_entry_is_named(kept, caplog):
    memo, path, whole = kept
    path.write_bytes(whole[:50] + b"!" + whole[51:])
    assert same(memo(KEY, arrays), arrays())
    assert [record.getMessage() for record in caplog.records] == [f"memo {path} is damaged and is computed again"]


WRITER = """
import os, sys
from pathlib import Path
import numpy as np
from variorum.machine.memo import DiskMemo
Path.replace = lambda *places: os.kill(os.getpid(), 9)
DiskMemo(Path(sys.argv[1]))(sys.argv[2], lambda: {"a": np.zeros(9)})
"""


def test_what_a_killed_process_left_goes_with_the_next_entry(tmp_path, monkeypatch):
    done = subprocess.run([sys.executable, "-c", WRITER, str(tmp_path), KEY], check=False)
    assert done.returncode == -signal.SIGKILL
    folder = tmp_path / KEY[:2]
    (folder / "x.12-34.part").write_bytes(b"of an older version")
    os.utime(folder / "x.12-34.part", (0, 0))
    assert len(list(folder.iterdir())) == 2
    monkeypatch.setattr(workplace, "_SWEPT", set())
    assert same(DiskMemo(tmp_path)(KEY, arrays), arrays())
    assert [path.name for path in folder.iterdir()] == [f"{KEY}.npz"]


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x93NUMPY\x01\x00", b"\x80\x04pickle"])
def test_a_file_with_other_content_is_computed_again(kept, content):
    memo, path, _ = kept
    path.write_bytes(content)
    assert same(memo(KEY, arrays), arrays())


def test_an_unwritable_folder_only_costs_time(tmp_path):
    (tmp_path / "memo").write_bytes(b"a file")
    assert same(DiskMemo(Path(tmp_path / "memo"))(KEY, arrays), arrays())

"""SQL that gives the same verdicts on every run: what a query may contain, and the columns that it reads.

A database works in several threads and in any order. A sum of floating-point numbers, the first of equal rows or a
random number then differ from run to run, and so would the verdicts. A query is therefore taken apart by DuckDB's own
parser, and whatever isn't known to be independent of the order is refused.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

from variorum.machine.cache import cache_dir
from variorum.schemas.errors import RecipeError, TemporaryError
from variorum.schemas.extras import needs
from variorum.schemas.lookup import cut

PICTURES = "pictures"
"""The table that a query reads: one row for each picture."""
WHERE = "curate.sql.query"
MEMORY = "1GiB"
"""What DuckDB may hold; it writes what is beyond that to the cache folder."""
SHARE = 0.5
"""Of the free space there that it may fill."""
THREADS = 4
"""At most, as each thread needs a share of the memory."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


SCALARS = _words(
    "+ - * / // % ** ^ || ~~ !~~ ~~* !~~* abs ceil floor round trunc sign sqrt ln log log2 log10 exp pow greatest "
    "least isnan isfinite isinf nullif ifnull if length lower upper trim contains starts_with ends_with substring left "
    "right replace split_part concat regexp_matches regexp_full_match regexp_extract list_contains md5 sha256"
)
"""Functions and operators of one row; comparisons, AND, CASE, COALESCE, IN, BETWEEN and CAST come on top."""
AGGREGATES = _words(
    "count count_star count_if min max bool_and bool_or median quantile_cont quantile_disc mad rank dense_rank "
    "percent_rank cume_dist"
)
"""Aggregates and window functions whose results don't depend on the order of the rows."""
SUMS = _words("sum avg")
"""They do, for floating-point numbers."""
PLACES = _words("row_number ntile lag lead first_value last_value nth_value")
"""Window functions that tell equal rows apart, so the last thing that they sort by must be the id."""
EXACT = _words("DECIMAL TINYINT SMALLINT INTEGER BIGINT HUGEINT")
"""Types whose sums are exact."""
TYPES = EXACT | _words("FLOAT DOUBLE BOOLEAN BOOL VARCHAR TEXT")
"""Types that CAST may give; a date may be that of today."""
CLASSES = _words(
    "COLUMN_REF CONSTANT COMPARISON CONJUNCTION OPERATOR FUNCTION CAST TYPE CASE BETWEEN WINDOW SUBQUERY STAR"
)
NODES = _words(
    "SELECT_NODE SET_OPERATION_NODE BASE_TABLE SUBQUERY JOIN EMPTY EXPRESSION_LIST ORDER_MODIFIER LIMIT_MODIFIER "
    "DISTINCT_MODIFIER ORDER_DEFAULT ASCENDING DESCENDING"
)
"""Kinds of expressions, and of everything else, in what the parser gives."""
CLOCK = re.compile(r"current_.*|local.*|(session_)?user", re.IGNORECASE)
"""Names that stand for the time or the user if no column has them."""


@contextmanager
def opened() -> Iterator[Any]:
    """A DuckDB of its own that reads no file, has no network and can't be configured any further.

    Raises:
        RecipeError: DuckDB isn't installed, or refuses the SQL.
        TemporaryError: the disk is full, or the memory too small.
    """
    try:
        import duckdb
    except ImportError:
        raise RecipeError(needs("curate.sql", "duckdb")) from None
    config: dict[str, Any] = {
        "memory_limit": MEMORY,
        "temp_directory": str(cache_dir() / "duckdb"),
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "python_enable_replacements": False,  # a table's name never stands for a Python variable
    }
    room = f"{MEMORY} of memory"
    with suppress(OSError):  # then it can't write there, and says so if it has to
        cache_dir().mkdir(parents=True, exist_ok=True)
        most = int(shutil.disk_usage(cache_dir()).free * SHARE)
        config["max_temp_directory_size"] = f"{most}B"
        room += f" and {most / 1e9:.1f} GB of disk, half of what was free"
    base = duckdb.connect(":memory:", config=config)
    try:
        threads = int(base.execute("SELECT current_setting('threads')").fetchall()[0][0])
        base.execute(f"SET threads = {min(THREADS, threads)}")
        base.execute("SET enable_progress_bar = false")
        base.execute("SET enable_external_access = false")
        base.execute("SET lock_configuration = true")
        yield base
    except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
        raise TemporaryError(f"curate.sql: the query needs more than {room} ({cache_dir()}): {_said(error)}") from error
    except duckdb.Error as error:
        raise RecipeError(f"{WHERE}: {_said(error)}") from None
    finally:
        base.close()


def _said(error: Exception) -> str:
    """Return DuckDB's message in one line and without its lists of functions."""
    return cut(" ".join(str(error).partition("Candidate functions:")[0].split()))


@cache
def named_columns(text: str) -> tuple[str, ...]:
    """The columns that a query names: `detector.column`, or a single name, which may also be a name of its own.

    Raises:
        RecipeError: it isn't one SELECT, or has something in it that isn't known to be independent of the order.
    """
    options = "skip_null := true, skip_empty := true, skip_default := true"
    with opened() as base:
        tree = base.execute(f"SELECT json_serialize_sql(?::VARCHAR, {options})", [text]).fetchall()[0][0]
    try:
        return tuple(_named(json.loads(tree)))
    except RecursionError:
        raise _refused("it is nested too deeply") from None


def _named(told: Mapping[str, Any]) -> dict[str, None]:
    """The columns that a query names, given what the parser tells of it."""
    if told["error"] and told["error_type"] == "parser":
        raise RecipeError(f"{WHERE}: {cut(told['error_message'])}")
    if told["error"] or len(told["statements"]) != 1:
        raise RecipeError(f"{WHERE}: write one SELECT, without any other statement")
    parts = list(_parts(told["statements"][0]["node"]))
    named = {entry["key"] for part in parts for entry in part.get("map", ()) if "key" in entry}
    aliases = {part["alias"] for part in parts if "class" not in part and part.get("alias")}
    tables, names = named | aliases | {PICTURES}, dict[str, None]()
    for part in parts:
        _check(part, named)
        if part.get("class") == "COLUMN_REF":
            path = part["column_names"]
            path = path[1:] if len(path) > 1 and path[0] in tables else path
            if len(path) == 1 and CLOCK.fullmatch(path[0]):
                raise _refused(f"{path[0]} differs from run to run")
            names[".".join(path[:2])] = None
    return names


def _parts(tree: object) -> Iterator[Mapping[str, Any]]:
    """All that a query is made of, outermost first."""
    if isinstance(tree, Mapping):
        yield tree
    for one in tree.values() if isinstance(tree, Mapping) else tree if isinstance(tree, list) else ():
        yield from _parts(one)


def _check(part: Mapping[str, Any], named: set[str]) -> None:
    """Raise RecipeError for a part whose result may differ from run to run, or that reads something else."""
    kind = part.get("type")
    known = part["class"] in CLASSES if "class" in part else not isinstance(kind, str) or kind in NODES
    if not known or part.get("columns"):
        raise _refused(f"{'COLUMNS(…) or ORDER BY ALL' if known else part.get('class', kind)} isn't allowed")
    if part.get("class") == "TYPE" and part["type_name"] not in TYPES:
        raise _refused(f"no CAST to {part['type_name']} is allowed")
    if kind == "BASE_TABLE" and (path := part["qualified_name"]["path"]) not in [[name] for name in (PICTURES, *named)]:
        raise _refused(f"no table {'.'.join(path)!r}; the table is called {PICTURES}")
    if part.get("sample") or part.get("distinct_on_targets"):
        raise _refused("samples and DISTINCT ON take rows that differ from run to run; use row_number() … ORDER BY id")
    if part.get("ref_type") in ("POSITIONAL", "ASOF"):
        raise _refused(f"no {part['ref_type']} JOIN is allowed")
    modifiers = part.get("modifiers", ())
    orders = [order for modifier in modifiers for order in modifier.get("orders", ())]
    if any(modifier["type"] == "LIMIT_MODIFIER" for modifier in modifiers) and not _by_id(orders):
        raise _refused("LIMIT needs an ORDER BY that ends with id, so that it takes the same rows each time")
    if part.get("class") in ("FUNCTION", "WINDOW"):
        _check_function(part)


def _check_function(part: Mapping[str, Any]) -> None:
    name, inner = part["function_name"].lower(), part.get("order_bys", {}).get("orders") or part.get("arg_orders", [])
    over = part["class"] == "WINDOW"
    one_by_one = over and (name in PLACES or any("ROWS" in part.get(end, "") for end in ("start", "end")))
    if one_by_one and not _by_id(part.get("orders", [])):
        raise _refused(f"{name} OVER needs an ORDER BY that ends with id, so that equal rows have an order")
    if name in SUMS:
        given = _bare(part["arguments"][0]["expression"]) if part.get("arguments") else {}
        exact = given.get("class") == "CAST" and given["type_expr"]["type_name"] in EXACT
        if not exact and not (inner and _bare(inner[-1]["expression"]) == given):
            raise _refused(
                f"{name} of floating-point numbers depends on their order; write {name}(x::DECIMAL(18, 6)), "
                f"{name}(x ORDER BY x), or count_if(…)"
            )
        return
    known = SCALARS | AGGREGATES | (PLACES if over else frozenset())
    if name not in known or len(part["qualified_name"]["path"]) > 1:
        raise _refused(f"function {name!r} isn't one of those that give the same on every run")


def _by_id(orders: list[Mapping[str, Any]]) -> bool:
    """Return whether rows are sorted by something that ends with the id, which no two rows share."""
    last = orders[-1]["expression"] if orders else {}
    return bool(last.get("class") == "COLUMN_REF" and last["column_names"][-1] == "id")


def _bare(tree: Any) -> Any:
    """An expression without the places where it stands in the text."""
    if isinstance(tree, list):
        return [_bare(one) for one in tree]
    if not isinstance(tree, Mapping):
        return tree
    return {name: _bare(one) for name, one in tree.items() if not name.startswith("query_location")}


def _refused(why: str) -> RecipeError:
    return RecipeError(f"{WHERE}: {cut(why)}. docs/curation/rules.md lists what is allowed")

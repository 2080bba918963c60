"""Hostile recipes and command lines, and what each must end in: one line and an exit code.

`prepare` makes the folder in which the commands of `CASES` run.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

BASE: Mapping[str, Any] = {
    "dataset": "d",
    "version": "1.0.0",
    "samples_per_shard": 4,
    "source": {"name": "image_folder", "path": "photos"},
}
TEXT = yaml.safe_dump(dict(BASE))


class Case(NamedTuple):
    """A command line and how it must end.

    Attributes:
        name: of the test.
        words: after `variorum`.
        code: the exit code; for several, any of them.
        says: part of what is printed.
        lines: most lines on stderr.
    """

    name: str
    words: tuple[str, ...]
    code: int | tuple[int, ...] = 1
    says: str = ""
    lines: int = 1


def changed(**fields: Any) -> str:
    """The base recipe with other fields."""
    return yaml.safe_dump({**BASE, **fields})


def source(**fields: Any) -> str:
    """The base recipe with another source."""
    return changed(source=fields)


def bomb(levels: int = 9, width: int = 9) -> str:
    """Aliases that stand for `width ** levels` values."""
    lines = [f"a0: &a0 [{', '.join('x' * width)}]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * width)}]" for k in range(1, levels + 1)]
    return "\n".join(lines) + "\n"


# ── recipes: what is in the file, and what is said of it ─────────────────────────────────────────────────────────────

SEVERAL = {"parquet_empty": 2, "of_wrong_within": 2, "unknown_fields_5000": 21}
"""Recipes with several mistakes get a line for each."""
RECIPES: Mapping[str, tuple[str | bytes, str]] = {
    "empty": ("", "must be a mapping"),
    "blank": (" \n\n", "must be a mapping"),
    "only_a_comment": ("# nothing\n", "must be a mapping"),
    "only_a_word": ("hello", "must be a mapping"),
    "only_a_number": ("3", "must be a mapping"),
    "only_a_list": ("[1, 2]", "must be a mapping"),
    "no_source": ("dataset: d\nversion: 1.0.0\n", "needs a source"),
    "binary": (bytes(range(256)) * 20, "isn't UTF-8"),
    "utf16": (TEXT.encode("utf-16"), "isn't UTF-8"),
    "latin1": (f"{TEXT}card: {{title: Z\xfcrich}}\n".encode("latin-1"), "isn't UTF-8"),
    "nul": (f"{TEXT}card: {{title: 'a\0b'}}\n", "unacceptable character"),
    "escape": (f"{TEXT}card: {{title: 'a\x1bb'}}\n", "unacceptable character"),
    "png": (b"\x89PNG\r\n\x1a\n" + b"\0" * 64, "isn't UTF-8"),
    "json_cut_off": ('{"dataset": "d", ', "not YAML"),
    "tabs": ("dataset:\td\n\tversion: 1", "not YAML"),
    "unclosed": (f"{TEXT}card: {{title: 'x\n", "not YAML"),
    "two_documents": (f"{TEXT}---\n{TEXT}", "not YAML"),
    "python_object": (f"{TEXT}card: !!python/object/apply:os.system ['touch owned']\n", "not YAML"),
    "python_name": (f"{TEXT}card: !!python/name:os.system\n", "not YAML"),
    "binary_tag": (f"{TEXT}card: {{title: !!binary aGk=}}\n", "a value is bytes"),
    "set_tag": (f"{TEXT}card: !!set {{a, b}}\n", "a value is set"),
    "deep_lists": ("[" * 3000, "levels deep"),
    "deep_mappings": ("{a: " * 3000, "levels deep"),
    "deep_dashes": ("- " * 3000, "levels deep"),
    "deep_questions": ("? " * 3000, "levels deep"),
    "deep_indents": ("".join(" " * k + "a:\n" for k in range(400)), "levels deep"),
    "bomb": (f"{TEXT}{bomb()}card: {{title: *a9}}\n", "aliases stand for"),
    "bomb_in_a_key": (f"{TEXT}{bomb(6)}? *a6\n: 1\n", ""),
    "of_itself": ("source: &s {name: corrupted, of: *s}", "contains itself"),
    "list_of_itself": (f"{TEXT}generate: &g [*g]\n", "contains itself"),
    "merge_of_itself": (f"{TEXT}card: &c {{<<: *c}}\n", "contains itself"),
    "unknown_alias": (f"{TEXT}card: *nobody\n", "not YAML"),
    "key_number": (f"{TEXT}3: 1\n", "reads the key '3' as a number"),
    "key_yes": (f"{TEXT}yes: 1\n", "as true or false"),
    "key_null": (f"{TEXT}~: 1\n", "as nothing"),
    "key_date": (f"{TEXT}2024-01-01: 1\n", "as a date"),
    "key_list": ("[a]: 1", "a key must be text"),
    "key_in_a_component": (changed(generate=[{"name": "probe", 3: 1}]), "as a number"),
    "key_twice": (f"{TEXT}seed: 1\nseed: 2\n", "is in line"),
    "key_twice_within": (f"{TEXT}card:\n  title: a\n  title: b\n", "is in line"),
    "digits_6000": (f"{TEXT}seed: {'1' * 6000}\n", "can't be read as a value"),
    "digits_hexadecimal": (f"{TEXT}seed: 0x{'f' * 6000}\n", "can't be read as a value"),
    "digits_sexagesimal": (f"{TEXT}seed: {'1:' * 3000}1\n", "can't be read as a value"),
    "float_huge": (f"{TEXT}max_failure_rate: 1.0e+999\n", "max_failure_rate"),
    "float_nan": (f"{TEXT}max_failure_rate: .nan\n", "max_failure_rate"),
    "month_13": (f"{TEXT}seed: 2024-13-45\n", "can't be read as a value"),
    "dataset_300_letters": (changed(dataset="d" * 300), "up to 96"),
    "dataset_5000_letters": (changed(dataset="d" * 5000), "up to 96"),
    "dataset_up": (changed(dataset="../../x"), "up to 96"),
    "dataset_root": (changed(dataset="/etc"), "up to 96"),
    "dataset_dot": (changed(dataset="."), "up to 96"),
    "dataset_capitals": (changed(dataset="Photos"), "up to 96"),
    "dataset_newline": (changed(dataset="d\n"), "up to 96"),
    "dataset_blank": (changed(dataset=" "), "up to 96"),
    "dataset_empty": (changed(dataset=""), "up to 96"),
    "dataset_arabic_digits": (changed(dataset="\u0663"), "up to 96"),
    "dataset_null": (changed(dataset=None), "dataset"),
    "dataset_number": (changed(dataset=5), "dataset"),
    "dataset_list": (changed(dataset=["d"]), "dataset"),
    "version_arabic_digits": (changed(version="\u0663.0.0"), "must look like 1.2.3"),
    "version_400_digits": (changed(version="1." + "0" * 400 + ".0"), "must look like 1.2.3"),
    "version_two_parts": (changed(version="1.0"), "must look like 1.2.3"),
    "version_float": (f"{TEXT.replace('1.0.0', '1.0')}", "version"),
    "version_release": (changed(version="1.0.0-r1"), "must look like 1.2.3"),
    "version_newline": (changed(version="1.0.0\n"), "must look like 1.2.3"),
    "version_up": (changed(version="../1.0.0"), "must look like 1.2.3"),
    "version_true": (changed(version=True), "version"),
    "seed_true": (changed(seed=True), "seed"),
    "seed_text": (changed(seed="1"), "seed"),
    "seed_negative": (changed(seed=-1), "seed"),
    "seed_too_large": (changed(seed=2**63), "seed"),
    "seed_float": (changed(seed=1.5), "seed"),
    "samples_per_shard_0": (changed(samples_per_shard=0), "samples_per_shard"),
    "samples_per_shard_true": (changed(samples_per_shard=True), "samples_per_shard"),
    "samples_per_shard_huge": (changed(samples_per_shard=2**63), "samples_per_shard"),
    "limit_0": (changed(limit=0), "limit"),
    "limit_text": (changed(limit="all"), "limit"),
    "failure_rate_2": (changed(max_failure_rate=2.0), "max_failure_rate"),
    "splits_too_much": (changed(splits={"test": 0.9, "validation": 0.9}), "the shares sum to 1.8"),
    "splits_true": (changed(splits={"test": True}), "shares must be numbers"),
    "splits_unknown": (changed(splits={"dev": 0.1}), "splits"),
    "splits_nan": (f"{TEXT}splits: {{test: .nan}}\n", "splits"),
    "splits_list": (changed(splits=[0.1]), "splits"),
    "configs_odd": (changed(configs="../x"), "configs"),
    "configs_empty": (changed(configs=""), "configs"),
    "configs_5000": (changed(configs="x" * 5000), "configs"),
    "configs_list": (changed(configs=["variant"]), "configs"),
    "masters_unknown": (changed(masters="jpg"), "masters"),
    "unknown_field": (changed(sed=1), "no such field"),
    "unknown_fields_5000": (changed(card={f"x{k}": 1 for k in range(5000)}), "and 4980 more"),
    "card_title_list": (changed(card={"title": ["x"] * 20_000}), "card.title"),
    "card_text": (changed(card="x"), "card"),
    "card_template_unknown": (changed(card={"template": "nosuch"}), "card.template"),
    "card_template_up": (changed(card={"template": "../../etc/passwd"}), "card.template"),
    "card_template_hidden": (changed(card={"template": "_curation"}), "card.template"),
    "source_null": (changed(source=None), "needs a source"),
    "source_text": (changed(source="image_folder"), "needs a source"),
    "source_without_name": (source(path="photos"), "needs a name"),
    "source_name_list": (source(name=["image_folder"]), "needs a name"),
    "source_unknown": (source(name="image_foldr", path="photos"), "no source named"),
    "source_5000": (source(name="x" * 5000), "no source named"),
    "source_escape": (source(name="\x1b[2J\u202e"), "no source named"),
    "source_dotted": (source(name="os.path"), "no source named"),
    "source_up": (source(name="../generators/attribute_edit"), "no source named"),
    "source_init": (source(name="__init__"), "source"),
    "source_package": (source(name="reading"), "no source named"),
    "source_is_a_generator": (source(name="probe"), "source"),
    "source_file_missing": (source(name="./nothing.py"), "nothing.py"),
    "source_file_folder": (source(name="./folder.py"), "no regular file"),
    "source_file_pipe": (source(name="./pipe.py"), "no regular file"),
    "source_file_device": (source(name="/dev/zero.py"), "/dev/zero.py"),
    "source_file_5000": (source(name="x" * 5000 + ".py"), "File name too long"),
    "source_file_home": (source(name="~nobody_here/x.py"), "nobody_here"),
    "source_file_empty": (source(name="./empty.py"), "defines no source"),
    "source_file_broken": (source(name="./broken.py"), "can't be imported"),
    "source_file_raises": (source(name="./raises.py"), "can't be imported"),
    "source_file_exits": (source(name="./exits.py"), "exits.py"),
    "source_file_recursion": (source(name="./recursion.py"), "can't be imported"),
    "source_file_binary": (source(name="./binary.py"), "can't be imported"),
    "path_empty": (source(name="image_folder", path=""), "must not be empty"),
    "path_null": (source(name="image_folder", path=None), "source.path"),
    "path_true": (source(name="image_folder", path=True), "source.path"),
    "path_missing": (source(name="image_folder"), "missing"),
    "path_nowhere": (source(name="image_folder", path="nowhere"), "nowhere"),
    "path_5000": (source(name="image_folder", path="x" * 5000), "xxx"),
    "path_nul": (source(name="image_folder", path="a\0b"), "has a NUL character"),
    "path_surrogate": (f"{TEXT.replace('photos', chr(34) + 'a' + chr(92) + 'uD800' + chr(34))}", "isn't UTF-8 text"),
    "path_file": (source(name="image_folder", path="photos/coffee/0.jpg"), "0.jpg"),
    "path_pipe": (source(name="image_folder", path="pipe"), "pipe"),
    "path_no_pictures": (source(name="image_folder", path="bare"), "bare"),
    "path_loop": (source(name="image_folder", path="loop"), "loop"),
    "source_field_unknown": (source(name="image_folder", path="photos", pth="x"), "no such field"),
    "webdataset_nowhere": (source(name="webdataset", shards="nowhere/*.tar"), "matches no file"),
    "webdataset_brace": (source(name="webdataset", shards="{0..99999999999}.tar"), "more than"),
    "webdataset_braces": (source(name="webdataset", shards="{a,b" * 40), "brace"),
    "webdataset_braces_2_to_the_40": (source(name="webdataset", shards="{a,b}" * 40), "more than"),
    "webdataset_pipe": (source(name="webdataset", shards="pipe"), "pipe"),
    "webdataset_command": (source(name="webdataset", shards="pipe:touch owned"), ""),
    "webdataset_scheme": (source(name="webdataset", shards="nosuch://x.tar"), "nosuch://x.tar"),
    "parquet_nowhere": (source(name="parquet", files="nowhere.parquet"), "nowhere.parquet"),
    "parquet_empty": (source(name="parquet", files=""), "source.files"),
    "parquet_none": (source(name="parquet", files=[]), "source.files"),
    "parquet_a_picture": (source(name="parquet", files="photos/coffee/0.jpg"), "can't be read as parquet"),
    "parquet_pipe": (source(name="parquet", files="pipe"), "pipe"),
    "coco_nowhere": (source(name="coco", annotations="nowhere.json", pictures="photos"), "nowhere.json"),
    "coco_no_json": (source(name="coco", annotations="good.yaml", pictures="photos"), "good.yaml"),
    "coco_deep_json": (source(name="coco", annotations="deep.json", pictures="photos"), "deep.json"),
    "edition_nowhere": (source(name="edition", edition="x"), "no edition 'x'"),
    "edition_unknown": (source(name="edition", edition="x@1.0.0", store="store"), "no edition"),
    "edition_up": (source(name="edition", edition="../../x@1.0.0", store="store"), "no edition"),
    "edition_store_empty": (source(name="edition", edition="d", store=""), ""),
    "edition_store_protocol": (source(name="edition", edition="d", store="nosuch://x"), "nosuch://x"),
    "huggingface_offline": (source(name="huggingface", dataset="nobody/nothing"), "nobody/nothing"),
    "huggingface_splits": (source(name="huggingface", dataset="x", split=["a", "a"]), "different splits"),
    "of_nothing": (source(name="corrupted"), "missing"),
    "of_text": (source(name="corrupted", of="photos"), "of"),
    "of_nested_60": (
        source(**eval("{'name': 'corrupted', 'of': " * 60 + "{'name': 'samples'}" + "}" * 60)),
        "levels deep",
    ),
    "of_wrong_within": (source(name="corrupted", of={"name": "image_folder", "pth": 1}), "no such field"),
    "concatenated_none": (source(name="concatenated", of=[]), "of"),
    "generate_mapping": (changed(generate={"name": "probe"}), "must be a list"),
    "generate_texts": (changed(generate=["probe"]), "must be a list"),
    "generate_unknown": (changed(generate=[{"name": "prob"}]), "no generator named"),
    "generate_a_source": (changed(generate=[{"name": "image_folder", "path": "photos"}]), "no generator named"),
    "generate_wrong_field": (changed(generate=[{"name": "probe", "strenth": 1}]), "no such field"),
    "generate_true": (changed(generate=[{"name": "probe", "strength": True}]), "must be a number"),
    "generate_5000": (changed(generate=[{"name": "probe"}] * 5000 + [{"name": "x"}]), "no generator named"),
    "curate_unknown": (changed(curate=[{"name": "qualty"}]), "no detector or decider named"),
    "curate_twice": (changed(curate=[{"name": "quality"}, {"name": "quality"}]), "there already"),
    "curate_before_its_need": (changed(curate=[{"name": "duplicates"}, {"name": "neighbours"}]), "needs"),
    "curate_wrong_threshold": (changed(curate=[{"name": "quality", "dark": 7}]), "dark"),
    "policy_no_rules": (changed(curate=[{"name": "policy", "rules": []}]), "rules"),
    "evaluate_unknown": (changed(evaluate=[{"name": "accuracy"}]), "no evaluation named"),
    "evaluate_twice": (changed(evaluate=[{"name": "brightness"}, {"name": "brightness"}]), "there already"),
    "secret_in_a_field": (source(name="image_folder", path="photos", licence="https://u:hunter22@h/"), "password"),
    "secret_in_the_card": (changed(card={"summary": "https://h/x?X-Amz-Signature=hunter22"}), "password"),
}
"""By name: the text, and what the error says. Each is given to `variorum plan`."""

LONG = "x" * 5000
SURROGATE = "a\udcffb"

OVERRIDES: Mapping[str, tuple[str, str]] = {
    "without_equals": ("source.path", "must be key=value"),
    "empty": ("", "must be key=value"),
    "only_equals": ("=", "must be key=value"),
    "no_key": ("=x", "must be key=value"),
    "no_value": ("dataset=", "dataset"),
    "dots_10000": ("x." * 10_000 + "x=1", "at most 20 dots"),
    "only_dots": ("...=1", ""),
    "digits_6000": (f"generate.{'9' * 6000}.x=1", "no generate"),
    "superscript": ("generate.\u00b2.x=1", "no generate"),
    "position_99": ("generate.99.x=1", "no generate.99"),
    "position_negative": ("generate.-1.x=1", "no generate.-1"),
    "into_a_text": ("dataset.x=1", "has no fields"),
    "a_whole_list": ("generate.probe=1", "is a list"),
    "key_5000": (f"{LONG}=1", "no such field"),
    "value_5000": (f"dataset={LONG}", "up to 96"),
    "value_number": (f"seed={'1' * 6000}", "can't be read as a value"),
    "value_nested": (f"card.title={'[' * 3000}", "levels deep"),
    "value_bomb": (f"card.title={bomb(5)}", ""),
    "value_tag": ("card.title=!!python/object/apply:os.system ['touch owned']", ""),
    "value_key_twice": ("card={title: a, title: b}", "is in line"),
    "surrogate": (f"card.title={SURROGATE}", "card.title"),
    "nul": ("card.title=a\0b", ""),
    "unknown": ("sed=1", "no such field"),
    "null_of_nobody": ("generate.nobody=null", "no generate.nobody"),
    "source_to_null": ("source=null", "needs a source"),
    "version_wrong": ("version=1", "version"),
}
"""By name: the value of `--set` for `variorum plan good.yaml`, and what the error says."""

STORES: Mapping[str, tuple[str, int | tuple[int, ...], str]] = {
    "empty": ("", 2, "is empty"),
    "blank": ("  ", 2, "is empty"),
    "a_file": ("good.yaml", 1, "good.yaml"),
    "below_a_file": ("good.yaml/store", 1, "good.yaml"),
    "device": ("/dev/null", 1, "/dev/null"),
    "pipe": ("pipe", 1, "pipe"),
    "name_too_long": (LONG, 1, "File name too long"),
    "nul": ("a\0b", 1, ""),
    "link_loop": ("loop", 1, "loop"),
    "proc": ("/proc/store", 1, "/proc"),
    "sys": ("/sys/store", 1, "/sys"),
    "no_protocol": ("nosuch://x", 1, "nosuch"),
    "ftp": ("ftp://127.0.0.1:{port}/x", (1, 75), ""),
    "ftp_secret": ("ftp://user:hunter22@127.0.0.1:{port}/x", (1, 75), ""),
    "http": ("http://127.0.0.1:{port}/x", (1, 75), ""),
    "https_secret": ("https://user:hunter22@127.0.0.1:{port}/x?token=hunter22", (1, 75), ""),
    "sftp": ("sftp://127.0.0.1/x", 1, "paramiko"),
    "smb": ("smb://127.0.0.1/x", 1, ""),
    "zip": ("zip://x.zip", 1, ""),
    "tar": ("tar://x.tar", 1, ""),
    "github": ("github://org:repo@main/x", (1, 75), ""),
    "hf": ("hf://datasets/nobody/nothing", (1, 75), ""),
    "s3": ("s3://bucket/x", (1, 75), ""),
    "s3_secret": ("s3://key:hunter22@bucket/x", (1, 75), ""),
    "gs": ("gs://bucket/x", (1, 75), ""),
    "abfs": ("abfs://box/x", (1, 75), ""),
    "chained": ("simplecache::s3://key:hunter22@bucket/x", (1, 75), ""),
    "data": ("data:text/plain,x", 1, ""),
    "reference": ("reference://", 1, ""),
    "git": ("git://.", 1, ""),
    "jupyter": ("jupyter://127.0.0.1:{port}/x", (1, 75), ""),
    "webhdfs": ("webhdfs://127.0.0.1:{port}/x", (1, 75), ""),
    "port": ("http://127.0.0.1:99999999/x", (1, 75), ""),
}
"""By name: the value of `--store` for `variorum build`, the exit codes, and what is said."""

CODES = {"huggingface_offline": (1, 75)}
LINES: tuple[Case, ...] = (
    Case("no_words", (), 2, lines=100),
    Case("help", ("--help",), 0, "Exit codes"),
    Case("help_of_a_command", ("run", "--help"), 0, "--workers"),
    Case("version", ("--version",), 0, "variorum"),
    Case("version_debug", ("--debug", "--version"), 0, "variorum"),
    Case("unknown_command", ("frobnicate",), 2, "No such command"),
    Case("unknown_command_5000", (LONG,), 2, "No such command"),
    Case("unknown_command_surrogate", (SURROGATE,), 2, "No such command"),
    Case("unknown_command_escape", ("\x1b[2J",), 2, "No such command"),
    Case("empty_command", ("",), 2, "No such command"),
    Case("unknown_option", ("run", "good.yaml", "--stor", "x"), 2, "--stor"),
    Case("unknown_option_5000", ("run", "good.yaml", f"--{LONG}"), 2, "No such option"),
    Case("unknown_option_before", ("--nosuch", "run", "good.yaml"), 2, "No such option"),
    Case("option_without_value", ("run", "good.yaml", "--store"), 2, "--store"),
    Case("flag_with_value", ("run", "good.yaml", "--trust=1"), 2, "--trust"),
    Case("runner_unknown", ("run", "good.yaml", "--runner", "airflow"), 2, "--runner"),
    Case("no_recipe", ("run",), 2, "Missing argument"),
    Case("two_recipes", ("run", "good.yaml", "good.yaml"), 2, "unexpected extra argument"),
    Case("no_edition", ("verify",), 2, "Missing argument"),
    Case("one_edition_of_two", ("diff", "d"), 2, "Missing argument"),
    Case("workers_0", ("run", "good.yaml", "--workers", "0"), 2, "--workers"),
    Case("workers_negative", ("run", "good.yaml", "--workers", "-1"), 2, "--workers"),
    Case("workers_text", ("run", "good.yaml", "--workers", "many"), 2, "--workers"),
    Case("workers_float", ("run", "good.yaml", "--workers", "1.5"), 2, "--workers"),
    Case("workers_100000", ("run", "good.yaml", "--workers", "100000"), 2, "--workers"),
    Case("workers_digits", ("run", "good.yaml", "--workers", "9" * 6000), 2, "--workers"),
    Case("workers_empty", ("run", "good.yaml", "--workers", ""), 2, "--workers"),
    Case("limit_0", ("plan", "good.yaml", "--limit", "0"), 2, "--limit"),
    Case("limit_negative", ("plan", "good.yaml", "--limit", "-5"), 2, "--limit"),
    Case("limit_above_int64", ("plan", "good.yaml", "--limit", str(2**63 + 5)), 0, "3 of up to 4"),
    Case("limit_digits", ("plan", "good.yaml", "--limit", "9" * 6000), 2, "--limit"),
    Case("limit_infinite", ("plan", "good.yaml", "--limit", "inf"), 2, "--limit"),
    Case("profile_unknown", ("plan", "good.yaml", "--profile", "cloud"), 2, "--profile"),
    Case("profile_empty", ("plan", "good.yaml", "--profile", ""), 2, "--profile"),
    Case("ledger_0", ("release", "good.yaml", "--ledger", "0"), 2, "--ledger"),
    Case("ledger_unknown", ("release", "good.yaml", "--runner", "threads", "--ledger", "9"), 1, "no ledger"),
    Case("list_negative", ("diff", "d", "d", "--list", "-1"), 2, "--list"),
    Case("list_huge", ("diff", "d", "d", "--list", str(2**70)), 0, "the same pictures"),
    Case("rollback_0", ("rollback", "d", "--to", "0"), 2, "--to"),
    Case("rollback_nothing", ("rollback", "d"), 1, "release"),
    Case("rollback_99", ("rollback", "d", "--to", "99"), 1, "release"),
    Case("recipe_empty", ("plan", ""), 1, "recipe"),
    Case("recipe_unknown", ("plan", "imagenet_f"), 1, "did you mean"),
    Case("recipe_5000", ("plan", LONG), 1, "no recipe"),
    Case("recipe_path_5000", ("plan", f"{LONG}.yaml"), 1, "File name too long"),
    Case("recipe_nul", ("plan", "x\0.yaml"), 1, "recipe"),
    Case("recipe_surrogate", ("plan", f"{SURROGATE}.yaml"), 1, "no such file"),
    Case("recipe_newline", ("plan", "a\nb"), 1, "no recipe", lines=2),
    Case("recipe_folder", ("plan", "./photos"), 1, "Is a directory"),
    Case("recipe_pipe", ("plan", "./pipe"), 1, "is a pipe or a device"),
    Case("recipe_pipe_yaml", ("plan", "pipe.yaml"), 1, "is a pipe or a device"),
    Case("recipe_socket", ("plan", "socket.yaml"), 1, "is a pipe or a device"),
    Case("recipe_null_device", ("plan", "/dev/null"), 1, "is a pipe or a device"),
    Case("recipe_zero_device", ("plan", "/dev/zero"), 1, "is a pipe or a device"),
    Case("recipe_standard_input", ("plan", "/dev/stdin"), 1, "recipe"),
    Case("recipe_sparse_gigabyte", ("plan", "sparse.yaml"), 1, "has more than"),
    Case("recipe_link_loop", ("plan", "./loop"), 1, "loop"),
    Case("recipe_a_picture", ("plan", "photos/coffee/0.jpg"), 1, "isn't UTF-8"),
    Case("recipe_proc", ("plan", "/proc/self/mem"), 1, "/proc/self/mem"),
    Case("recipe_url", ("plan", "https://user:hunter22@h/r.yaml"), 1, "recipe"),
    Case("recipe_looks_like_an_option", ("plan", "--", "--debug.yaml"), 1, "no such file"),
    Case("new_capitals", ("new", "Photos"), 1, "can't be a dataset's name"),
    Case("new_5000", ("new", "d" * 5000), 1, "can't be a dataset's name"),
    Case("new_folder_missing", ("new", "nowhere/d.yaml"), 1, "can't be written"),
    Case("new_exists", ("new", "good"), 1, "exists already"),
    Case("new_nul", ("new", "a\0b"), 1, "can't be a dataset's name"),
    Case("new_below_a_file", ("new", "good.yaml/d.yaml"), 1, "can't be written"),
    Case("new_empty", ("new", ""), 1, "can't be a dataset's name"),
    Case("new_surrogate", ("new", SURROGATE), 1, "can't be a dataset's name"),
    Case("show_unknown", ("show", "e"), 1, "no edition"),
    Case("show_mistyped_store", ("show", "--store", "stor"), 1, "stor"),
    Case("show_up", ("show", "../d@1.0.0"), 1, "no edition"),
    Case("show_at", ("show", "@"), 1, "no edition"),
    Case("show_many_ats", ("show", "d@1.0.0@x"), 1, "no edition"),
    Case("show_nul", ("show", "d\0@1.0.0"), 1, ""),
    Case("show_5000", ("show", f"{LONG}@1.0.0"), 1, ""),
    Case("show_surrogate", ("show", SURROGATE), 1, "no edition"),
    Case("show_glob", ("show", "*@*"), 1, "no edition"),
    Case("show_version_digits", ("show", f"d@{'9' * 6000}.0.0"), 1, ""),
    Case("verify_unknown", ("verify", "e"), 1, "no edition"),
    Case("diff_unknown", ("diff", "d", "e"), 1, "no edition"),
    Case("versions_unknown", ("versions", "e"), 1, "no dataset"),
    Case("versions_surrogate", ("versions", SURROGATE), 1, "no dataset"),
    Case("versions_glob", ("versions", "*"), 1, "no dataset"),
    Case("gc_age_text", ("gc", "--older", "old"), 2, "--older"),
    Case("gc_age_digits", ("gc", "--delete", "--older", "9" * 6000), 2, "--older"),
    Case("gc_mistyped_store", ("gc", "--delete", "--store", "stor"), 1, "stor"),
    Case("card_unbuilt", ("card", "good.yaml", "--set", "dataset=other"), 1, "no edition"),
    Case("curate_unbuilt", ("curate", "good.yaml", "--runner", "threads", "--set", "dataset=other"), 1, "no edition"),
    Case(
        "evaluate_unbuilt", ("evaluate", "good.yaml", "--runner", "threads", "--set", "dataset=other"), 1, "no edition"
    ),
    Case("blocklist_uncurated", ("blocklist", "d", "--to", "out.parquet"), 1, "ledger"),
    Case("blocklist_into_a_folder", ("blocklist", "d", "--to", "photos"), 1, ""),
    Case("export_without_boxes", ("export", "d", "--to", "out", "--as", "coco"), 1, "no pictures with objects"),
    Case("export_unknown", ("export", "e", "--to", "out", "--as", "coco"), 1, "no edition"),
    Case("export_surrogate", ("export", "d", "--to", SURROGATE, "--as", "coco", "--variant", "\udcff"), 1, ""),
    Case("export_in_what", ("export", "d", "--to", "out"), 2, "--as"),
    Case("doctor_unknown", ("doctor", "nobody"), 1, "nobody"),
    Case("doctor_5000", ("doctor", LONG), 1, ""),
    Case("doctor_nul", ("doctor", "a\0b"), 1, ""),
    Case("components_extra", ("components", "x", "y"), 2, "unexpected extra argument"),
    Case("components_5000", ("components", LONG), 1, "no component"),
    Case("components_nul", ("components", "a\0b"), 1, "no component"),
)

CASES: tuple[Case, ...] = (
    *(
        Case(f"recipe_{name}", ("plan", f"{name}.yaml"), CODES.get(name, 1), said, SEVERAL.get(name, 1))
        for name, (_, said) in RECIPES.items()
    ),
    *(
        Case(f"set_{name}", ("plan", "good.yaml", "--set", text), int(name != "value_tag"), said)
        for name, (text, said) in OVERRIDES.items()
    ),
    *(
        Case(f"store_{name}", ("build", "good.yaml", "--runner", "threads", "--store", url), code, said)
        for name, (url, code, said) in STORES.items()
    ),
    *LINES,
)


def closed_port() -> int:
    """A port of this machine at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def prepare(folder: Path, photos: Path) -> None:
    """Fill an empty folder with the recipes, `photos`, and files of every odd kind."""
    shutil.copytree(photos, folder / "photos")
    (folder / "bare").mkdir()
    (folder / "folder.py").mkdir()
    (folder / "good.yaml").write_text(changed(generate=[{"name": "probe"}], evaluate=[{"name": "brightness"}]))
    for name, (text, _) in RECIPES.items():
        (folder / f"{name}.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    for name in ("pipe", "pipe.yaml", "pipe.py"):
        os.mkfifo(folder / name)
    (folder / "loop").symlink_to("loop")
    with (folder / "sparse.yaml").open("wb") as file:
        file.truncate(1 << 30)
    files = {
        "empty.py": "",
        "broken.py": "def x(:\n",
        "raises.py": "1 / 0\n",
        "exits.py": "raise SystemExit(3)\n",
        "recursion.py": "def f():\n    f()\nf()\n",
        "deep.json": "[" * 100_000,
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    (folder / "binary.py").write_bytes(bytes(range(256)))
    place = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(folder)  # a socket's path has 107 bytes at most
    try:
        place.bind("socket.yaml")
    finally:
        os.chdir(here)
        place.close()

"""Values of options that are not given: from the environment, else from files, else defaults.

A file `vmrtool.toml` lies beside the catalog or in the user's configuration folder, and has a table
a command: `[search] top = 20` is `vmrtool search --top 20`, and so is `$VMRTOOL_SEARCH_TOP`. Flags
win over the environment, it over the file beside the catalog, that over the user's.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from vmrtool.config import CATALOG_VARIABLE, find_catalog
from vmrtool.errors import UsageError

FILE_NAME = "vmrtool.toml"
_NOT_SETTINGS = {"help", "version", "install-completion", "show-completion"}


@dataclass(frozen=True)
class Setting:
    """An option that is set: of which command (its words), its value, and where that came from.

    `value` is what the command sees, `given` the same as the command line would give it.
    """

    command: tuple[str, ...]
    option: str
    given: Any
    source: str
    value: Any = None


@dataclass(frozen=True)
class Settings:
    """All that is set outside the command line.

    `values` is nested by command, keyed as the command line's library wants its default_map;
    `sources` has the same by command and option; `files` are the files looked for, best first.
    """

    values: dict[str, Any]
    sources: dict[tuple[tuple[str, ...], str], Setting]
    files: tuple[Path, ...]


def user_file() -> Path:
    """The user's own file; it need not exist."""
    from platformdirs import user_config_path

    return user_config_path("vmrtool", appauthor=False) / FILE_NAME


def load(root: Any, context: Any, words: Sequence[str]) -> Settings:
    """Reads what is set for the commands below `root`.

    Args:
        root: the command group of the whole program.
        context: its context.
        words: the command line; its `--catalog` says beside which catalog to look.

    Raises:
        UsageError: a file cannot be read, has an unknown key, or a value that does not fit.
    """
    known = {(command, key): param for command, key, param in options(root)}
    found: dict[tuple[tuple[str, ...], str], Setting] = {}

    def take(setting: Setting, *, where: str) -> None:
        place = (setting.command, setting.option)
        found[place] = _checked(known[place], context, setting, where)

    users = user_file()
    for setting in _read(users, known):
        take(setting, where=str(users))
    beside = _catalog(words, found).parent / FILE_NAME
    for setting in _read(beside, known):
        take(setting, where=str(beside))
    for (command, key), _ in known.items():
        for name in variables(command, key):
            if command and os.environ.get(name):
                take(Setting(command, key, os.environ[name], f"${name}"), where=f"${name}")
                break
    values: dict[str, Any] = {}
    for (command, key), setting in found.items():
        table = values
        for word in command:
            table = table.setdefault(word, {})
        table[known[command, key].name] = setting.given
    return Settings(values, found, (beside, users))


def options(
    group: Any, command: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], str, Any]]:
    """Every option of every command: the command's words, the option's name, the parameter."""
    for param in group.params:
        names = [name[2:] for name in param.opts if name.startswith("--")]
        if param.param_type_name == "option" and names and names[0] not in _NOT_SETTINGS:
            yield command, names[0], param
    for name, sub in getattr(group, "commands", {}).items():
        yield from options(sub, (*command, name))


def variables(command: tuple[str, ...], key: str) -> tuple[str, ...]:
    """The environment's names for an option, the first that is set counts."""
    own = "_".join(("VMRTOOL", *command, key)).upper().replace("-", "_")
    return (own, CATALOG_VARIABLE) if command and key == "catalog" else (own,)


def _catalog(words: Sequence[str], found: Mapping[Any, Setting]) -> Path:
    """The catalog that the command will work on, or would make."""
    for number, word in enumerate(words):
        if word == "--catalog" and number + 1 < len(words):
            return find_catalog(Path(words[number + 1]), create=True)
        if word.startswith("--catalog="):
            return find_catalog(Path(word.partition("=")[2]), create=True)
    command = next((word for word in words if not word.startswith("-")), "")
    own = found.get(((command,), "catalog"))
    if own is not None and not os.environ.get(CATALOG_VARIABLE):
        return find_catalog(Path(str(own.value)), create=True)
    return find_catalog(create=True)


def _read(path: Path, known: Mapping[Any, Any]) -> Iterator[Setting]:
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not TOML: {error}") from error
    yield from _entries(path, tables, known, ())


def _entries(
    path: Path, table: Mapping[str, Any], known: Mapping[Any, Any], command: tuple[str, ...]
) -> Iterator[Setting]:
    keys = {key for words, key in known if words == command}
    groups = {
        words[len(command)] for words, _ in known if words[: len(command)] == command != words
    }
    for written, value in table.items():
        key = written.replace("_", "-")
        if isinstance(value, dict) and written in groups:
            yield from _entries(path, value, known, (*command, written))
        elif key in keys and not isinstance(value, dict):
            yield Setting(command, key, value, str(path))
        else:
            here = f"[{'.'.join(command)}] {written}" if command else written
            near = difflib.get_close_matches(key, [*keys, *groups], n=1, cutoff=0.5)
            choices = ", ".join(sorted(keys | groups))
            raise UsageError(
                f"{path}: unknown key {here}",
                remedy=f"Did you mean {near[0]}?" if near else f"Known there: {choices}.",
            )


def _checked(param: Any, context: Any, setting: Setting, where: str) -> Setting:
    """The setting with its value as the command line wants it.

    Raises:
        UsageError: the value does not fit the option.
    """
    value = setting.given
    if param.multiple and not isinstance(value, list):
        value = str(value).split() if setting.source.startswith("$") else [value]
    if isinstance(value, list):
        value = [str(item) for item in value]
    elif not isinstance(value, bool):
        value = str(value)
    try:
        if isinstance(value, list) and not param.multiple:
            raise ValueError("one value is wanted, not several")
        if isinstance(value, bool) and not param.is_flag:
            raise ValueError("it takes a value, not true or false")
        read = param.process_value(context, value)
    except Exception as error:  # what the command line's library raises, or a type's own
        name = " ".join(("vmrtool", *setting.command, f"--{setting.option}"))
        reason = getattr(error, "message", None) or error
        raise UsageError(f"{where}: {setting.given!r} does not fit {name}: {reason}") from error
    return Setting(setting.command, setting.option, value, setting.source, plain(read))


def plain(value: Any) -> Any:
    """An option's value as JSON carries it."""
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, bool | int | float):
        return value
    return [plain(item) for item in value] if isinstance(value, list | tuple) else str(value)

"""From an asset's name to a file that has been checked.

Looked into, in this order: the folder that $VMRTOOL_ASSETS names, the user's cache, then the
network: the base URL that $VMRTOOL_ASSETS names, and the asset's own sources.
"""

import os
import shutil
import zipfile
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from vmrtool.assets.checksum import checksum_of, fits
from vmrtool.assets.download import download, not_written
from vmrtool.assets.lock import held
from vmrtool.assets.progress import SILENT, Progress
from vmrtool.assets.registry import ASSETS, Asset, Source, find_asset
from vmrtool.config import ASSETS_VARIABLE, OFFLINE_VARIABLE, cache_folder, mirror, offline
from vmrtool.errors import AssetError, DiskError


def weights_path(name: str, *, progress: Progress = SILENT) -> Path:
    """The file with the published weights of a backbone; see `obtain`.

    Raises:
        MissingError: no weights of that name are known.
        AssetError: they are not here and cannot be had, or a file of their name is another one.
    """
    return obtain(find_asset(name), progress=progress)


def obtain(asset: Asset, *, progress: Progress = SILENT) -> Path:
    """The asset's file, downloaded if need be, with the checksum it should have.

    Raises:
        AssetError: it is not here and cannot be had, or a file of its name is another one.
        DiskError: it cannot be written.
    """
    given = _given(asset)
    if given is not None:
        wrong = mismatch(asset, given)
        if wrong is not None:
            raise AssetError(
                f"{given}: not the published {asset.file}: {wrong}",
                remedy="Get the file again; or name it with --weights FILE, which takes any.",
            )
        return given
    target = cached(asset)
    if target.is_file() and mismatch(asset, target) is None:
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        waiting = f"another process is downloading {asset.file}; waiting"
        with held(_beside(target, ".lock"), lambda: progress.note(waiting)):
            if target.is_file():
                # The other process has done the work, or what is here was damaged.
                wrong = mismatch(asset, target)
                if wrong is None:
                    return target
                progress.note(f"{target}: damaged ({wrong}); it is fetched again")
            _fetch(asset, target, progress)
    except OSError as error:
        raise not_written(target, error) from error
    return target


def cached(asset: Asset) -> Path:
    """Where in the user's cache an asset's file is, or would be."""
    return cache_folder() / asset.folder / asset.file


def here(asset: Asset) -> Path | None:
    """The asset's file where there is one, unchecked; None where it would have to be fetched."""
    given, path = _given(asset), cached(asset)
    return given or (path if path.is_file() else None)


def expected(asset: Asset) -> str | None:
    """The checksum an asset is held to: the published one, else that of the first file seen."""
    if asset.checksum is not None:
        return asset.checksum
    try:
        text = _record(asset).read_text(encoding="utf-8")
    except OSError:
        return None
    return f"sha256:{text.split()[0]}" if text.split() else None


def mismatch(asset: Asset, path: Path) -> str | None:
    """What is wrong with a file given as an asset; None if nothing is.

    The first file of an asset without a published checksum is the one that the next are held to.
    """
    checksum = expected(asset)
    if checksum is None:
        _remember(asset, path)
        return None
    if fits(path, checksum):
        return None
    found = checksum_of(path, checksum.partition(":")[0])
    since = "" if asset.checksum else f", as when it was first seen ({_record(asset)})"
    return f"its checksum is {found}, not {checksum}{since}"


def add(path: Path, name: str | None = None) -> tuple[Asset, Path]:
    """Takes a file that the user has into the cache; returns what it is, and where it is now.

    Args:
        path: the file.
        name: which asset it is; None for the one whose file name it bears.

    Raises:
        MissingError: no such file or asset.
        AssetError: the file is another one than the asset's.
        DiskError: it cannot be written.
    """
    if not path.is_file():
        raise AssetError(f"{path}: no such file")
    if name is None:
        names = [asset.name for asset in ASSETS.values() if asset.file == path.name]
        if not names:
            raise AssetError(
                f"{path}: its name does not tell which asset it is",
                remedy=f"Say which: --name N, one of {', '.join(ASSETS)}.",
            )
        name = names[0]
    asset = find_asset(name)
    wrong = mismatch(asset, path)
    if wrong is not None:
        raise AssetError(f"{path}: not the published {asset.file}: {wrong}")
    target = cached(asset)
    copy = _beside(target, ".copy")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if not (target.is_file() and target.samefile(path)):
            with held(_beside(target, ".lock")):
                shutil.copyfile(path, copy)
                copy.replace(target)
    except OSError as error:
        with suppress(OSError):
            copy.unlink()
        raise not_written(target, error) from error
    return asset, target


def _given(asset: Asset) -> Path | None:
    """The asset's file in the folder that the user has named, if it is there."""
    folder = mirror()
    if not isinstance(folder, Path):
        return None
    path = folder / asset.file
    return path if path.is_file() else None


def _fetch(asset: Asset, target: Path, progress: Progress) -> None:
    """Gets the file from the first source that has it."""
    base = mirror()
    sources = list(asset.sources)
    if isinstance(base, str):
        sources.insert(0, Source(f"{base}/{asset.file}"))
    failures = []
    for source in sources:
        try:
            if source.member is None:
                _download(asset, source.url, target, progress)
            else:
                _unpack(asset, source, target, progress)
            return
        except DiskError:
            raise
        except AssetError as error:
            failures.append(str(error))
    raise _missing(asset, "; ".join(dict.fromkeys(failures)))


def _download(asset: Asset, url: str, target: Path, progress: Progress) -> None:
    if offline():
        raise AssetError(f"it is not here, and ${OFFLINE_VARIABLE} forbids downloads")
    base = mirror()
    size = f" ({asset.size / 1e6:.1f} MB)" if asset.size else ""
    progress.note(f"downloading {asset.file}{size} from {urlsplit(url).netloc}")
    download(
        url,
        target,
        check=lambda path: mismatch(asset, path),
        progress=progress,
        plain=isinstance(base, str) and url.startswith(base),
    )


def _unpack(asset: Asset, source: Source, target: Path, progress: Progress) -> None:
    """Takes the file out of an archive, which is an asset of its own without a known checksum."""
    name = urlsplit(source.url).path.rpartition("/")[2]
    archive = obtain(
        Asset(
            name=name,
            kind=asset.kind,
            folder=asset.folder,
            file=name,
            sources=(Source(source.url),),
            homepage=asset.homepage,
            licence=asset.licence,
            description=f"archive with {asset.file}",
        ),
        progress=progress,
    )
    copy = _beside(target, ".copy")
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [
                member
                for member in opened.namelist()
                if member.rpartition("/")[2] == source.member and "__MACOSX" not in member
            ]
            if not members:
                raise AssetError(f"{archive}: there is no {source.member} in it")
            with opened.open(members[0]) as packed, copy.open("wb") as file:
                shutil.copyfileobj(packed, file)
    except (zipfile.BadZipFile, EOFError) as error:
        raise AssetError(f"{archive}: not a zip archive, or damaged ({error})") from error
    wrong = mismatch(asset, copy)
    if wrong is not None:
        copy.unlink()
        raise AssetError(f"{source.member} of {source.url}: {wrong}")
    copy.replace(target)


def _missing(asset: Asset, why: str) -> AssetError:
    known = f"vmrtool models add FILE --name {asset.name}; or " if asset.name in ASSETS else ""
    return AssetError(
        f"{asset.name} ({asset.file}) cannot be had: {why}"
        if asset.name != asset.file
        else f"{asset.file} cannot be had: {why}",
        remedy=f"Get it by hand from {asset.urls[0]}, then: {known}set ${ASSETS_VARIABLE} to a "
        f"folder or base URL that has it.",
    )


def _record(asset: Asset) -> Path:
    """Where the checksum of the first file seen is kept, in the format of sha256sum."""
    return _beside(cached(asset), ".sha256")


def _remember(asset: Asset, path: Path) -> None:
    hexadecimal = checksum_of(path).partition(":")[2]
    record = _record(asset)
    # In a cache that cannot be written nothing is remembered, which is no reason to stop.
    with suppress(OSError):
        record.parent.mkdir(parents=True, exist_ok=True)
        part = _beside(record, f".{os.getpid()}")
        part.write_text(f"{hexadecimal}  {asset.file}\n", encoding="utf-8")
        part.replace(record)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)

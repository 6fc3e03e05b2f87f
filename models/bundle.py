"""A scorer as a folder of text files, checked before it is believed.

Nothing in a bundle depends on the clock, a path or a run, so equal scorers give equal bytes; and
nothing in it is code: no pickle, joblib or skops.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from pydantic import TypeAdapter, ValidationError

from features.catalogue.catalogue import Catalogue
from features.errors import InputError
from models.calibration import Calibration
from models.cutoff import Cutoff
from models.encoding import Encoder
from models.forest import Forest
from models.golden import check_golden, golden_record, golden_rows
from models.scorer import Scorer

FORMAT = 1
REQUIRED_FILES = ("booster.txt", "catalog.json", "golden.json", "scorer.json")
_MANIFEST = "manifest.json"
_PACKAGES = ("closedwon", "lightgbm", "numba", "numpy", "pandas", "scipy")

T = TypeVar("T")


@dataclass(frozen=True)
class _ScorerRecord:
    """What `scorer.json` holds: the scorer without forest and catalogue."""

    encoder: Encoder
    calibration: Calibration
    cutoff: Cutoff
    base_rate: float
    horizon_days: int
    base_raw_score: float
    facts: dict[str, Any]


def write_bundle(
    scorer: Scorer,
    golden_snapshots: pd.DataFrame,
    manifest_facts: Mapping[str, Any],
    folder: Path,
    further: Mapping[str, Any] | None = None,
) -> str:
    """Write the bundle of `scorer` to `folder`, replacing a bundle there, and return its digest.

    `golden_snapshots` come from `models.golden.synthesise_rows`, never from customers.
    `manifest_facts` is JSON: digests of data and config, training window, seed. `further` is what
    else the bundle holds, JSON by file name. All files are written aside and renamed, so `folder`
    is never half a bundle.
    """
    files = {
        "booster.txt": scorer.forest.text.encode(),
        "catalog.json": canonical_json(scorer.catalogue.to_dict()),
        "golden.json": canonical_json(golden_record(scorer, golden_snapshots)),
        "scorer.json": canonical_json(_scorer_record(scorer)),
        **{name: canonical_json(content) for name, content in (further or {}).items()},
    }
    manifest = {
        "format": FORMAT,
        "files": {
            name: {"sha256": _sha256(content), "size": len(content)}
            for name, content in files.items()
        },
        "facts": dict(manifest_facts),
        "versions": _versions(),
    }
    files[_MANIFEST] = canonical_json(manifest)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as aside:
            new = Path(aside) / "new"
            new.mkdir()
            for name, content in files.items():
                (new / name).write_bytes(content)
            replace_folder(new, folder)
    except OSError as error:
        raise InputError(f"The bundle {folder} cannot be written: {error.strerror}.") from None
    return _sha256(files[_MANIFEST])


def replace_folder(new: Path, folder: Path) -> None:
    """Rename `new` to `folder` on the same disk; what was there is removed, or kept on failure."""
    if not folder.exists():
        new.rename(folder)
        return
    old = new.with_name("old")
    folder.rename(old)
    try:
        new.rename(folder)
    except BaseException:
        old.rename(folder)
        raise
    shutil.rmtree(old)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a bundle after checking every file's size and sha256 against it.

    Raises InputError naming the first file that is absent or damaged.
    """
    if not folder.is_dir():
        raise InputError(f"There is no bundle at {folder}. Train a model: closedwon train")
    manifest: dict[str, Any] = _parse(folder, _MANIFEST)
    try:
        version, files = manifest["format"], dict(manifest["files"])
        listed = {name: (entry["sha256"], entry["size"]) for name, entry in files.items()}
    except (KeyError, TypeError, ValueError):
        raise _damaged(folder, _MANIFEST, "it lists no files") from None
    if version != FORMAT:
        raise InputError(
            f"The bundle {folder} has format {version!r}; this closedwon reads {FORMAT}. "
            "Install the version that wrote it, or train again."
        )
    for name in REQUIRED_FILES:
        if name not in listed:
            raise _damaged(folder, _MANIFEST, f"it does not list {name}")
    for name, (sha256, size) in listed.items():
        if Path(name).name != name:
            raise _damaged(folder, _MANIFEST, "it lists a file outside the bundle")
        if not (folder / name).is_file():
            raise _damaged(folder, name, "it is missing")
        found = (folder / name).stat().st_size
        if found != size:
            raise _damaged(folder, name, f"it has {found} bytes instead of {size}")
        if _sha256((folder / name).read_bytes()) != sha256:
            raise _damaged(folder, name, "its sha256 is not the manifest's")
    return manifest


def bundle_digest(folder: Path) -> str:
    """Return the sha256 of the manifest, and so of everything in the bundle."""
    try:
        return _sha256((folder / _MANIFEST).read_bytes())
    except OSError:
        raise _damaged(folder, _MANIFEST, "it cannot be read") from None


def open_bundle(folder: Path) -> Scorer:
    """Return the scorer in `folder` after checking every file.

    Raises InputError naming a damaged file. Digests find accidents; let `check_bundle` try a bundle
    from elsewhere first.
    """
    read_manifest(folder)
    record = _valid(_ScorerRecord, folder, "scorer.json")
    try:
        catalogue = Catalogue.from_dict(_parse(folder, "catalog.json"))
    except ValueError as error:
        raise _damaged(folder, "catalog.json", str(error)) from None
    try:
        forest = Forest.of_text((folder / "booster.txt").read_bytes().decode())
    except ValueError as error:
        raise _damaged(folder, "booster.txt", str(error)) from None
    try:
        return Scorer(
            forest=forest,
            encoder=record.encoder,
            catalogue=catalogue,
            calibration=record.calibration,
            cutoff=record.cutoff,
            base_rate=record.base_rate,
            horizon_days=record.horizon_days,
            base_raw_score=record.base_raw_score,
            facts=record.facts,
        )
    except ValueError as error:
        raise _damaged(folder, "scorer.json", str(error)) from None


def rescore_golden(folder: Path) -> None:
    """Open the bundle and score its golden rows; InputError unless they come out as expected."""
    scorer = open_bundle(folder)
    try:
        check_golden(scorer, _parse(folder, "golden.json"))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise _damaged(folder, "golden.json", type(error).__name__) from None


def example_rows(folder: Path) -> pd.DataFrame:
    """Return the bundle's golden snapshots: a synthetic example of the scorer's input."""
    return golden_rows(open_bundle(folder), _parse(folder, "golden.json"))


def check_bundle(folder: Path, timeout_seconds: float = 60) -> None:
    """Open the bundle and rescore its golden rows in a child process.

    A bundle made to do harm, by its size or in a way nobody thought of, harms the child only, and
    becomes an InputError like every other damage.
    """
    with checking_bundle(folder, timeout_seconds) as outcome:
        outcome()


@contextmanager
def checking_bundle(folder: Path, timeout_seconds: float = 60) -> Iterator[Callable[[], None]]:
    """Give what waits for the outcome of a `check_bundle` that runs meanwhile.

    The bundle may be believed once the call has returned; it raises as `check_bundle` does, and
    waits no longer than `timeout_seconds`. No child outlives the context.
    """
    # -P: a folder `models` where the user happens to stand is not ours.
    command = [sys.executable, "-P", "-m", "models.check_bundle", str(folder.resolve())]
    source = str(Path(__file__).resolve().parents[1])
    inherited = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([source, inherited]) if inherited else source
    with subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as child:
        try:
            yield lambda: _await(folder, child, timeout_seconds)
        finally:
            child.kill()  # nothing to it once it has ended


def _await(folder: Path, child: subprocess.Popen[str], timeout_seconds: float) -> None:
    try:
        _, told = child.communicate(timeout=timeout_seconds)
    except subprocess.TimeoutExpired:
        raise _unusable(folder, f"opening it took over {timeout_seconds:g} s") from None
    if child.returncode == 2:
        raise InputError(told.strip())
    if child.returncode < 0:
        raise _unusable(folder, f"opening it ended by signal {-child.returncode}")
    if child.returncode:
        raise RuntimeError(f"models.check_bundle ended with {child.returncode}:\n{told}")


def canonical_json(content: Any) -> bytes:
    r"""Return JSON with sorted keys and a newline at its end; ValueError for NaN or infinity.

    >>> canonical_json({"b": 0.1, "a": None})
    b'{\n "a": null,\n "b": 0.1\n}\n'
    """
    text = json.dumps(content, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()


def _scorer_record(scorer: Scorer) -> dict[str, Any]:
    record = _ScorerRecord(
        encoder=scorer.encoder,
        calibration=scorer.calibration,
        cutoff=scorer.cutoff,
        base_rate=scorer.base_rate,
        horizon_days=scorer.horizon_days,
        base_raw_score=scorer.base_raw_score,
        facts=dict(scorer.facts),
    )
    return dict(_plain(_ScorerRecord, record))


def _plain(kind: type[T], content: T) -> Any:
    """Return `content` as it will be read again, so that 10 and 10.0 give the same bytes."""
    adapter = TypeAdapter(kind)
    return adapter.dump_python(adapter.validate_python(adapter.dump_python(content)))


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def _parse(folder: Path, name: str) -> Any:
    try:
        return json.loads((folder / name).read_text(encoding="utf-8"))
    except OSError:
        raise _damaged(folder, name, "it cannot be read") from None
    except (ValueError, RecursionError):
        raise _damaged(folder, name, "it is not JSON") from None


def _valid(kind: type[T], folder: Path, name: str) -> T:
    try:
        return TypeAdapter(kind).validate_python(_parse(folder, name))
    except ValidationError as error:
        problem = error.errors(include_input=False)[0]
        place = ".".join(str(part) for part in problem["loc"])
        raise _damaged(folder, name, f"{place}: {problem['msg']}") from None


def _damaged(folder: Path, name: str, found: str) -> InputError:
    return InputError(
        f"{name} of the bundle {folder} is damaged: {found}. "
        "Fetch the bundle again, or use another version."
    )


def _unusable(folder: Path, found: str) -> InputError:
    return InputError(
        f"The bundle {folder} is damaged: {found}. Fetch it again, or use another version."
    )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

"""Where policies are: in a folder that the user names, or among those that ship."""

import hashlib
import json
from functools import lru_cache
from pathlib import Path

from vlatency import assets
from vlatency.agent.policies.protocol import PolicySource
from vlatency.agent.vla.model.zoo import find_model
from vlatency.sim.errors import UsageError

SHIPPED = assets.FOLDER / "policies"


def find_policy(text: str) -> Path:
    """The folder a user names: a path, or the name of a policy that ships here.

    Raises:
        UsageError: there is no such folder; the line lists the policies that ship.
    """
    for folder in (Path(text), SHIPPED / text):
        if text and folder.is_dir():
            return folder
    names = sorted(path.parent.name for path in SHIPPED.glob("*/config.json"))
    raise UsageError(f"no policy folder '{text}'; give a folder, or one that ships here: {', '.join(names) or 'none'}")


def find_policy_of(model: str) -> Path:
    """The folder of the policy that ships for a model.

    Raises:
        UsageError: there is no such model, or no policy ships for it.
    """
    name = find_model(model).name
    folder = SHIPPED / name
    if not folder.is_dir():
        raise UsageError(f"no trained policy ships for {name}; give the folder of one with --policy instead of --model")
    return folder


def hash_policy(folder: Path) -> str:
    """SHA-256 over the names and contents of the files that make a policy, those of its backbone included.

    Of a backbone on the hub the snapshot counts that is in the local cache.
    """
    files = _files_of(folder)
    try:
        backbone = str(json.loads((folder / "config.json").read_text(encoding="utf-8")).get("backbone", ""))
    except (OSError, ValueError, AttributeError):  # loading the policy will say what is wrong with it
        backbone = ""
    if Path(backbone).is_absolute() and Path(backbone).is_dir():
        return _hash_files(files + _files_of(Path(backbone)))
    return _hash_files(files, _snapshot(backbone) if "/" in backbone else "")


def hash_source(source: PolicySource) -> str:
    """SHA-256 of what identifies a policy of others: what its server says of itself, or the content of a script."""
    return hashlib.sha256(json.dumps(source.identity(), sort_keys=True).encode()).hexdigest()


def _files_of(folder: Path) -> tuple[tuple[Path, int, int], ...]:
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".json", ".safetensors") and path.is_file())
    return tuple((path, path.stat().st_mtime_ns, path.stat().st_size) for path in paths)


def _snapshot(hub_id: str) -> str:
    """The commit of a hub model in the local cache; empty if it is not there yet."""
    from huggingface_hub import try_to_load_from_cache

    try:
        found = try_to_load_from_cache(hub_id, "config.json")
    except ValueError:  # no hub id: loading the policy will say so
        return ""
    return Path(found).parent.name if isinstance(found, str) else ""


@lru_cache(maxsize=64)
def _hash_files(files: tuple[tuple[Path, int, int], ...], snapshot: str = "") -> str:
    """A sweep asks for the same policy once a cell: files are read again only if their time or size has changed."""
    digest = hashlib.sha256(snapshot.encode())
    for path, _, _ in files:
        digest.update(path.name.encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()

"""Lighter visual meshes, computed once and kept in the user's cache folder.

The cost of software rendering is that of its triangles. The Menagerie UR5e and 2F-85 have 193,000 visible faces; a
fifth of them looks the same at 640x360. Only visual meshes are changed: a collision mesh keeps every vertex.
"""

import hashlib
import os
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import NDArray

KEPT_FRACTION = 0.2
MIN_FACES = 1000
WELD_M = 5e-4


def cache_folder() -> Path:
    """Folder of files that can be derived again and may be deleted at any time (XDG base directory specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vlatency"


def decimate_visuals(spec: mujoco.MjSpec, folder: Path) -> None:
    """Replace each large visual mesh of `spec` by a decimated copy, in place.

    Args:
        spec: A robot whose visual geoms are in group 2 and take no part in collisions.
        folder: Folder of its mesh files, whose bytes are part of the cache key.
    """
    for mesh in spec.meshes:
        mesh.name = mesh.name or Path(mesh.file).stem  # older versions of MuJoCo leave it empty
    model = spec.copy().compile()
    for mesh in list(spec.meshes):
        index = model.mesh(mesh.name).id
        # `base_mount` has no inertial of its own: its visual mesh sets its mass and must stay exact.
        if model.mesh_facenum[index] < MIN_FACES or mesh.name == "base_mount":
            continue
        vertices, faces = _cached(model, index, folder / mesh.file)
        light = spec.add_mesh(name=f"{mesh.name}_visual")
        light.uservert = vertices.ravel()
        light.userface = faces.ravel()
        light.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL
        for geom in spec.geoms:
            if geom.meshname == mesh.name and geom.group == 2:
                geom.meshname = light.name
        if not any(geom.meshname == mesh.name for geom in spec.geoms):
            spec.delete(mesh)


Mesh = tuple[NDArray[np.float64], NDArray[np.int32]]
"""Vertices (n, 3) [m] and faces (m, 3)."""


def _cached(model: mujoco.MjModel, index: int, source: Path) -> Mesh:
    key = hashlib.sha256(source.read_bytes() + f"{KEPT_FRACTION} {WELD_M}".encode()).hexdigest()[:16]
    try:
        path = cache_folder() / "meshes" / f"{source.stem}-{key}.npz"
    except RuntimeError:  # nobody knows where the user's home is
        return _decimate(*_original_frame(model, index))
    stored = _read(path)
    if stored is None:
        stored = _decimate(*_original_frame(model, index))
        _write(path, *stored)
    return stored


def _read(path: Path) -> Mesh | None:
    """The mesh in a cache file; None if there is none, or not the whole of what `_write` wrote."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            vertices, faces, digest = stored["vertices"], stored["faces"], str(stored["sha256"])
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error):
        return None
    return (vertices, faces) if digest == _digest(vertices, faces) else None


def _write(path: Path, vertices: NDArray[np.float64], faces: NDArray[np.int32]) -> None:
    """Keep a mesh for the next start. The cache is an optimization: where it cannot be written, there is none."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Written under another name and then renamed: a worker that starts at the same time never reads half a file.
        with part.open("wb") as file:
            np.savez(file, vertices=vertices, faces=faces, sha256=_digest(vertices, faces))
        part.replace(path)
    except OSError:
        with suppress(OSError):
            part.unlink()


def _digest(vertices: NDArray[np.float64], faces: NDArray[np.int32]) -> str:
    return hashlib.sha256(vertices.astype("<f8").tobytes() + faces.astype("<i4").tobytes()).hexdigest()


def _original_frame(model: mujoco.MjModel, index: int) -> Mesh:
    """The mesh as in the mesh file; MuJoCo stores them in the frame of inertia."""
    start, count = model.mesh_vertadr[index], model.mesh_vertnum[index]
    first, faces = model.mesh_faceadr[index], model.mesh_facenum[index]
    rotation = np.empty(9)
    mujoco.mju_quat2Mat(rotation, model.mesh_quat[index])
    vertices = model.mesh_vert[start : start + count] @ rotation.reshape(3, 3).T + model.mesh_pos[index]
    return vertices, model.mesh_face[first : first + faces].astype(np.int32)


def _decimate(vertices: NDArray[np.float64], faces: NDArray[np.int32]) -> Mesh:
    import fast_simplification

    # Exported meshes repeat vertices at every crease. Unless they are welded, seams open when faces are removed.
    _, first, inverse = np.unique(np.round(vertices / WELD_M), axis=0, return_index=True, return_inverse=True)
    welded = inverse.reshape(-1)[faces]
    distinct = (welded[:, 0] != welded[:, 1]) & (welded[:, 1] != welded[:, 2]) & (welded[:, 2] != welded[:, 0])
    points, triangles = fast_simplification.simplify(
        vertices[first].astype(np.float32), welded[distinct].astype(np.int32), target_reduction=1 - KEPT_FRACTION
    )
    return points.astype(np.float64), triangles.astype(np.int32)

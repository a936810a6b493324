"""Chooses the OpenGL back end of MuJoCo.

`configure` must run before the first renderer is created. Importing this module changes nothing. MuJoCo reads
`MUJOCO_GL` when it is imported, and its default on Linux (glfw) fails without a display. `python -m vlatency.sim.gl`
prints the back end, or the error with exit status 2.
"""

import ctypes
import glob
import os
import re
import sys
from collections.abc import Callable, Mapping

from vlatency.sim.errors import UsageError

# Back ends that `MUJOCO_GL` may name, per `sys.platform`. The other values that MuJoCo accepts name no back end.
BACKENDS: Mapping[str, tuple[str, ...]] = {
    "linux": ("egl", "glfw", "osmesa"),
    "darwin": ("cgl", "glfw"),
    "win32": ("glfw",),
}
_ALIASES = {"glx": "glfw", "wgl": "glfw"}
_ENABLED = ("", "enable", "enabled", "on", "true", "1")
_DRI_DRIVER = "swrast_dri.so"
# Up to Mesa 24.0 EGL opens the driver by this name. Later versions have all drivers in one library of libEGL_mesa.
_DRI_PATTERNS = ("dri/swrast_dri.so", "libgallium-*.so")
_LIBRARY_FOLDERS = ("/usr/lib", "/usr/lib64", "/usr/lib/*-linux-*", "/usr/local/lib", "/usr/local/lib/*-linux-*")
_ON_DEBIAN = "on Debian or Ubuntu: apt-get install"
NO_LIBRARY = f"no OpenGL library found for headless rendering; {_ON_DEBIAN} libegl1 libgl1-mesa-dri libopengl0"


def has_library(name: str) -> bool:
    """Whether the dynamic linker finds the library `name`, or for `swrast_dri.so` whether a folder of Mesa has it."""
    if name == _DRI_DRIVER:
        own = [f"{folder}/{name}" for folder in os.environ.get("LIBGL_DRIVERS_PATH", "").split(":") if folder]
        patterns = [f"{folder}/{pattern}" for folder in _LIBRARY_FOLDERS for pattern in _DRI_PATTERNS]
        return any(glob.glob(pattern) for pattern in own + patterns)
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def choose_backend(env: Mapping[str, str], platform: str, has_library: Callable[[str], bool]) -> str:
    """Return the value of `MUJOCO_GL` to use: the one in `env` if it names a back end, or else one that works here.

    Args:
        env: Environment variables, of which `MUJOCO_GL`, `DISPLAY` and `WAYLAND_DISPLAY` are read.
        platform: As `sys.platform`.
        has_library: Whether a shared library of that name can be loaded.

    Raises:
        UsageError: `MUJOCO_GL` has another value or names a back end that cannot work here, or no OpenGL library is
            installed.
    """
    valid = BACKENDS.get(platform, ("glfw",))
    asked = env.get("MUJOCO_GL", "").strip().lower()
    asked = _ALIASES.get(asked, asked)
    if asked not in _ENABLED and asked not in valid:
        raise UsageError(f"MUJOCO_GL={env['MUJOCO_GL']} cannot render here; unset it or use one of {', '.join(valid)}")
    if platform != "linux":
        return asked if asked in valid else valid[0]
    display = bool(env.get("DISPLAY") or env.get("WAYLAND_DISPLAY"))
    if asked in valid:
        _check_asked(asked, display, has_library)
        return asked
    if _has_egl(has_library) and _has_egl_driver(has_library):
        return "egl"
    if _has_osmesa(has_library):
        return "osmesa"
    if display:
        return "glfw"
    raise UsageError(NO_LIBRARY)


def _check_asked(asked: str, display: bool, has_library: Callable[[str], bool]) -> None:
    """UsageError if what MuJoCo itself loads is missing. Drivers are not checked: there may be one unknown here."""
    if asked == "egl" and not _has_egl(has_library):
        raise UsageError(f"MUJOCO_GL=egl finds no library; {_ON_DEBIAN} libegl1 libgl1-mesa-dri libopengl0")
    if asked == "osmesa" and not _has_osmesa(has_library):
        raise UsageError(f"MUJOCO_GL=osmesa finds no library; {_ON_DEBIAN} libosmesa6, or unset MUJOCO_GL")
    if asked == "glfw" and not display:
        raise UsageError("MUJOCO_GL=glfw needs a display, and DISPLAY is not set; unset it or use one of egl, osmesa")


def _has_egl(has_library: Callable[[str], bool]) -> bool:
    return has_library("libEGL.so.1") and (has_library("libOpenGL.so.0") or has_library("libGL.so.1"))


def _has_egl_driver(has_library: Callable[[str], bool]) -> bool:
    return has_library("libEGL_nvidia.so.0") or (has_library("libEGL_mesa.so.0") and has_library(_DRI_DRIVER))


def _has_osmesa(has_library: Callable[[str], bool]) -> bool:
    return has_library("libOSMesa.so.8") or has_library("libOSMesa.so")


def check_variables(env: Mapping[str, str], backend: str) -> None:
    """UsageError if another variable that MuJoCo or PyOpenGL reads does not go with the back end."""
    platform = env.get("PYOPENGL_PLATFORM", "")
    if backend in ("egl", "osmesa") and platform.lower() not in ("", backend):
        raise UsageError(f"PYOPENGL_PLATFORM={platform} does not go with MuJoCo's {backend}: unset it")
    device = env.get("MUJOCO_EGL_DEVICE_ID")
    if backend == "egl" and device is not None and not re.fullmatch(r"\s*\+?[0-9]+\s*", device, flags=re.ASCII):
        raise UsageError(f"MUJOCO_EGL_DEVICE_ID={device} is no device number: use 0, or unset it")


_CONCERNED = re.compile(
    "MUJOCO_(EGL_DEVICE_ID|GL)|PYOPENGL_.*|(EGL|LIBGL|MESA|GALLIUM|LP|__EGL|__GLX|VK)_.*|(WAYLAND_)?DISPLAY"
)


def open_error(error: Exception, env: Mapping[str, str]) -> UsageError:
    """What a person can do about a context that does not open: the reason, and the variables that may cause it."""
    reason = " ".join(str(error).split()) or type(error).__name__
    usual = {"MUJOCO_GL": env.get("MUJOCO_GL"), "PYOPENGL_PLATFORM": env.get("MUJOCO_GL"), "LP_NUM_THREADS": "0"}
    names = sorted(name for name in env if _CONCERNED.fullmatch(name) and env[name] != usual.get(name))
    cause = f"; set here and worth unsetting: {', '.join(f'{name}={env[name]}' for name in names)}" if names else ""
    return UsageError(
        f"OpenGL does not open with MUJOCO_GL={env.get('MUJOCO_GL', '')} ({reason[:200].rstrip('.')}){cause}"
    )


def configure() -> str:
    """Make MuJoCo render with the chosen back end, and return its name.

    To be called before the first renderer is created; another call does no harm. Sets `MUJOCO_GL` for this process and
    its children, and `LP_NUM_THREADS=0` unless it is set: threads of llvmpipe would compete with parallel workers. If
    MuJoCo was imported before, its context class is replaced.

    Raises:
        UsageError: As in `choose_backend`, or the context class of a MuJoCo imported before cannot be replaced.
    """
    backend = choose_backend(os.environ, sys.platform, has_library)
    check_variables(os.environ, backend)
    os.environ["MUJOCO_GL"] = backend
    os.environ.setdefault("LP_NUM_THREADS", "0")
    if "mujoco" in sys.modules:
        _replace_context(backend)
    return backend


def _replace_context(backend: str) -> None:
    """Make a MuJoCo that is already imported use `backend`, as if `MUJOCO_GL` had been set before its import."""
    wanted = f"mujoco.{backend}"
    try:
        from mujoco.rendering.classic import gl_context

        if gl_context.GLContext.__module__ != wanted:
            gl_context.GLContext = __import__(wanted, fromlist=["GLContext"]).GLContext
    except (ImportError, AttributeError, OSError, RuntimeError) as error:
        raise UsageError(
            f"mujoco was imported with another OpenGL back end; set MUJOCO_GL={backend} before Python starts ({error})"
        ) from error


def renderer_name() -> str:
    """Return `GL_RENDERER` of the current OpenGL context of this thread, such as "llvmpipe (LLVM 15.0.6, 256 bits)".

    Raises:
        RuntimeError: This thread has no current context.
    """
    from OpenGL import GL

    name = GL.glGetString(GL.GL_RENDERER)
    if not name:
        raise RuntimeError("this thread has no current OpenGL context; create a renderer and draw an image first")
    return str(name.decode("utf-8", "replace"))


def is_software(name: str) -> bool:
    """Whether the `GL_RENDERER` called `name` draws on the CPU, which on a machine with a GPU is silently slow."""
    software = ("llvmpipe", "softpipe", "swrast", "swiftshader", "software rasterizer", "offscreen")
    return any(word in name.lower() for word in software)


def main() -> int:
    """Print the back end that would be used, or the error. Return the exit status."""
    try:
        print(choose_backend(os.environ, sys.platform, has_library))
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Choice of MuJoCo's OpenGL back end.

`configure` must run before the first renderer is created; nothing happens on import. MuJoCo picks its back end from
`MUJOCO_GL` while it is imported, and its Linux default (glfw) fails without a display. Run as a program
(`python -m vlatency.sim.gl`), this prints the back end, or the error with exit status 2.
"""

import ctypes
import glob
import os
import sys
from collections.abc import Callable, Mapping

from vlatency.sim.errors import UsageError

# Names of a back end that `MUJOCO_GL` may hold, per `sys.platform`; MuJoCo's other accepted spellings name no back end.
BACKENDS: Mapping[str, tuple[str, ...]] = {
    "linux": ("egl", "glfw", "osmesa"),
    "darwin": ("cgl", "glfw"),
    "win32": ("glfw",),
}
_ALIASES = {"glx": "glfw", "wgl": "glfw"}
_ENABLED = ("", "enable", "enabled", "on", "true", "1")
_DRI_DRIVER = "swrast_dri.so"
# Up to Mesa 24.0 EGL opens the driver by this name; later the drivers are one library that libEGL_mesa is linked to.
_DRI_PATTERNS = ("dri/swrast_dri.so", "libgallium-*.so")
_LIBRARY_FOLDERS = ("/usr/lib", "/usr/lib64", "/usr/lib/*-linux-*", "/usr/local/lib", "/usr/local/lib/*-linux-*")
_ON_DEBIAN = "on Debian or Ubuntu: apt-get install"
NO_LIBRARY = f"no OpenGL library found for headless rendering; {_ON_DEBIAN} libegl1 libgl1-mesa-dri libopengl0"


def has_library(name: str) -> bool:
    """Whether the dynamic linker finds the soname `name`, or Mesa's driver folders hold it if it is `swrast_dri.so`."""
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
    """Return the value of `MUJOCO_GL` to use: the one in `env` if it names a back end, else one that can render here.

    Args:
        env: Environment variables; `MUJOCO_GL`, `DISPLAY` and `WAYLAND_DISPLAY` are read.
        platform: As `sys.platform`.
        has_library: Whether a shared library can be loaded, by its soname.

    Raises:
        UsageError: `MUJOCO_GL` holds another value or one that cannot render here, or no OpenGL library is installed.
    """
    valid = BACKENDS.get(platform, ("glfw",))
    asked = env.get("MUJOCO_GL", "").strip().lower()
    asked = _ALIASES.get(asked, asked)
    if asked not in _ENABLED and asked not in valid:
        raise UsageError(f"MUJOCO_GL={env['MUJOCO_GL']} cannot render here; unset it or use one of {', '.join(valid)}")
    if platform != "linux":
        return asked if asked in valid else valid[0]

    def egl() -> bool:
        return has_library("libEGL.so.1") and (has_library("libOpenGL.so.0") or has_library("libGL.so.1"))

    def egl_driver() -> bool:
        return has_library("libEGL_nvidia.so.0") or (has_library("libEGL_mesa.so.0") and has_library(_DRI_DRIVER))

    def osmesa() -> bool:
        return has_library("libOSMesa.so.8") or has_library("libOSMesa.so")

    display = bool(env.get("DISPLAY") or env.get("WAYLAND_DISPLAY"))
    # A person who names a back end may have a driver this does not know of: only what MuJoCo itself loads is checked.
    if asked == "egl" and not egl():
        raise UsageError(f"MUJOCO_GL=egl finds no library; {_ON_DEBIAN} libegl1 libgl1-mesa-dri libopengl0")
    if asked == "osmesa" and not osmesa():
        raise UsageError(f"MUJOCO_GL=osmesa finds no library; {_ON_DEBIAN} libosmesa6, or unset MUJOCO_GL")
    if asked == "glfw" and not display:
        raise UsageError("MUJOCO_GL=glfw needs a display, and DISPLAY is not set; unset it or use one of egl, osmesa")
    if asked in valid:
        return asked
    if egl() and egl_driver():
        return "egl"
    if osmesa():
        return "osmesa"
    if display:
        return "glfw"
    raise UsageError(NO_LIBRARY)


def configure() -> str:
    """Make MuJoCo render with the chosen back end and return its name. Call before the first renderer; twice is fine.

    Sets `MUJOCO_GL` for this process and its children, and `LP_NUM_THREADS=0` unless set, because llvmpipe's own
    threads compete with parallel workers. If MuJoCo was imported before, its context class is exchanged.

    Raises:
        UsageError: As `choose_backend`, or the back end of a MuJoCo imported before cannot be exchanged.
    """
    backend = choose_backend(os.environ, sys.platform, has_library)
    os.environ["MUJOCO_GL"] = backend
    os.environ.setdefault("LP_NUM_THREADS", "0")
    if "mujoco" in sys.modules:
        _exchange_context(backend)
    return backend


def _exchange_context(backend: str) -> None:
    """Make an imported MuJoCo create its contexts with `backend`, as if `MUJOCO_GL` had been set before its import."""
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
    """Return `GL_RENDERER` of this thread's current OpenGL context, e.g. "llvmpipe (LLVM 15.0.6, 256 bits)".

    Raises:
        RuntimeError: No context is current.
    """
    from OpenGL import GL

    name = GL.glGetString(GL.GL_RENDERER)
    if not name:
        raise RuntimeError("no OpenGL context is current in this thread; create a renderer and draw with it first")
    return str(name.decode("utf-8", "replace"))


def is_software(name: str) -> bool:
    """Whether `name`, a `GL_RENDERER`, draws on the CPU: on a machine with a GPU this is a silent slow-down."""
    software = ("llvmpipe", "softpipe", "swrast", "swiftshader", "software rasterizer", "offscreen")
    return any(word in name.lower() for word in software)


def main() -> int:
    """Print the back end that would be used, or the error; return the exit status."""
    try:
        print(choose_backend(os.environ, sys.platform, has_library))
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

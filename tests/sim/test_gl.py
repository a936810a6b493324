"""Laws of the choice of the OpenGL back end."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from vlatency.sim import gl
from vlatency.sim.errors import UsageError
from vlatency.sim.gl import NO_LIBRARY, choose_backend, has_library, is_software

MESA_EGL = ("libEGL.so.1", "libOpenGL.so.0", "libEGL_mesa.so.0", "swrast_dri.so")
NVIDIA_EGL = ("libEGL.so.1", "libOpenGL.so.0", "libEGL_nvidia.so.0")
OSMESA = ("libOSMesa.so.8",)


def only(*names: str) -> Callable[[str], bool]:
    """A machine that has these libraries and no others."""
    return lambda name: name in names


def in_new_python(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a process that has not imported MuJoCo, with no display and no back end chosen but for `env`."""
    drop = ("MUJOCO_GL", "PYOPENGL_PLATFORM", "LP_NUM_THREADS", "DISPLAY", "WAYLAND_DISPLAY")
    inherited = {name: value for name, value in os.environ.items() if name not in drop}
    return subprocess.run(
        [sys.executable, "-c", code], env=inherited | env, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("libraries", [MESA_EGL, NVIDIA_EGL, MESA_EGL + OSMESA])
def test_egl_comes_first_when_it_is_complete(libraries: tuple[str, ...]) -> None:
    assert choose_backend({}, "linux", only(*libraries)) == "egl"


@pytest.mark.parametrize("missing", MESA_EGL)
def test_osmesa_stands_in_for_an_incomplete_egl(missing: str) -> None:
    rest = [name for name in MESA_EGL if name != missing]
    assert choose_backend({}, "linux", only(*rest, *OSMESA)) == "osmesa"


@pytest.mark.parametrize("missing", MESA_EGL)
def test_no_library_is_one_line_that_names_the_packages(missing: str) -> None:
    rest = [name for name in MESA_EGL if name != missing]
    with pytest.raises(UsageError) as caught:
        choose_backend({}, "linux", only(*rest))
    assert str(caught.value) == NO_LIBRARY
    assert "\n" not in NO_LIBRARY
    for package in ("libegl1", "libgl1-mesa-dri", "libopengl0"):
        assert package in NO_LIBRARY


def test_a_display_is_the_last_resort() -> None:
    assert choose_backend({"DISPLAY": ":0"}, "linux", only()) == "glfw"
    assert choose_backend({"DISPLAY": ":0"}, "linux", only(*MESA_EGL)) == "egl"


@pytest.mark.parametrize(
    ("asked", "chosen"), [("egl", "egl"), (" OSMesa ", "osmesa"), ("glfw", "glfw"), ("glx", "glfw"), ("on", "egl")]
)
def test_the_users_back_end_is_respected(asked: str, chosen: str) -> None:
    env = {"MUJOCO_GL": asked, "DISPLAY": ":0"}
    assert choose_backend(env, "linux", only(*MESA_EGL, *OSMESA)) == chosen


@pytest.mark.parametrize("asked", ["vulkan", "off", "cgl"])
def test_a_back_end_that_cannot_render_is_refused_with_the_valid_ones(asked: str) -> None:
    with pytest.raises(UsageError, match=f"MUJOCO_GL={asked} .*egl, glfw, osmesa"):
        choose_backend({"MUJOCO_GL": asked}, "linux", only(*MESA_EGL))


@pytest.mark.parametrize(
    ("asked", "way_out"), [("egl", "libegl1"), ("osmesa", "libosmesa6"), ("glfw", "needs a display")]
)
def test_a_users_back_end_without_its_library_names_the_way_out(asked: str, way_out: str) -> None:
    with pytest.raises(UsageError, match=way_out):
        choose_backend({"MUJOCO_GL": asked}, "linux", only())


def test_other_systems_need_no_library_check() -> None:
    assert choose_backend({}, "darwin", only()) == "cgl"
    assert choose_backend({}, "win32", only()) == "glfw"
    assert choose_backend({"MUJOCO_GL": "glfw"}, "darwin", only()) == "glfw"


def test_a_library_that_does_not_exist_is_not_found() -> None:
    assert not has_library("libNoSuchThing.so.1")


def test_the_driver_is_found_in_the_users_folder(tmp_path: os.PathLike[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlatency.sim.gl._LIBRARY_FOLDERS", ())
    monkeypatch.setenv("LIBGL_DRIVERS_PATH", str(tmp_path))
    assert not has_library("swrast_dri.so")
    open(os.path.join(tmp_path, "swrast_dri.so"), "w").close()
    assert has_library("swrast_dri.so")


@pytest.mark.parametrize(
    ("name", "software"),
    [
        ("llvmpipe (LLVM 15.0.6, 256 bits)", True),
        ("softpipe", True),
        ("Mesa OffScreen", True),
        ("NVIDIA H100 PCIe/PCIe/SSE2", False),
        ("AMD Radeon Graphics (radeonsi, renoir)", False),
    ],
)
def test_software_renderers_are_distinguished_from_hardware(name: str, software: bool) -> None:
    assert is_software(name) is software


RENDER = """
import mujoco
from vlatency.sim import gl
backend = gl.configure()
model = mujoco.MjModel.from_xml_string('<mujoco><worldbody><geom size=".1"/></worldbody></mujoco>')
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 32, 32) as renderer:
    renderer.update_scene(data)
    assert renderer.render().any()
    print(backend, gl.configure(), gl.renderer_name(), sep="|")
"""


@pytest.mark.parametrize("imported_with", ["", "egl", "osmesa"])
def test_rendering_works_whatever_back_end_mujoco_was_imported_with(imported_with: str) -> None:
    if imported_with:
        try:
            choose_backend({"MUJOCO_GL": imported_with}, sys.platform, has_library)
        except UsageError as error:
            pytest.skip(str(error))
    backend, again, name = in_new_python(RENDER, MUJOCO_GL=imported_with).stdout.strip().split("|")
    assert backend == again == (imported_with or choose_backend({}, sys.platform, has_library))
    assert name


def test_configure_sets_the_environment_and_keeps_the_users_threads() -> None:
    code = (
        "import os; from vlatency.sim import gl; gl.configure(); "
        "print(os.environ['MUJOCO_GL'], os.environ['LP_NUM_THREADS'])"
    )
    backend = choose_backend({}, sys.platform, has_library)
    assert in_new_python(code).stdout.split() == [backend, "0"]
    assert in_new_python(code, LP_NUM_THREADS="3").stdout.split() == [backend, "3"]


def test_the_renderer_has_no_name_without_a_context() -> None:
    code = "from vlatency.sim import gl; gl.configure(); import mujoco; gl.renderer_name()"
    last = in_new_python(code).stderr.splitlines()[-1]
    assert last.startswith("RuntimeError: ")
    assert "no current OpenGL context" in last


def test_the_module_as_a_program_prints_one_line_and_exits_with_2_on_error() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "vlatency.sim.gl"],
        env=os.environ | {"MUJOCO_GL": "vulkan"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 2
    assert run.stderr.startswith("error: MUJOCO_GL=vulkan")
    assert run.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("env", "backend", "says"),
    [
        ({"PYOPENGL_PLATFORM": "glx"}, "egl", "PYOPENGL_PLATFORM=glx"),
        ({"PYOPENGL_PLATFORM": "egl"}, "osmesa", "PYOPENGL_PLATFORM=egl"),
        ({"MUJOCO_EGL_DEVICE_ID": "first"}, "egl", "MUJOCO_EGL_DEVICE_ID=first"),
        ({"MUJOCO_EGL_DEVICE_ID": "-1"}, "egl", "MUJOCO_EGL_DEVICE_ID=-1"),
        ({"MUJOCO_EGL_DEVICE_ID": ""}, "egl", "MUJOCO_EGL_DEVICE_ID="),
    ],
)
def test_variables_at_odds_with_the_back_end_are_named(env: dict[str, str], backend: str, says: str) -> None:
    with pytest.raises(UsageError, match="unset it") as error:
        gl.check_variables(env, backend)
    assert says in str(error.value)


@pytest.mark.parametrize(
    "env", [{}, {"PYOPENGL_PLATFORM": "EGL"}, {"MUJOCO_EGL_DEVICE_ID": "0"}, {"LP_NUM_THREADS": "0"}]
)
def test_variables_that_agree_are_left_alone(env: dict[str, str]) -> None:
    gl.check_variables(env, "egl")


@pytest.mark.gl
@pytest.mark.parametrize(
    "variables",
    [
        {"MUJOCO_EGL_DEVICE_ID": "7"},
        {"MUJOCO_EGL_DEVICE_ID": "x"},
        {"PYOPENGL_PLATFORM": "glx"},
        {"__EGL_VENDOR_LIBRARY_FILENAMES": "/nowhere.json"},
        {"GALLIUM_DRIVER": "nothing", "LIBGL_ALWAYS_SOFTWARE": "1"},
    ],
)
def test_a_context_that_does_not_open_is_one_line_that_names_the_variable(variables: dict[str, str]) -> None:
    if choose_backend({}, sys.platform, has_library) != "egl":
        pytest.skip("these are variables of EGL")
    code = (
        "import sys\n"
        "from vlatency.sim.errors import UsageError\n"
        "from vlatency.sim import gl\n"
        "try:\n"
        "    gl.configure()\n"
        "    from vlatency.sim.plant import ArmPlant\n"
        "    arm = ArmPlant(control_hz=10)\n"
        "    arm.renderer.render(arm.world.data, ('top',))\n"
        "except UsageError as error:\n"
        "    sys.exit(str(error))\n"
    )
    env = os.environ | {"MUJOCO_GL": ""} | variables
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    if done.returncode == 0:
        pytest.skip("this driver does not mind")
    lines = [line for line in done.stderr.splitlines() if next(iter(variables)) in line]
    assert len(lines) == 1
    assert "Traceback" not in done.stderr

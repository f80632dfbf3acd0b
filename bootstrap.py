"""Sets the project up in .venv and runs it: python3 bootstrap.py demo | test | install [EXTRA…]

Needs Python 3.11 or newer and nothing else. What was tested is pinned in constraints.txt. On
Linux without an NVIDIA driver it takes PyTorch's CPU build, which spares gigabytes of CUDA.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
CPU_TORCH = "https://download.pytorch.org/whl/cpu"
USAGE = """\
usage: python3 bootstrap.py demo [OPTION…]      set up, and run ytf-demo
       python3 bootstrap.py test [OPTION…]      set up, and run pytest
       python3 bootstrap.py install [EXTRA…]    set up alone; extras: onnx, keras, notebook, …"""
COMMANDS = {"demo": ("demo", ["ytf_torch.commands.demo"]), "test": ("test", ["pytest"])}


def pip(python: Path, *arguments: str) -> bool:
    """Run the pip of a virtual environment; whether it succeeded."""
    done = subprocess.run([python, "-m", "pip", *arguments], cwd=ROOT, check=False)
    return done.returncode == 0


def needs_cpu_index(python: Path) -> bool:
    """Whether plain pip would fetch a CUDA build of PyTorch that this machine cannot use.

    Where pip has package sources of its own, they are left to decide.
    """
    if not sys.platform.startswith("linux") or shutil.which("nvidia-smi"):
        return False
    settings = subprocess.run(
        [python, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    return not any(source in settings for source in ("index-url", "find-links"))


def fill(python: Path, extras: Collection[str], constraints: Path, *options: str) -> None:
    """Install the package with extras into a virtual environment, whose python is given. options:
    more of pip's."""
    limits = ("--constraint", str(constraints), "--quiet", *options)
    if needs_cpu_index(python) and not pip(
        python, "install", *limits, "--index-url", CPU_TORCH, "torch"
    ):
        print(f"{CPU_TORCH} cannot be reached: taking PyTorch from PyPI, CUDA included", flush=True)
    named = f"[{','.join(sorted(extras))}]" if extras else ""
    if not pip(python, "install", *limits, "--editable", f".{named}"):
        sys.exit("error: installing failed, see pip's message above")


def fingerprint(extras: set[str]) -> str:
    """What an installation depends on; if it is unchanged nothing has to be installed."""
    files = (ROOT / "pyproject.toml", ROOT / "constraints.txt")
    text = b"".join(file.read_bytes() for file in files) + repr((sorted(extras), ROOT)).encode()
    return hashlib.sha256(text).hexdigest()


def install(extras: set[str]) -> None:
    """Create .venv and install the package with the extras wanted now and those before."""
    record = VENV / "installed"
    before = record.read_text().split() if record.exists() else [""]
    extras = extras | set(before[1:])
    if before[0] == fingerprint(extras):
        return
    if not PYTHON.exists():
        print(f"Creating {VENV}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    print(f"Installing ytf-torch with: {', '.join(sorted(extras)) or 'no extras'}", flush=True)
    fill(PYTHON, extras, ROOT / "constraints.txt")
    record.write_text(" ".join([fingerprint(extras), *sorted(extras)]))


def main() -> int:
    """Set up, then run what was asked for."""
    if sys.version_info < (3, 11):  # noqa: UP036
        sys.exit(f"error: Python 3.11 or newer is needed, this is {sys.version.split()[0]}")
    action, arguments = (sys.argv[1] if len(sys.argv) > 1 else ""), sys.argv[2:]
    if action == "install":
        install(set(arguments))
        return 0
    if action not in COMMANDS:
        asked = action in ("-h", "--help")
        print(USAGE, file=sys.stdout if asked else sys.stderr)
        return 0 if asked else 2
    extra, module = COMMANDS[action]
    install({extra})
    return subprocess.run([PYTHON, "-m", *module, *arguments], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

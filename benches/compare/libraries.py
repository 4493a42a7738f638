"""Peers from PyPI beside those of `.venv`: a virtual environment of their own that borrows torch from it."""
import functools
import hashlib
import subprocess
import sys
import sysconfig

from .models import ROOT

NAMES = ["transformer_lens", "pyvene"]
REQUIREMENTS = ["transformer_lens==4.3.0", "pyvene==0.1.8"]
FOLDER = ROOT / ".cache/peers"


@functools.cache
def python():
    """Returns the environment's Python, making the environment first (0.3 GB to download)."""
    program, stamp = FOLDER / "bin/python", FOLDER / "requirements.sha256"
    wanted = hashlib.sha256("\n".join(REQUIREMENTS).encode()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(FOLDER)], check=True)
        own, borrowed = (sysconfig.get_path("purelib", vars=vars) for vars in ({"base": str(FOLDER)}, None))
        with open(f"{own}/client.pth", "w") as file:
            file.write(borrowed + "\n")
        command = [str(program), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *REQUIREMENTS]
        subprocess.run(command, check=True)
        stamp.write_text(wanted)
    return program

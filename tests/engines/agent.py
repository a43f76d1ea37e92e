"""The Java agent that drops messages between Cassandra nodes, compiled once into .cache/engines."""

import subprocess
import zipfile
from pathlib import Path

from tests.engines import jars

_SOURCE = Path(__file__).with_name("DropMessages.java")


def jar() -> Path:
    """The agent. Debian's Java runtime has the compiler's module, though no `javac`."""
    made = jars.CACHE / "drop-messages.jar"
    if made.exists() and made.stat().st_mtime > _SOURCE.stat().st_mtime:
        return made
    classes = jars.CACHE / "drop-messages"
    command = [jars.java(), "-m", "jdk.compiler/com.sun.tools.javac.Main", "-d", str(classes)]
    command += ["-cp", ":".join(map(str, jars.cassandra().glob("*.jar"))), str(_SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the agent does not compile: {done.stderr}")
    part = made.with_suffix(".part")
    with zipfile.ZipFile(part, "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\nPremain-Class: DropMessages\n")
        for file in sorted(classes.glob("*.class")):
            archive.write(file, file.name)
    part.rename(made)
    return made

"""The jars of Cassandra and Kafka, fetched once by Maven into .cache/engines and kept there."""

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

CACHE = Path(__file__).parents[2] / ".cache" / "engines"
CASSANDRA, KAFKA = "5.0.8", "4.1.1"
FETCH_WITHIN_S = 300

_POM = """<project><modelVersion>4.0.0</modelVersion><groupId>plaudit.tests</groupId><artifactId>jars</artifactId>
<version>1</version><packaging>pom</packaging>{}</project>"""
_CASSANDRA = _POM.format(f"""
<dependencyManagement><dependencies><dependency><groupId>org.apache.cassandra</groupId>
<artifactId>cassandra-parent</artifactId><version>{CASSANDRA}</version><type>pom</type><scope>import</scope>
</dependency></dependencies></dependencyManagement>
<dependencies><dependency><groupId>org.apache.cassandra</groupId><artifactId>cassandra-all</artifactId>
<version>{CASSANDRA}</version></dependency></dependencies>""")
_KAFKA = _POM.format(f"""<dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{KAFKA}</version></dependency>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>{KAFKA}</version>
<exclusions><exclusion><groupId>org.apache.kafka</groupId><artifactId>connect-runtime</artifactId></exclusion>
</exclusions></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
</dependencies>""")


class Missing(Exception):
    """Something that only a person can install is not there: (what, how to get it)."""


def cassandra() -> Path:
    """The folder of Cassandra's jars."""
    return _jars(f"cassandra-{CASSANDRA}", _CASSANDRA)


def kafka() -> Path:
    """The folder of Kafka's jars."""
    return _jars(f"kafka-{KAFKA}", _KAFKA)


def java() -> str:
    """A Java that both run on. Raises `Missing`."""
    candidates = [shutil.which("java"), *map(str, sorted(Path("/usr/lib/jvm").glob("*17*/bin/java")))]
    for found in filter(None, candidates):
        version = subprocess.run([found, "-version"], capture_output=True, text=True).stderr
        if ' version "17.' in version:
            return found
    raise Missing("Java 17", "'make test' as root on Debian installs it (openjdk-17-jre-headless)")


def _jars(name: str, pom: str) -> Path:
    folder = CACHE / name
    if folder.exists():
        return folder
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs in one checkout fetch it once
        if not folder.exists():
            _fetch(name, pom).rename(folder)
    return folder


def _fetch(name: str, pom: str) -> Path:
    maven = shutil.which("mvn")
    if maven is None:
        raise Missing("Maven", "'make test' as root on Debian installs it (maven)")
    part = CACHE / f"{name}.part"
    shutil.rmtree(part, ignore_errors=True)
    file = CACHE / f"{name}.pom.xml"
    file.write_text(pom, encoding="utf-8")
    sys.stderr.write(f"fetching the jars of {name}, once\n")
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={part}"]
    command = [maven, "-B", "-q", "-f", str(file), *goal]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_WITHIN_S)
    except subprocess.TimeoutExpired as error:
        raise Missing(f"the jars of {name}", f"Maven did not fetch them in {FETCH_WITHIN_S} s") from error
    if done.returncode:
        raise Missing(f"the jars of {name}", f"Maven could not fetch them: {done.stdout[-300:]}")
    return part

"""The rules of CONTRIBUTING.md that no linter knows. A failure lists every place that breaks the rule."""

import ast
import re
import sys

import pytest

from tests.meta.files import ROOT, SRC, lines, modules, name, text_files

MODULE_LINES = 400
FUNCTION_LINES_P95 = 40

# Methods that run SQL, and the places that may hand them a text that is not a literal, each with the reason.
SQL_METHODS = {"execute", "executemany"}
FORMATTED_SQL_ALLOWED = {
    "src/plaudit/adapters/sqlite/rows.py": "repeats the marks of bound values, and nothing but marks",
}

COMMENT_OPENERS = {".sql": ("--", "/*"), ".cql": ("--", "//", "/*"), ".lua": ("--",)}

# Needles are put together here so that this file does not contain them.
REGISTRY_HOSTS = [
    "pypi" + ".org",
    "files.python" + "hosted.org",
    "registry." + "npmjs.org",
    "registry." + "yarnpkg.com",
    "deb." + "debian.org",
    "static." + "crates.io",
    "proxy." + "golang.org",
    "repo1." + "maven.org",
    "repo." + "maven." + "apache.org",
]
MACHINE_PATHS = ["/" + folder for folder in ("work/main", "work/shared", "root/.", "opt/wheels", "tmp/x/")]

MARKER = re.compile("(?:TO" + "DO|FIX" + r"ME)\b(?:\(([a-z0-9-]+)\))?")
SUPPRESSION = re.compile(
    r"#\s*(?:no" + r"qa: *[A-Z0-9, ]*[A-Z][0-9]+|type: *ig" + r"nore\[[a-z, -]+\])(?P<rest>[^#\n]*(?:#.*)?)"
)


def function_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the last statement; the docstring is free."""
    assert node.end_lineno is not None
    total = node.end_lineno - node.lineno + 1
    first = node.body[0]
    if ast.get_docstring(node, clean=False) is not None and first.end_lineno is not None:
        total -= first.end_lineno - first.lineno + 1
    return total


def test_no_module_is_longer_than_its_budget() -> None:
    sizes = {name(path): len(path.read_text(encoding="utf-8").splitlines()) for path, _ in modules()}
    assert {place: size for place, size in sizes.items() if size > MODULE_LINES} == {}


def test_95_of_100_functions_fit_on_a_screen() -> None:
    sizes = sorted(
        (function_lines(node), name(path, node.lineno))
        for path, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    if not sizes:
        return
    p95, _ = sizes[max(0, -(-len(sizes) * 95 // 100) - 1)]
    assert p95 <= FUNCTION_LINES_P95, [size for size in sizes if size[0] > FUNCTION_LINES_P95]


def reads_environment(node: ast.AST) -> bool:
    names = {"environ", "environb", "getenv", "getenvb"}
    match node:
        case ast.Attribute(value=ast.Name(id="os"), attr=attr):
            return attr in names
        case ast.ImportFrom(module="os", names=imported):
            return any(alias.name in names for alias in imported)
    return False


def test_only_one_room_reads_the_environment() -> None:
    assert [
        name(path, getattr(node, "lineno", None))
        for path, tree in modules()
        if path != SRC / "environment.py"
        for node in ast.walk(tree)
        if reads_environment(node)
    ] == []


def test_the_domain_imports_nothing_but_msgspec_and_the_standard_library() -> None:
    def roots(node: ast.AST) -> list[str]:
        match node:
            case ast.Import(names=imported):
                return [alias.name.split(".")[0] for alias in imported]
            case ast.ImportFrom(module=str(module)):
                return [module.split(".")[0]]
        return []

    allowed = sys.stdlib_module_names | {"msgspec", "plaudit"}
    assert [
        (name(path), root)
        for path, tree in modules()
        if SRC / "domain" in path.parents
        for node in ast.walk(tree)
        for root in roots(node)
        if root not in allowed
    ] == []


def test_every_open_end_is_a_known_gap() -> None:
    gaps_page = ROOT / "docs" / "known-gaps.md"
    gaps = gaps_page.read_text(encoding="utf-8") if gaps_page.exists() else ""
    assert [
        name(path, number)
        for path, text in text_files()
        if path != gaps_page and path.suffix not in {".md", ".lock"}
        for number, line in lines(text)
        for mark in MARKER.finditer(line)
        if mark[1] is None or mark[1] not in gaps
    ] == [], (
        "write the marker with a name in brackets, and the name with an explanation in docs/known-gaps.md"
    )


@pytest.mark.parametrize("needle", REGISTRY_HOSTS + MACHINE_PATHS)
def test_no_file_names_a_registry_host_or_a_path_of_one_machine(needle: str) -> None:
    assert [
        name(path, number)
        for path, text in text_files()
        if needle in text
        for number, line in lines(text)
        if needle in line
    ] == []


def test_every_query_and_script_file_starts_with_a_comment_header() -> None:
    assert [
        name(path)
        for path, text in text_files()
        if path.suffix in COMMENT_OPENERS and not text.startswith(COMMENT_OPENERS[path.suffix])
    ] == []


def formatted(node: ast.expr) -> bool:
    match node:
        case ast.JoinedStr(values=values):
            return any(isinstance(value, ast.FormattedValue) for value in values)
        case ast.BinOp(op=ast.Mod() | ast.Add()):
            return True
        case ast.Call(func=ast.Attribute(attr="format" | "format_map" | "replace" | "join")):
            return True
    return False


def test_no_query_is_put_together_from_pieces() -> None:
    assert [
        name(path, node.lineno)
        for path, tree in modules()
        if name(path) not in FORMATTED_SQL_ALLOWED
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in SQL_METHODS
        and node.args
        and formatted(node.args[0])
    ] == []


def test_every_suppressed_finding_has_a_reason_beside_it() -> None:
    assert [
        name(path, number)
        for path, text in text_files()
        if path.suffix == ".py"
        for number, line in lines(text)
        for found in SUPPRESSION.finditer(line)
        if not re.search(r"\w{2,}", found["rest"])
    ] == [], "write the reason after the code"


def test_every_port_is_in_the_table_of_what_fulfils_it() -> None:
    page = (ROOT / "docs" / "architecture-cluster.md").read_text(encoding="utf-8")
    table = page.partition("| port | embedded | cluster |")[2].partition("\n\n")[0]
    ports = {path.stem for path in (SRC / "ports").glob("*.py")} - {"__init__"}
    assert ports - set(re.findall(r"`(\w+)`", table)) == set()

"""Which Copilot SDK a process or a project uses, read from files alone: nothing of theirs is run.

Official SDKs, their names and registries: README of github/copilot-sdk.
How sure a version is depends on where it stands, best first: the metadata of an installed package
(``installed``), a lock file (``locked``), a manifest (``declared``: mostly a range).
"""

import contextlib
import mmap
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import PurePath
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgspec

from doctor.deployment import Origin, Sdk
from doctor.redaction import outside
from doctor.sources import processes
from doctor.sources.processes import NotVisible, Process

Exactness: TypeAlias = Literal["installed", "locked", "declared"]

_ORDER: Final[dict[Exactness, int]] = {"installed": 0, "locked": 1, "declared": 2}


class _Product(NamedTuple):
    language: str
    package: str


_PYTHON: Final = _Product("python", "github-copilot-sdk")
_NODE: Final = _Product("javascript", "@github/copilot-sdk")
_CLI: Final = _Product("javascript", "@github/copilot")
_GO: Final = _Product("go", "github.com/github/copilot-sdk/go")
_DOTNET: Final = _Product("dotnet", "GitHub.Copilot.SDK")
_RUST: Final = _Product("rust", "github-copilot-sdk")
_JAVA: Final = _Product("java", "com.github:copilot-sdk-java")

_MOST_BYTES: Final = 5 << 20
_MOST_TOML_CHARACTERS: Final = 500_000  # its parser is slow
_MOST_PROGRAM_BYTES: Final = 256 << 20
_MOST_ENTRIES: Final = 5_000
_MOST_PARENTS: Final = 40
_MOST_DEPTH: Final = 40
_VERSION: Final = re.compile(r"v?(\d[0-9A-Za-z.+_-]{0,47})")
_RANGE: Final = re.compile(r"[\w.,<>=!~^*|() +-]{1,60}")
_EXACT: Final = re.compile(r"={0,3}\s*v?(\d+\.\d+\.\d+(?:[-+.]?[0-9A-Za-z.+-]*)?)")


class SdkReport(msgspec.Struct, frozen=True):
    """What a look at a process or a project gave.

    Attributes:
        sdks: One of each language, the surest.
        clis: The Copilot CLI versions (npm package ``@github/copilot``) that come with it.
        unseen: Files that name an SDK and make no sense, or what could not be read.
    """

    sdks: tuple[Sdk, ...] = ()
    clis: tuple[Sdk, ...] = ()
    unseen: tuple[NotVisible, ...] = ()


def sdk_of_process(process: Process) -> Sdk | None:
    """Return the SDK that a process uses, None where none was found (see `look_at_process`)."""
    return next(iter(look_at_process(process).sdks), None)


def sdks_of_project(folder: str | PurePath) -> tuple[Sdk, ...]:
    """Return the SDKs that a working directory's project uses (see `look_at_project`)."""
    return look_at_project(folder).sdks


def look_at_process(process: Process) -> SdkReport:
    """Return the SDK that a process uses.

    Looked at are the packages that its program can import (its virtual environment, its
    ``node_modules``, the build information in a Go or Rust program …), and only after them the
    project in its working directory.
    """
    found = _Findings(processes.root_of(process.pid))
    folder = processes.cwd(process.pid)
    where = None if isinstance(folder, NotVisible) else folder
    if isinstance(folder, NotVisible):
        found.unseen.append(folder)
    program = processes.exe(process.pid)
    if isinstance(program, NotVisible):
        program = process.argv[0] if process.argv else ""
    program = program.removesuffix(" (deleted)")
    language = _language(process, program)
    if language == "python":
        _installed_for_python(found, process, program, where)
    elif language == "javascript":
        _installed_for_node(found, process, where)
    elif language == "java":
        _installed_for_java(found, process)
    elif language == "dotnet" or os.path.exists(found.root + _deps_json(program)):  # noqa: PTH110
        language = "dotnet"
        _installed_for_dotnet(found, process, program, where)
    elif program:
        _built_in(found, program)
    if not found.sdks and where is not None:
        project = look_at_project(where, found.root)
        fitting = [sdk for sdk in project.sdks if language in {None, sdk.language}]
        found.sdks += fitting
        found.clis += project.clis
        found.unseen += project.unseen
    return found.report()


def look_at_project(folder: str | PurePath, root: str = "") -> SdkReport:
    """Return what a folder and its parents, up to the top of the repository, say about SDKs.

    Args:
        folder: The working directory; its parents count only inside of a repository.
        root: What stands in front of its path to reach it (`processes.root_of`).
    """
    found = _Findings(root)
    for place in _up_to_repository(str(folder), root):
        _read_folder(found, place)
    return found.report()


# --- findings -----------------------------------------------------------------------------------


class _Findings:
    """Collects what files say."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.sdks: list[Sdk] = []
        self.clis: list[Sdk] = []
        self.unseen: list[NotVisible] = []

    def read(self, path: str) -> str | None:
        """Return a file's text, None where there is none."""
        inside = processes.resolve(path, self.root)
        if inside is None:
            return None
        data = processes.read_file(self.root + inside, _MOST_BYTES)
        if isinstance(data, NotVisible):
            if data.kind != "gone":
                reason = f"{outside(path)}: {data.reason}"
                self.unseen.append(msgspec.structs.replace(data, reason=reason))
            return None
        return data.decode("utf-8", "replace")

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, of which not more than a project has."""
        inside = processes.resolve(folder, self.root)
        found: list[str] = []
        if inside is not None:
            with contextlib.suppress(OSError), os.scandir(self.root + inside) as entries:
                for entry, _ in zip(entries, range(_MOST_ENTRIES), strict=False):
                    found.append(entry.name)
        return sorted(found)

    def add(
        self,
        product: _Product,
        stated: str,
        exactness: Exactness,
        path: str,
        line: int | None = None,
    ) -> None:
        """Note a version, or a range where it is only declared.

        What does not look like one (a git address, which can hold a password) is left out.
        """
        stated = stated.strip()
        exact = (_VERSION if exactness != "declared" else _EXACT).fullmatch(stated)
        found = Sdk(
            language=product.language,
            package=product.package,
            version=exact[1] if exact else None,
            exactness=exactness,
            declared=stated if exactness == "declared" and _RANGE.fullmatch(stated) else "",
            origin=Origin(kind="file", path=outside(path), line=line),
        )
        (self.clis if product is _CLI else self.sdks).append(found)

    def malformed(self, path: str) -> None:
        """Note a file that names an SDK and makes no sense."""
        self.unseen.append(NotVisible("malformed", f"{outside(path)} could not be understood"))

    def report(self) -> SdkReport:
        """Return the surest finding of each language; of equal ones, the nearest."""
        return SdkReport(_surest(self.sdks), _surest(self.clis), tuple(dict.fromkeys(self.unseen)))


def _surest(found: Iterable[Sdk]) -> tuple[Sdk, ...]:
    best: dict[str, Sdk] = {}
    for sdk in sorted(found, key=lambda sdk: _ORDER[sdk.exactness]):
        best.setdefault(sdk.language, sdk)
    return tuple(best.values())


# --- a process ----------------------------------------------------------------------------------

_LANGUAGES: Final = (
    ("python", re.compile(r"(?:python|pypy)[\d.]*w?(?:\.exe)?")),
    ("javascript", re.compile(r"node(?:js)?[-.\d]*(?:\.exe)?|bun|deno|electron")),
    ("java", re.compile(r"javaw?(?:\.exe)?")),
    ("dotnet", re.compile(r"dotnet(?:\.exe)?")),
)
_DIST_INFO: Final = re.compile(r"github[_.-]copilot[_.-]sdk-(.+)\.dist-info", re.IGNORECASE)
_JAR: Final = re.compile(r"copilot-sdk-java-(\d[\w.-]*?)\.jar")
_DEPS_JSON: Final = re.compile(r'"GitHub\.Copilot\.SDK/(\d[^"/]*)"', re.IGNORECASE)
# The go command writes the modules of a program into it (runtime/debug.BuildInfo), and the Rust
# compiler the paths of the sources that can panic.
_BUILT_IN: Final = (
    (_GO, re.compile(rb"dep\tgithub\.com/github/copilot-sdk/go(?:/v\d+)?\t(v[\w.+-]+)")),
    (_RUST, re.compile(rb"/github-copilot-sdk-(\d+\.\d+\.\d+[\w.+-]*)/src/")),
)


def _language(process: Process, program: str) -> str | None:
    for path in (program, process.argv[0] if process.argv else ""):
        name = _base(path).lower()
        for language, pattern in _LANGUAGES:
            if pattern.fullmatch(name):
                return language
    return None


def _installed_for_python(
    found: _Findings, process: Process, program: str, where: str | None
) -> None:
    for folder in _python_paths(found, process, program, where):
        for name in found.names(folder):
            match = _DIST_INFO.fullmatch(name)
            if match:
                path = os.path.join(folder, name, "METADATA")  # noqa: PTH118 - maybe another root
                found.add(_PYTHON, match[1], "installed", path)
                return


def _python_paths(
    found: _Findings, process: Process, program: str, where: str | None
) -> Iterator[str]:
    """Return where a Python program looks for packages, in its order."""
    variables = processes.environ(process.pid)
    variables = processes.Environment() if isinstance(variables, NotVisible) else variables
    for folder in variables.get("PYTHONPATH", "").split(os.pathsep):
        if folder:
            yield _joined(where, folder)
    match = re.search(r"python(\d+\.\d+)", _base(program))
    wanted = f"python{match[1]}" if match else None
    # The path that was typed names the virtual environment; the executable that it links to, and
    # which the system shows, does not.
    typed = _typed_path(found, process, variables, where)
    prefixes = (_parent(_parent(typed)), variables.get("VIRTUAL_ENV"), _parent(_parent(program)))
    for prefix in dict.fromkeys(one for one in prefixes if one):
        yield from _packages_below(found, prefix, wanted)
    home = variables.get("HOME")
    for name in found.names(f"{home}/.local/lib") if home else ():
        if wanted in {None, name}:
            yield f"{home}/.local/lib/{name}/site-packages"


def _packages_below(found: _Findings, prefix: str, wanted: str | None) -> Iterator[str]:
    yield f"{prefix}/Lib/site-packages"  # Windows
    for library in ("lib", "lib64", "local/lib"):
        for name in found.names(f"{prefix}/{library}"):
            if name.startswith(("python3", "pypy3")) and wanted in {None, name}:
                yield f"{prefix}/{library}/{name}/site-packages"
                yield f"{prefix}/{library}/{name}/dist-packages"  # Debian
    yield f"{prefix}/lib/python3/dist-packages"


def _typed_path(
    found: _Findings, process: Process, variables: Mapping[str, str], where: str | None
) -> str:
    typed = process.argv[0] if process.argv else ""
    if "/" in typed or "\\" in typed:
        return _joined(where, typed)
    for folder in variables.get("PATH", "").split(os.pathsep) if typed else ():
        candidate = _joined(where, f"{folder}/{typed}")
        if folder and processes.resolve(candidate, found.root) is not None:
            return candidate
    return ""


def _installed_for_node(found: _Findings, process: Process, where: str | None) -> None:
    starts: list[str] = []
    index = processes.script_index(process.argv)
    if index is not None and (where is not None or os.path.isabs(process.argv[index])):  # noqa: PTH117
        script = _joined(where, process.argv[index])
        starts.append(_parent(processes.resolve(script, found.root) or script))
    if where is not None:
        starts.append(where)
    for start in starts:
        # Node looks in every parent, whatever a repository is.
        for folder in _parents(start):
            _read_node_package(found, folder, _NODE)
            if found.sdks:
                return


def _installed_for_java(found: _Findings, process: Process) -> None:
    for argument in process.argv:
        match = _JAR.search(argument)
        if match:
            found.add(_JAVA, match[1], "installed", match[0])
            return


def _installed_for_dotnet(
    found: _Findings, process: Process, program: str, where: str | None
) -> None:
    assembly = next((one for one in process.argv[1:] if one.lower().endswith(".dll")), None)
    path = _deps_json(_joined(where, assembly) if assembly else program)
    text = found.read(path)
    match = _DEPS_JSON.search(text or "")
    if text and match:
        found.add(_DOTNET, match[1], "installed", path, _line(text, match.start()))


def _deps_json(program: str) -> str:
    return re.sub(r"\.(?:dll|exe)$", "", program, flags=re.IGNORECASE) + ".deps.json"


def _built_in(found: _Findings, program: str) -> None:
    inside = processes.resolve(program, found.root)
    if inside is None:
        return
    try:
        with open(found.root + inside, "rb") as file:  # noqa: PTH123 - maybe another root
            size = os.fstat(file.fileno()).st_size
            if not 0 < size <= _MOST_PROGRAM_BYTES:
                return
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as program_bytes:
                # Without a hit for the fixed part the pattern would crawl through every byte.
                if program_bytes.find(b"copilot-sdk") < 0:
                    return
                for product, pattern in _BUILT_IN:
                    match = pattern.search(program_bytes)
                    if match:
                        stated = match[1].decode("ascii", "replace")
                        found.add(product, stated, "installed", program)
                        return
    except (OSError, ValueError):
        return


# --- a project ----------------------------------------------------------------------------------


def _up_to_repository(folder: str, root: str) -> list[str]:
    chain = _parents(folder)
    for index, place in enumerate(chain):
        if processes.resolve(f"{place}/.git", root) is not None:
            return chain[: index + 1]
    return chain[:1]


def _read_folder(found: _Findings, folder: str) -> None:
    names = found.names(folder)
    for product in (_NODE, _CLI):
        if "node_modules" in names:
            _read_node_package(found, folder, product)
    for environment in (".venv", "venv"):
        if environment in names:
            _read_environment(found, f"{folder}/{environment}")
    for name in names:
        for pattern, read in _READERS:
            if pattern.fullmatch(name):
                path = os.path.join(folder, name)  # noqa: PTH118 - maybe another root
                text = found.read(path)
                # Most files name no SDK: then none is taken apart.
                if text and "copilot" in text.lower():
                    read(found, path, text)


def _read_node_package(found: _Findings, folder: str, product: _Product) -> None:
    place = f"{folder}/node_modules/{product.package}"
    stated = processes.package(place, found.root)
    if stated and stated[0] == product.package:
        found.add(product, stated[1], "installed", f"{place}/package.json")


def _read_environment(found: _Findings, prefix: str) -> None:
    for library in ("lib", "Lib"):
        places = [f"{prefix}/{library}/{name}" for name in found.names(f"{prefix}/{library}")]
        for place in (f"{prefix}/{library}", *places):
            for name in found.names(f"{place}/site-packages"):
                match = _DIST_INFO.fullmatch(name)
                if match:
                    path = f"{place}/site-packages/{name}/METADATA"
                    found.add(_PYTHON, match[1], "installed", path)
                    return


_Reader: TypeAlias = Callable[[_Findings, str, str], None]


def _by_pattern(product: _Product, exactness: Exactness, pattern: str) -> _Reader:
    """Return a reader for a file in which one pattern finds the version (its first group)."""
    compiled = re.compile(pattern, re.MULTILINE | re.IGNORECASE)

    def read(found: _Findings, path: str, text: str) -> None:
        match = compiled.search(text)
        if match:
            stated = next((group for group in match.groups() if group), "")
            found.add(product, stated, exactness, path, _line(text, match.start()))

    return read


def _both(*readers: _Reader) -> _Reader:
    def read(found: _Findings, path: str, text: str) -> None:
        for reader in readers:
            reader(found, path, text)

    return read


def _read_package_lock(found: _Findings, path: str, text: str) -> None:
    tree = _json(found, path, text)
    if not isinstance(tree, dict):
        return
    for product in (_NODE, _CLI):
        # Version 3 of the format, then version 1.
        for group, key in (
            ("packages", f"node_modules/{product.package}"),
            ("dependencies", product.package),
        ):
            entry = _child(_child(tree, group), key)
            stated = _child(entry, "version")
            if isinstance(stated, str):
                line = _line(text, max(0, text.find(f'"{key}": {{')))
                found.add(product, stated, "locked", path, line)
                break


def _read_package_json(found: _Findings, path: str, text: str) -> None:
    tree = _json(found, path, text)
    groups = ("dependencies", "devDependencies", "optionalDependencies", "peerDependencies")
    for product in (_NODE, _CLI):
        for group in groups:
            stated = _child(_child(tree, group), product.package)
            if isinstance(stated, str):
                line = _line(text, text.find(f'"{product.package}"'))
                found.add(product, stated, "declared", path, line)
                break


def _read_requirements(found: _Findings, path: str, text: str) -> None:
    for number, line in enumerate(text.splitlines(), 1):
        stated = _requirement(line)
        if stated is not None:
            pinned = re.fullmatch(r"===?\s*(\d[\w.+!-]*)", stated)
            exactness: Exactness = "locked" if pinned else "declared"
            version = pinned[1] if pinned else stated
            found.add(_PYTHON, version, exactness, path, number)
            return


def _read_pipfile_lock(found: _Findings, path: str, text: str) -> None:
    tree = _json(found, path, text)
    for group in ("default", "develop"):
        stated = _child(_child(_child(tree, group), _PYTHON.package), "version")
        if isinstance(stated, str):
            line = _line(text, text.find(_PYTHON.package))
            found.add(_PYTHON, stated.lstrip("="), "locked", path, line)
            return


def _read_packages_lock(found: _Findings, path: str, text: str) -> None:
    tree = _json(found, path, text)
    frameworks = _child(tree, "dependencies")
    for framework in frameworks.values() if isinstance(frameworks, dict) else ():
        stated = _child(_child(framework, _DOTNET.package), "resolved")
        if isinstance(stated, str):
            line = _line(text, text.find(f'"{_DOTNET.package}"'))
            found.add(_DOTNET, stated, "locked", path, line)
            return


def _toml_reader(product: _Product) -> _Reader:
    """Return a reader for a manifest that lists packages somewhere in tables."""

    def read(found: _Findings, path: str, text: str) -> None:
        import tomllib

        if product.package not in re.sub(r"[_.]+", "-", text.lower()):
            return
        if len(text) > _MOST_TOML_CHARACTERS:
            found.unseen.append(NotVisible("limit", f"{outside(path)} is too large"))
            return
        try:
            tree = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError):
            found.malformed(path)
            return
        for stated in _named_in(tree, product.package):
            match = re.search(product.package.replace("-", "[-_.]"), text, re.IGNORECASE)
            line = _line(text, match.start()) if match else None
            found.add(product, stated, "declared", path, line)
            return

    return read


def _named_in(  # noqa: C901 - one branch per shape
    tree: object, package: str, depth: int = 0
) -> Iterator[str]:
    """Return what a tree of TOML says about a package: as a key, or in a list of requirements."""
    if depth > _MOST_DEPTH:
        return
    if isinstance(tree, list):
        for item in tree:
            stated = _requirement(item) if isinstance(item, str) else None
            if stated is not None:
                yield stated
            elif not isinstance(item, str):
                yield from _named_in(item, package, depth + 1)
    elif isinstance(tree, Mapping):
        for key, value in tree.items():
            if re.sub(r"[-_.]+", "-", str(key)).lower() != package:
                yield from _named_in(value, package, depth + 1)
            elif isinstance(value, str):
                yield value
            elif isinstance(value, Mapping):
                yield str(value.get("version", ""))


def _requirement(line: str) -> str | None:
    """Return what a requirement says about the version of the Python SDK; None: another package."""
    match = re.match(r"\s*github[-_.]+copilot[-_.]+sdk\s*(?:\[[^\]]*\])?", line, re.IGNORECASE)
    if not match or re.match(r"[\w.-]", line[match.end() :]):
        return None
    return re.split(r"[;#\\]|\s--", line[match.end() :], maxsplit=1)[0].strip()


_NUGET_NAME: Final = re.compile(r'\b(?:Include|Update)\s?=\s?"GitHub\.Copilot\.SDK"', re.IGNORECASE)


def _read_project_of_dotnet(found: _Findings, path: str, text: str) -> None:
    for tag in re.finditer(r"<Package(?:Reference|Version)\s([^<>]{1,500})>", text):
        if not re.search(
            r'\b(?:Include|Update)\s?=\s?"GitHub\.Copilot\.SDK"', tag[1], re.IGNORECASE
        ):
            continue
        stated = re.search(r'\bVersion\s?=\s?"([^"]+)"', tag[1])
        if stated is None:
            below = text[tag.end() : tag.end() + 300]
            stated = re.match(r"\s*<Version>([^<]+)</Version>", below)
        version = stated[1] if stated else ""
        found.add(_DOTNET, version, "declared", path, _line(text, tag.start()))
        return


def _read_pom(found: _Findings, path: str, text: str) -> None:
    match = re.search(
        r"<artifactId>\s*copilot-sdk-java\s*</artifactId>\s*<version>([^<]{1,80})</version>",
        text,
    )
    if not match:
        return
    stated = match[1].strip()
    if stated.startswith("${"):
        name = re.escape(stated[2:-1])
        value = re.search(rf"<{name}>([^<]{{1,80}})</{name}>", text)
        stated = value[1] if value else ""
    found.add(_JAVA, stated, "declared", path, _line(text, match.start()))


def _json(found: _Findings, path: str, text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        found.malformed(path)
        return None


def _child(tree: object, key: str) -> Any:  # noqa: ANN401 - a foreign tree can hold anything
    return tree.get(key) if isinstance(tree, dict) else None


# Blocks of a lock file in TOML: name and version stand next to each other (uv, Poetry, PDM, Cargo).
_TOML_LOCK: Final = r'^name = "github-copilot-sdk"\s*\nversion = "([^"\n]+)"'
_READERS: Final[tuple[tuple[re.Pattern[str], _Reader], ...]] = tuple(
    (re.compile(names, re.IGNORECASE), reader)
    for names, reader in (
        (r"package-lock\.json|npm-shrinkwrap\.json", _read_package_lock),
        (r"package\.json", _read_package_json),
        (
            r"pnpm-lock\.yaml",
            _both(
                _by_pattern(
                    _NODE,
                    "locked",
                    r"^ {2}['\"]?/?@github/copilot-sdk[@/](\d[^:'\"(]*)",
                ),
                _by_pattern(
                    _CLI,
                    "locked",
                    r"^ {2}['\"]?/?@github/copilot[@/](\d[^:'\"(]*)",
                ),
            ),
        ),
        (
            r"yarn\.lock",
            _both(
                _by_pattern(
                    _NODE,
                    "locked",
                    r'^"?@github/copilot-sdk@[^\n]*:\r?\n\s+version:? "?([^"\s]+)',
                ),
                _by_pattern(
                    _CLI,
                    "locked",
                    r'^"?@github/copilot@[^\n]*:\r?\n\s+version:? "?([^"\s]+)',
                ),
            ),
        ),
        (
            r"bun\.lock",
            _both(
                _by_pattern(_NODE, "locked", r'\["@github/copilot-sdk@(\d[^"]*)"'),
                _by_pattern(_CLI, "locked", r'\["@github/copilot@(\d[^"]*)"'),
            ),
        ),
        (
            r"(?:uv|poetry|pdm|pylock(?:\.[^.]+)?)\.lock|pylock(?:\.[^.]+)?\.toml",
            _by_pattern(_PYTHON, "locked", _TOML_LOCK),
        ),
        (r"pipfile\.lock", _read_pipfile_lock),
        (r"requirements[\w.-]*\.(?:txt|in)", _read_requirements),
        (r"pyproject\.toml|pipfile", _toml_reader(_PYTHON)),
        (r"cargo\.lock", _by_pattern(_RUST, "locked", _TOML_LOCK)),
        (r"cargo\.toml", _toml_reader(_RUST)),
        (
            r"go\.mod",
            _by_pattern(
                _GO,
                "locked",
                r"^[ \t]*(?:require[ \t]+)?"
                r"github\.com/github/copilot-sdk/go(?:/v\d+)?[ \t]+(v[^\s/]+)",
            ),
        ),
        (r"packages\.lock\.json", _read_packages_lock),
        (
            r".+\.(?:cs|fs|vb)proj|directory\.packages\.props|directory\.build\.props",
            _read_project_of_dotnet,
        ),
        (r"pom\.xml", _read_pom),
        (
            r"gradle\.lockfile",
            _by_pattern(_JAVA, "locked", r"^com\.github:copilot-sdk-java:([^=\s]+)="),
        ),
        (
            r"build\.gradle(?:\.kts)?|libs\.versions\.toml",
            _by_pattern(_JAVA, "declared", r"com\.github:copilot-sdk-java:([\w.+-]+)"),
        ),
    )
)


# --- paths --------------------------------------------------------------------------------------


def _parents(folder: str) -> list[str]:
    """Return a folder and those above it, nearest first."""
    found = [os.path.normpath(folder)]
    while len(found) < _MOST_PARENTS and (above := _parent(found[-1])) != found[-1]:
        found.append(above)
    return found


def _parent(path: str) -> str:
    return os.path.dirname(path)  # noqa: PTH120 - maybe of another root


def _joined(folder: str | None, path: str) -> str:
    return os.path.join(folder, path) if folder and path else path  # noqa: PTH118 - maybe another root


def _base(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]


def _line(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1

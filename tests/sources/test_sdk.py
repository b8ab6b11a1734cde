from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doctor.sources import processes, sdk
from doctor.sources.processes import Environment, NotVisible, Process
from doctor.sources.sdk import look_at_process, look_at_project, sdk_of_process, sdks_of_project

if TYPE_CHECKING:
    from collections.abc import Iterator

    from doctor.deployment import Sdk

NODE = "@github/copilot-sdk"
CLI = "@github/copilot"


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
    return folder


def facts(found: Sdk) -> tuple[str, str | None, str, str, int | None]:
    assert found.origin
    assert found.origin.path
    name = Path(found.origin.path).name
    return (found.language, found.version, found.exactness, name, found.origin.line)


def package(name: str, version: str) -> str:
    return json.dumps({"name": name, "version": version})


LOCK_3 = json.dumps(
    {
        "lockfileVersion": 3,
        "packages": {
            "": {"dependencies": {NODE: "^1.0.0"}},
            f"node_modules/{NODE}": {"version": "1.0.24"},
            f"node_modules/other/node_modules/{NODE}": {"version": "0.1.0"},
        },
    },
    indent=2,
)

# name of the case: file, its text, what is found
FILES: dict[str, tuple[str, str, tuple[str, str | None, str, int | None]]] = {
    "npm lock 3": ("package-lock.json", LOCK_3, ("javascript", "1.0.24", "locked", 9)),
    "npm lock 1": (
        "npm-shrinkwrap.json",
        json.dumps({"dependencies": {NODE: {"version": "1.0.3"}}}, indent=2),
        ("javascript", "1.0.3", "locked", 3),
    ),
    "pnpm 9": (
        "pnpm-lock.yaml",
        f"packages:\n\n  '{NODE}@1.0.24':\n    resolution: {{}}\n",
        ("javascript", "1.0.24", "locked", 3),
    ),
    "pnpm 6": (
        "pnpm-lock.yaml",
        f"packages:\n  /{NODE}@1.0.24(zod@3):\n",
        ("javascript", "1.0.24", "locked", 2),
    ),
    "yarn 1": (
        "yarn.lock",
        f'\n"{NODE}@^1.0.0", "{NODE}@^1.0.2":\n  version "1.0.24"\n',
        ("javascript", "1.0.24", "locked", 2),
    ),
    "yarn 4": (
        "yarn.lock",
        f'"{NODE}@npm:^1.0.0":\n  version: 1.0.24\n',
        ("javascript", "1.0.24", "locked", 1),
    ),
    "bun": (
        "bun.lock",
        f'{{\n  "packages": {{\n    "{NODE}": ["{NODE}@1.0.24", "", {{}}],\n  }}\n}}\n',
        ("javascript", "1.0.24", "locked", 3),
    ),
    "package.json range": (
        "package.json",
        json.dumps({"devDependencies": {NODE: "^1.0.24"}}, indent=1),
        ("javascript", None, "declared", 3),
    ),
    "package.json exact": (
        "package.json",
        json.dumps({"dependencies": {NODE: "1.0.24"}}, indent=1),
        ("javascript", "1.0.24", "declared", 3),
    ),
    "uv": (
        "uv.lock",
        'version = 1\n\n[[package]]\nname = "github-copilot-sdk"\nversion = "1.0.27"\n',
        ("python", "1.0.27", "locked", 4),
    ),
    "poetry": (
        "poetry.lock",
        '[[package]]\nname = "github-copilot-sdk"\r\nversion = "1.0.0"\r\ndescription = ""\n',
        ("python", "1.0.0", "locked", 2),
    ),
    "pylock": (
        "pylock.toml",
        '[[packages]]\nname = "github-copilot-sdk"\nversion = "1.0.1"\n',
        ("python", "1.0.1", "locked", 2),
    ),
    "pipfile lock": (
        "Pipfile.lock",
        '{"default": {\n"github-copilot-sdk": {"version": "==1.0.13"}}}',
        ("python", "1.0.13", "locked", 2),
    ),
    "requirements pinned": (
        "requirements-dev.txt",
        "# a\nGitHub_Copilot.SDK[telemetry] == 1.0.24 ; python_version > '3' # why\n",
        ("python", "1.0.24", "locked", 2),
    ),
    "requirements with hashes": (
        "requirements.txt",
        "github-copilot-sdk==1.0.24 \\\n    --hash=sha256:00\n",
        ("python", "1.0.24", "locked", 1),
    ),
    "requirements range": (
        "requirements.txt",
        "github-copilot-sdk>=1.0.24,<2\n",
        ("python", None, "declared", 1),
    ),
    "requirements wildcard": (
        "requirements.txt",
        "github-copilot-sdk==1.0.*\n",
        ("python", None, "declared", 1),
    ),
    "pyproject": (
        "pyproject.toml",
        '[project]\ndependencies = [\n  "click",\n  "github-copilot-sdk>=1.0.25",\n]\n',
        ("python", None, "declared", 4),
    ),
    "pyproject of poetry": (
        "pyproject.toml",
        '[tool.poetry.group.dev.dependencies]\ngithub_copilot_sdk = {version = "1.0.25"}\n',
        ("python", "1.0.25", "declared", 2),
    ),
    "pipfile": (
        "Pipfile",
        '[packages]\ngithub-copilot-sdk = "*"\n',
        ("python", None, "declared", 2),
    ),
    "cargo lock": (
        "Cargo.lock",
        '[[package]]\nname = "github-copilot-sdk"\nversion = "1.0.12"\n',
        ("rust", "1.0.12", "locked", 2),
    ),
    "cargo": (
        "Cargo.toml",
        '[dependencies]\ngithub-copilot-sdk = "1.0"\n',
        ("rust", None, "declared", 2),
    ),
    "go": (
        "go.mod",
        "module x\n\nrequire (\n\tgithub.com/github/copilot-sdk/go v1.0.9\n)\n",
        ("go", "1.0.9", "locked", 4),
    ),
    "dotnet": (
        "app.csproj",
        '<Project>\n  <PackageReference Version="1.0.9" Include="GitHub.Copilot.SDK" />\n',
        ("dotnet", "1.0.9", "declared", 2),
    ),
    "dotnet nested": (
        "app.fsproj",
        '<PackageReference Include="GitHub.Copilot.SDK">\n <Version>1.0.9</Version>',
        ("dotnet", "1.0.9", "declared", 1),
    ),
    "dotnet central": (
        "Directory.Packages.props",
        '<PackageVersion Include="GitHub.Copilot.SDK" Version="1.0.9" />',
        ("dotnet", "1.0.9", "declared", 1),
    ),
    "dotnet lock": (
        "packages.lock.json",
        '{"dependencies": {"net8.0": {\n"GitHub.Copilot.SDK": {"resolved": "1.0.9"}}}}',
        ("dotnet", "1.0.9", "locked", 2),
    ),
    "maven": (
        "pom.xml",
        "<a>\n<artifactId>copilot-sdk-java</artifactId>\n <version>1.0.12</version></a>",
        ("java", "1.0.12", "declared", 2),
    ),
    "maven property": (
        "pom.xml",
        "<v>1.0.11</v>\n<artifactId>copilot-sdk-java</artifactId><version>${v}</version>",
        ("java", "1.0.11", "declared", 2),
    ),
    "gradle": (
        "build.gradle.kts",
        'implementation("com.github:copilot-sdk-java:1.0.12-preview.0")',
        ("java", "1.0.12-preview.0", "declared", 1),
    ),
    "gradle lock": (
        "gradle.lockfile",
        "# x\ncom.github:copilot-sdk-java:1.0.12=runtimeClasspath\n",
        ("java", "1.0.12", "locked", 2),
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_of_a_project(case: str, tmp_path: Path) -> None:
    name, text, (language, version, exactness, line) = FILES[case]
    write(tmp_path, {name: text})
    (found,) = sdks_of_project(tmp_path)
    assert facts(found) == (language, version, exactness, name, line)


@pytest.mark.parametrize("case", FILES)
def test_a_file_without_the_sdk_says_nothing(case: str, tmp_path: Path) -> None:
    name, text, _ = FILES[case]
    other = re.sub("copilot", "other", text, flags=re.IGNORECASE)
    write(tmp_path, {name: other})
    assert look_at_project(tmp_path) == sdk.SdkReport()


def test_a_declared_range_is_kept_and_an_address_is_not(tmp_path: Path) -> None:
    write(tmp_path, {"requirements.txt": "github-copilot-sdk>=1.0.24,<2\n"})
    assert sdks_of_project(tmp_path)[0].declared == ">=1.0.24,<2"
    secret = "ghp_canary0123456789"
    address = f"git+https://user:{secret}@github.com/github/copilot-sdk"
    write(tmp_path, {"requirements.txt": f"github-copilot-sdk @ {address}\n"})
    (found,) = sdks_of_project(tmp_path)
    assert (found.version, found.declared) == (None, "")
    assert secret not in repr(look_at_project(tmp_path))
    write(tmp_path, {"package.json": json.dumps({"dependencies": {NODE: address}})})
    assert secret not in repr(look_at_project(tmp_path))


def test_versions_that_are_none(tmp_path: Path) -> None:
    for bad in ("\x1b[31m1.0.0", "1.0.0\n2", "x" * 500, "", "../..", "[bold]"):
        lock = {"packages": {f"node_modules/{NODE}": {"version": bad}}}
        write(tmp_path, {"package-lock.json": json.dumps(lock)})
        (found,) = sdks_of_project(tmp_path)
        assert (found.version, found.exactness) == (None, "locked")


def test_the_surest_and_nearest_wins(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            ".git/HEAD": "",
            "package.json": json.dumps({"dependencies": {NODE: "^1.0.0", CLI: "1.0.63"}}),
            "uv.lock": '[[package]]\nname = "github-copilot-sdk"\nversion = "1.0.1"\n',
            "service/package-lock.json": LOCK_3,
            "service/requirements.txt": "github-copilot-sdk==1.0.2\n",
            "service/deep/x.txt": "",
        },
    )
    found = {one.language: facts(one) for one in sdks_of_project(tmp_path / "service" / "deep")}
    assert found == {
        "javascript": ("javascript", "1.0.24", "locked", "package-lock.json", 9),
        "python": ("python", "1.0.2", "locked", "requirements.txt", 1),
    }
    write(tmp_path, {f"node_modules/{NODE}/package.json": package(NODE, "1.0.26")})
    (installed,) = [
        one for one in sdks_of_project(tmp_path / "service") if one.language == "javascript"
    ]
    assert facts(installed)[1:4] == ("1.0.26", "installed", "package.json")


def test_a_pinned_cli_is_found_beside(tmp_path: Path) -> None:
    write(tmp_path, {"package.json": json.dumps({"dependencies": {CLI: "1.0.63"}})})
    report = look_at_project(tmp_path)
    assert report.sdks == ()
    assert [facts(one)[1:3] for one in report.clis] == [("1.0.63", "declared")]
    write(
        tmp_path, {"package-lock.json": json.dumps({"dependencies": {CLI: {"version": "1.0.64"}}})}
    )
    write(tmp_path, {f"node_modules/{CLI}/package.json": package(CLI, "1.0.73")})
    assert [facts(one)[1:3] for one in look_at_project(tmp_path).clis] == [("1.0.73", "installed")]


def test_parents_count_only_inside_of_a_repository(tmp_path: Path) -> None:
    write(tmp_path, {"uv.lock": FILES["uv"][1], "inner/x": ""})
    assert sdks_of_project(tmp_path / "inner") == ()
    write(tmp_path, {"inner/.git": "gitdir: elsewhere\n", "inner/deep/x": ""})
    assert sdks_of_project(tmp_path / "inner" / "deep") == ()
    write(tmp_path, {".git/HEAD": ""})
    (tmp_path / "inner" / ".git").unlink()
    assert len(sdks_of_project(tmp_path / "inner" / "deep")) == 1


def test_an_environment_beside_the_project(tmp_path: Path) -> None:
    place = ".venv/lib/python3.12/site-packages/github_copilot_sdk-1.0.24.dist-info/METADATA"
    write(tmp_path, {place: "", "requirements.txt": "github-copilot-sdk==1.0.27\n"})
    (found,) = sdks_of_project(tmp_path)
    assert facts(found)[1:4] == ("1.0.24", "installed", "METADATA")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("package.json", '{"dependencies": {"@github/copilot-sdk": '),
        ("package-lock.json", "@github/copilot-sdk"),
        ("Pipfile.lock", "github-copilot-sdk"),
        ("packages.lock.json", "GitHub.Copilot.SDK"),
        ("pyproject.toml", '[project\ndependencies = ["github-copilot-sdk"]'),
        ("pyproject.toml", "github-copilot-sdk = " + "[" * 100_000),
        ("package.json", '{"@github/copilot-sdk":' + "[" * 100_000),
    ],
)
def test_a_malformed_file_is_told_and_does_not_raise(tmp_path: Path, name: str, text: str) -> None:
    write(tmp_path, {name: text, "go.mod": FILES["go"][1]})
    report = look_at_project(tmp_path)
    assert [one.language for one in report.sdks] == ["go"]
    assert [(one.kind, name in one.reason) for one in report.unseen] == [("malformed", True)]


@pytest.mark.parametrize("value", [[], {}, 1, None, "text", {"a": None}])
@pytest.mark.parametrize("name", ["package.json", "package-lock.json", "Pipfile.lock"])
def test_trees_of_any_shape(tmp_path: Path, name: str, value: Any) -> None:
    keys = ("dependencies", "packages", "default", "devDependencies")
    for tree in (value, dict.fromkeys(keys, value), {key: {NODE: value} for key in keys}):
        write(tmp_path, {name: json.dumps([tree, "copilot-sdk"] if tree is value else tree)})
        look_at_project(tmp_path)


def test_what_is_too_large_is_told(tmp_path: Path) -> None:
    (tmp_path / "uv.lock").write_bytes(b"#" * (6 << 20))
    (gap,) = look_at_project(tmp_path).unseen
    assert (gap.kind, "uv.lock" in gap.reason) == ("limit", True)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX")
def test_a_pipe_in_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go.mod")
    started = time.perf_counter()
    assert look_at_project(tmp_path).sdks == ()
    assert time.perf_counter() - started < 2


def test_folders_without_end(tmp_path: Path) -> None:
    assert look_at_project(tmp_path / "none") == sdk.SdkReport()
    (tmp_path / "loop").symlink_to("loop")
    assert look_at_project(tmp_path / "loop") == sdk.SdkReport()
    assert look_at_project(Path("/" + "a/" * 500)) == sdk.SdkReport()


@pytest.mark.timeout(60)
def test_the_text_of_a_lock_file_is_searched_in_linear_time(tmp_path: Path) -> None:
    line = f'"{NODE}@' + "a" * 2_000 + "\n"
    write(
        tmp_path,
        {
            "yarn.lock": line * 2_000,
            "app.csproj": '<PackageReference Include="GitHub.Copilot.SDK" ' * 20_000,
            "pom.xml": "<artifactId>copilot-sdk-java</artifactId><version>" + " " * 1_000_000,
            "requirements.txt": "github-copilot-sdk " + " " * 1_000_000 + "x",
            "go.mod": "copilot" + " \n" * 1_000_000,
            "uv.lock": 'name = "github-copilot-sdk"\n' * 100_000 + "\n" * 1_000_000,
            "Cargo.toml": "github-copilot-sdk" + "a" * 1_000_000,
            "build.gradle": "com.github:copilot-sdk-java:" * 100_000,
        },
    )
    started = time.process_time()
    look_at_project(tmp_path)
    assert time.process_time() - started < 5


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(FILES)), st.data())
def test_no_damage_to_a_file_raises(
    tmp_path_factory: pytest.TempPathFactory, case: str, data: st.DataObject
) -> None:
    name, text, _ = FILES[case]
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    folder = tmp_path_factory.mktemp("x")
    write(folder, {name: text[:start] + data.draw(st.text(max_size=8)) + text[end:]})
    for found in look_at_project(folder).sdks:
        assert found.version is None or found.version.isprintable()


# --- processes ----------------------------------------------------------------------------------


@pytest.fixture
def described(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Describe a process that does not exist to the functions that look at one."""

    def describe(*argv: str, exe: str | NotVisible, cwd: Any, **variables: str) -> Process:
        monkeypatch.setattr(processes, "exe", lambda _: exe)
        monkeypatch.setattr(processes, "cwd", lambda _: cwd if cwd is None else str(cwd))
        if isinstance(cwd, NotVisible):
            monkeypatch.setattr(processes, "cwd", lambda _: cwd)
        monkeypatch.setattr(processes, "environ", lambda _: Environment(variables))
        monkeypatch.setattr(processes, "root_of", lambda _: "")
        return Process(pid=4000, ppid=1, name="x", argv=argv)

    return describe


DIST = "github_copilot_sdk-{}.dist-info/METADATA"


def test_python_finds_its_virtual_environment(described: Any, tmp_path: Path) -> None:
    write(tmp_path, {f"venv/lib/python3.12/site-packages/{DIST.format('1.0.24')}": ""})
    write(tmp_path, {f"base/lib/python3.12/site-packages/{DIST.format('1.0.1')}": ""})
    write(tmp_path, {"venv/bin/python": "", "base/bin/python3.12": ""})
    base = str(tmp_path / "base/bin/python3.12")
    for argv, variables in (
        ((f"{tmp_path}/venv/bin/python", "app.py"), {}),
        (("venv/bin/python", "app.py"), {}),
        (("python", "app.py"), {"PATH": f"/no/such:{tmp_path}/venv/bin"}),
        (("gunicorn: worker", "app.py"), {"VIRTUAL_ENV": f"{tmp_path}/venv"}),
        (
            (base, "app.py"),
            {"PYTHONPATH": f"{tmp_path}/none:{tmp_path}/venv/lib/python3.12/site-packages"},
        ),
    ):
        found = sdk_of_process(described(*argv, exe=base, cwd=tmp_path, **variables))
        assert found is not None
        assert facts(found)[:4] == ("python", "1.0.24", "installed", "METADATA")
    found = sdk_of_process(described(base, exe=base, cwd="/"))
    assert found is not None
    assert found.version == "1.0.1"


def test_python_of_another_version_does_not_count(described: Any, tmp_path: Path) -> None:
    write(tmp_path, {f"lib/python3.11/site-packages/{DIST.format('1.0.1')}": ""})
    exe = write(tmp_path, {"bin/python3.12": ""}) / "bin/python3.12"
    assert sdk_of_process(described(str(exe), exe=str(exe), cwd="/")) is None
    home = {f".local/lib/python3.12/site-packages/{DIST.format('1.0.2')}": ""}
    write(tmp_path / "home", home)
    process = described(str(exe), exe=str(exe), cwd="/", HOME=str(tmp_path / "home"))
    found = sdk_of_process(process)
    assert found is not None
    assert found.version == "1.0.2"


def test_node_looks_above_its_script_before_its_working_directory(
    described: Any, tmp_path: Path
) -> None:
    write(tmp_path, {f"app/node_modules/{NODE}/package.json": package(NODE, "1.0.24")})
    write(tmp_path, {f"here/node_modules/{NODE}/package.json": package(NODE, "1.0.1")})
    write(tmp_path, {"app/dist/deep/main.js": "", "here/x": ""})
    (tmp_path / "here/link.js").symlink_to("../app/dist/deep/main.js")
    for script in (f"{tmp_path}/app/dist/deep/main.js", "link.js", "../app/dist/deep/main.js"):
        process = described(
            "node", "--enable-source-maps", script, exe="/usr/bin/node", cwd=tmp_path / "here"
        )
        found = sdk_of_process(process)
        assert found is not None
        assert facts(found)[:3] == ("javascript", "1.0.24", "installed")
    repl = sdk_of_process(described("node", exe="/usr/bin/node", cwd=tmp_path / "here"))
    assert repl is not None
    assert repl.version == "1.0.1"


def test_a_process_falls_back_to_its_project(described: Any, tmp_path: Path) -> None:
    write(tmp_path, {"package-lock.json": LOCK_3, "uv.lock": FILES["uv"][1]})
    node = sdk_of_process(described("node", "x.js", exe="/usr/bin/node", cwd=tmp_path))
    python = sdk_of_process(described("python", exe="/usr/bin/python3", cwd=tmp_path))
    assert node is not None
    assert python is not None
    assert (facts(node)[:3], facts(python)[:3]) == (
        ("javascript", "1.0.24", "locked"),
        ("python", "1.0.27", "locked"),
    )


@pytest.mark.parametrize("argv", [("dotnet", "app.dll"), ("./app",)])
def test_a_dotnet_application_names_its_packages(
    described: Any, tmp_path: Path, argv: tuple[str, ...]
) -> None:
    text = '{"libraries": {\n"GitHub.Copilot.SDK/1.0.9": {"type": "package"}}}'
    write(tmp_path, {"app.deps.json": text, "app.dll": "", "app": ""})
    exe = "/usr/share/dotnet/dotnet" if argv[0] == "dotnet" else f"{tmp_path}/app"
    found = sdk_of_process(described(*argv, exe=exe, cwd=tmp_path))
    assert found is not None
    assert facts(found) == ("dotnet", "1.0.9", "installed", "app.deps.json", 2)


def test_java_names_it_on_its_class_path(described: Any) -> None:
    line = "/app/a.jar:/home/dev/.m2/copilot-sdk-java-1.0.12-preview.0.jar:/app/b.jar"
    process = described("java", "-cp", line, "Main", exe="/usr/bin/java", cwd="/")
    found = sdk_of_process(process)
    assert found is not None
    assert (found.language, found.version) == ("java", "1.0.12-preview.0")


@pytest.mark.parametrize(
    ("content", "language", "version"),
    [
        (
            b"\xff Go buildinf:\x08\0dep\tgithub.com/github/copilot-sdk/go\tv1.0.9\th1:x=\n",
            "go",
            "1.0.9",
        ),
        (b"/registry/src/index-0/github-copilot-sdk-1.0.12/src/client.rs\0", "rust", "1.0.12"),
    ],
)
def test_a_compiled_program_carries_its_version(
    described: Any, tmp_path: Path, content: bytes, language: str, version: str
) -> None:
    program = tmp_path / "server"
    program.write_bytes(b"\x7fELF" + b"\0" * 5_000_000 + content + b"\0" * 100)
    found = sdk_of_process(described(str(program), exe=str(program), cwd="/"))
    assert found is not None
    assert (found.language, found.version, found.exactness) == (language, version, "installed")
    program.write_bytes(b"\x7fELF" + b"\0" * 100)
    assert sdk_of_process(described(str(program), exe=str(program), cwd="/")) is None


def test_a_process_that_may_not_be_looked_at(described: Any) -> None:
    hidden = NotVisible("permission", "process 4000 belongs to another user", "sudo")
    report = look_at_process(described("/usr/bin/x", exe=hidden, cwd=hidden))
    assert report.sdks == ()
    assert report.unseen == (hidden,)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A real Python process of a virtual environment that has an SDK's metadata."""
    base = Path(os.path.realpath(sys.executable))
    minor = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    write(tmp_path, {f"env/lib/{minor}/site-packages/{DIST.format('1.0.24')}": ""})
    write(tmp_path, {"env/pyvenv.cfg": f"home = {base.parent}\n"})
    (tmp_path / "env/bin").mkdir()
    (tmp_path / "env/bin/python").symlink_to(base)
    process = subprocess.Popen(
        [tmp_path / "env/bin/python", "-c", "print('up', flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=tmp_path,
    )
    assert process.stdout
    process.stdout.readline()
    yield process
    process.communicate(b"\n")


@pytest.mark.skipif(sys.platform == "win32", reason="links")
def test_a_running_python_of_a_virtual_environment(client: subprocess.Popen[bytes]) -> None:
    seen = processes.running().get(client.pid)
    assert seen is not None
    found = sdk_of_process(seen)
    assert found is not None
    assert (found.version, found.exactness) == ("1.0.24", "installed")

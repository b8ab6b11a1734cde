"""Record the flags of real CLIs, and how their own parsers read command lines.

Usage:
    python scripts/record_flags.py CLI_FOLDER [--node NODE]

`CLI_FOLDER` holds one folder per version, each made with
``npm install --prefix CLI_FOLDER/1.0.63 @github/copilot@1.0.63``.
Node.js 24 or later is needed to load the program text of the versions up to 1.0.81.

Writes ``doctor/behaviour/flags.json``,
and records again every ``argv`` in ``tests/deployment/launch_observed.json``.

How: up to 1.0.81 the parser is commander, bundled into JavaScript. A copy of the package gets a
few lines in front of the parse call that write down the option table and parse each given command
line without running what it asks for. From 1.0.92 on the parser is clap in a native module that
exports one function; the names come from the shell completion, which lists hidden flags too,
and the rest from asking that function.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FLAGS = ROOT / "doctor" / "behaviour" / "flags.json"
OBSERVED = ROOT / "tests" / "deployment" / "launch_observed.json"
RUN_LIMIT_S = 120

COMMANDER_HOOK = r"""
if (this.name() === "copilot" && process.env.RECORD_IN) {
  const fs = require("fs"), program = this, exit = process.exit;
  const numberKind = (o) => {
    if (!o.parseArg || o.short === "-C") return "";
    try {
      if (typeof o.parseArg("12", undefined) !== "number") return "";
      try { o.parseArg("\u0001", undefined); } catch { return "checked"; }
      return Number.isNaN(o.parseArg("12", 3000)) ? "parse-int" : "decimal";
    } catch { return ""; }
  };
  const choices = (o) => {
    if (o.argChoices) return o.argChoices;
    if (!o.parseArg || o.short === "-C") return [];
    try { o.parseArg("\u0001", undefined); } catch (e) {
      if (/Use "on" or "off"/.test(e.message)) return ["on", "off"];
    }
    return [];
  };
  const attribute = (name) => {
    const found = program.options.find((o) => o.attributeName() === name && !o.negate);
    return found ? found.long || found.short : name;
  };
  const table = {
    flags: program.options.map((o) => ({
      name: o.long || o.short, aliases: o.long && o.short ? [o.short] : [],
      arity: o.variadic ? "variadic" : o.optional ? "optional" : o.required ? "value" : "none",
      metavar: (o.flags.match(/[<[]([^\]>.]*)/) || ["", ""])[1],
      choices: choices(o), number: numberKind(o), hidden: !!o.hidden,
      conflicts: o.conflictsWith.map(attribute), attribute: o.attributeName(), negates: o.negate,
    })),
    commands: program.commands.flatMap((c) => [c.name(), ...c.aliases()]),
    cases: [],
  };
  process.chdir = () => {};
  process.exit = (code) => { throw Object.assign(new Error("exit"), { code: "exit" }); };
  let seen;
  const arm = (c) => {
    c.exitOverride();
    c._lifeCycleHooks = {};
    if (c._actionHandler) c._actionHandler = () => { seen.ran = c; };
    c.configureOutput({ ...c._outputConfiguration,
      writeOut: (t) => { seen.out += t; }, writeErr: (t) => { seen.err += t; },
      outputError: (t, write) => write(t) });
    c.commands.forEach(arm);
  };
  arm(program);
  const write = process.stderr.write;
  for (const argv of JSON.parse(fs.readFileSync(process.env.RECORD_IN, "utf8"))) {
    seen = { out: "", err: "", ran: null };
    let code = "";
    process.stderr.write = (t) => { seen.err += t; return true; };
    try {
      program._prepareForParse();
      await program._parseCommand([], [...argv]);
    } catch (e) { code = e.code || "thrown"; }
    process.stderr.write = write;
    let command = seen.ran;
    while (command && command.parent && command.parent !== program) command = command.parent;
    const given = {};
    for (const [name, value] of Object.entries(program.opts()))
      if (program.getOptionValueSource(name) === "cli") given[name] = value;
    table.cases.push({ code, given, err: seen.err,
      command: command && command !== program ? command.name() : "" });
  }
  fs.writeFileSync(process.env.RECORD_OUT, JSON.stringify(table,
    (key, value) => typeof value === "number" && Number.isNaN(value) ? "NaN" : value));
  exit.call(process, 0);
}
"""

CLAP_SCRIPT = r"""
const fs = require("fs"), native = require(process.argv[1]);
const lines = JSON.parse(fs.readFileSync(process.env.RECORD_IN, "utf8"));
fs.writeFileSync(process.env.RECORD_OUT, JSON.stringify(
  lines.map((argv) => native.cliParse(["copilot", ...argv]))));
"""


def main() -> int:
    """Record every version in the folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("cli_folder", type=Path)
    parser.add_argument("--node", default="node", help="Node.js 24 or later")
    options = parser.parse_args()
    found = [f for f in options.cli_folder.iterdir() if (f / "node_modules/@github").is_dir()]
    versions = sorted((f.name for f in found), key=sort_key)
    observed = json.loads(OBSERVED.read_text()) if OBSERVED.exists() else []
    cases = [entry["argv"] for entry in observed]
    tables: dict[str, dict[str, Any]] = {}
    for version in versions:
        packages = options.cli_folder / version / "node_modules" / "@github"
        earlier = {
            n for t in tables.values() for f in t["flags"] for n in (f["name"], *f["aliases"])
        }
        tables[version] = record(packages, options.node, cases, earlier)
        print(f"{version}: {len(tables[version]['flags'])} flags")
    FLAGS.write_text(render(flags_document(tables)))
    OBSERVED.write_text(render(observed_document(cases, tables)))
    return 0


def sort_key(version: str) -> tuple[int, ...]:
    """Return the numbers of a version."""
    return tuple(int(part) for part in re.findall(r"\d+", version))


def record(
    packages: Path, node: str, cases: Sequence[Sequence[str]], earlier: set[str]
) -> dict[str, Any]:
    """Return the flags, the subcommands and the outcome of each case of one version.

    Args:
        packages: The ``@github`` folder of an installation.
        node: The Node.js program.
        cases: Command lines, without the program.
        earlier: Names of flags of earlier versions: a parser can accept what it lists nowhere.
    """
    for folder in sorted(packages.iterdir(), reverse=True):
        for name in ("app.js", "index.js"):
            program = folder / name
            if program.is_file() and b"_prepareForParse" in program.read_bytes():
                return record_commander(folder, name, node, cases)
    native = next(packages.glob("copilot-*/copilot"))
    return record_clap(native, node, cases, earlier)


# --- commander -----------------------------------------------------------------------------------


def record_commander(
    folder: Path, name: str, node: str, cases: Sequence[Sequence[str]]
) -> dict[str, Any]:
    """Ask the commander program in `folder`."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "package"
        copy.mkdir()
        for entry in folder.iterdir():
            if entry.name == "prebuilds":  # native modules must lie where the program lies
                shutil.copytree(entry, copy / entry.name)
            elif entry.name != name:
                (copy / entry.name).symlink_to(entry)
        text = (folder / name).read_text(encoding="utf-8", errors="surrogateescape")
        hooked, count = re.subn(
            r"(async parseAsync\([\w$]+,[\w$]+\)\{)(this\._prepareForParse\(\))",
            lambda match: match[1] + COMMANDER_HOOK + match[2],
            text,
            count=1,
        )
        if not count:
            raise SystemExit(f"{folder}: the parse call was not found")
        (copy / name).write_text(hooked, encoding="utf-8", errors="surrogateescape")
        table: dict[str, Any] = run_node([node, str(copy / name), "--banner"], scratch, cases)
    names = {(f["attribute"], f["negates"]): f["name"] for f in table["flags"]}
    table["outcomes"] = [commander_outcome(case, names) for case in table["cases"]]
    table["parser"] = "commander"
    # Always there, but not in the table of options.
    table["flags"].append(flag_entry("--help", aliases=["-h"]))
    return table


def commander_outcome(case: dict[str, Any], names: dict[tuple[str, bool], str]) -> dict[str, Any]:
    """Return what became of a command line, in the words of `launch_observed.json`."""
    if case["code"] == "commander.version":
        return {"prints": "version"}
    if case["code"] == "commander.helpDisplayed":
        return {"prints": "help"}
    if case["command"] or case["code"] == "commander.help":
        return {"command": case["command"]} if case["command"] else {"prints": "help"}
    if case["code"]:
        return {"error": case["err"].strip().splitlines()[0]}
    return {"options": given_options(case["given"], names)}


# --- clap ----------------------------------------------------------------------------------------


def record_clap(
    native: Path, node: str, cases: Sequence[Sequence[str]], earlier: set[str]
) -> dict[str, Any]:
    """Ask the native program's parser."""
    with tempfile.TemporaryDirectory() as scratch:
        completion = run_native(native, scratch, "completion", "bash")
        help_text = run_native(native, scratch, "--help")
        module = next(Path(scratch).rglob("cli-native.node"))

        def ask(lines: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
            answers: list[dict[str, Any]] = run_node(
                [node, "-e", CLAP_SCRIPT, str(module)], scratch, lines
            )
            return answers

        words = re.findall(r'copilot\)\s+opts="([^"]*)"', completion)[0].split()
        answers = ask([[name, "1"] for name in sorted(earlier)])
        accepted = [
            name
            for name, answer in zip(sorted(earlier), answers, strict=True)
            if "unexpected argument" not in answer.get("text", "")
        ]
        flags = clap_flags([*words, *accepted], help_text, ask)
        names = {(f.pop("attribute"), f.pop("negates")): f["name"] for f in flags}
        outcomes = [clap_outcome(answer, names) for answer in ask(cases)]
    return {
        "parser": "clap",
        "flags": flags,
        "commands": [word for word in words if not word.startswith("-")],
        "outcomes": outcomes,
    }


def clap_flags(words: Sequence[str], help_text: str, ask: Any) -> list[dict[str, Any]]:  # noqa: ANN401
    """Find out about each flag by asking the parser."""
    flags_only = [word for word in dict.fromkeys(words) if word.startswith("-")]
    names = sorted(flags_only, key=lambda name: not name.startswith("--"))
    bare = dict(zip(names, ask([[n] for n in names]), strict=True))
    odd = dict(zip(names, ask([[f"{n}=\x01"] for n in names]), strict=True))
    two = dict(zip(names, ask([[n, "on", "off"] for n in names]), strict=True))
    flags: dict[str, dict[str, Any]] = {}
    keys: dict[tuple[str, bool], str] = {}
    for name in names:
        text = odd[name].get("text", "")
        takes = "no more were expected" not in text and name not in {"--help", "-h"}
        needs = "a value is required" in bare[name].get("text", "")
        listed = re.search(rf"(?m)^ +(?:-\w, )?{name}(?: |$)", help_text)
        entry = flag_entry(name, hidden=not listed)
        if takes:
            entry["arity"] = "value" if needs else "optional"
            if not needs and two[name]["kind"] == "run":
                entry["arity"] = "variadic"
            entry["metavar"] = clap_metavar(name, bare[name], odd[name], help_text)
            possible = re.search(r"\[possible values: ([^\]]*)\]", text)
            if possible and "invalid value" in text:
                entry["choices"] = possible[1].split(", ")
            elif 'Use "on" or "off"' in text:
                entry["choices"] = ["on", "off"]
            elif "invalid digit" in text:
                entry["number"] = "strict"
        sample = (entry["choices"] or ["1"])[0]
        entry["sample"] = (
            [name] if entry["arity"] in {"none", "optional", "variadic"} else [name, sample]
        )
        beside: list[str] = []
        alone = ask([entry["sample"]])[0].get("text", "")
        if "required arguments were not provided" in alone:
            entry["requires"] = re.findall(r"(?m)^ +<?(--[\w-]+)", alone)
            beside = clap_sample(entry["requires"][0], bare)
        key = clap_key(name, entry["sample"], beside, ask)
        entry["sample"] += beside
        if key in keys:
            flags[keys[key]]["aliases"].append(name)
        else:
            keys[key] = name
            entry["attribute"], entry["negates"] = key
            flags[name] = entry
    add_conflicts(flags, ask)
    return list(flags.values())


def clap_sample(name: str, bare: dict[str, Any]) -> list[str]:
    """Return a flag with a value where it needs one."""
    return [name, "1"] if "a value is required" in bare[name].get("text", "") else [name]


def clap_key(name: str, sample: list[str], beside: list[str], ask: Any) -> tuple[str, bool]:  # noqa: ANN401
    """Return the result field that a flag sets, and whether it sets it to false."""
    plain, given = ask([beside, [*sample, *beside]])
    if given["kind"] != "run":  # --help
        return (name.lstrip("-")[0], False) if name in {"-h", "--help"} else (name, False)
    before, after = plain["rootOptions"], given["rootOptions"]
    for key, value in after.items():
        if before.get(key) != value:
            return key, value is False
    return name, False


def clap_metavar(name: str, bare: dict[str, Any], odd: dict[str, Any], help_text: str) -> str:
    """Return how the parser writes the flag's value."""
    for text in (bare.get("text", ""), odd.get("text", "")):
        if match := re.search(r"for '(?:-\w, )?--?[\w-]+ ([^']+)'", text):
            return match[1].strip("[]<>.")
    match = re.search(rf"(?m)^ +(?:-\w, )?{name} ([<\[].*)$", help_text)
    return match[1].split(" [")[0].strip("[]<>.") if match else ""


def add_conflicts(flags: dict[str, dict[str, Any]], ask: Any) -> None:  # noqa: ANN401
    """Give every pair of flags to the parser."""
    pairs = [(a, b) for a in flags for b in flags if a < b and "--help" not in {a, b}]
    answers = ask([[*flags[a]["sample"], *flags[b]["sample"]] for a, b in pairs])
    for (first, second), answer in zip(pairs, answers, strict=True):
        if "cannot be used with" in answer.get("text", ""):
            flags[first]["conflicts"].append(second)
            flags[second]["conflicts"].append(first)
    for entry in flags.values():
        del entry["sample"]


def clap_outcome(answer: dict[str, Any], names: dict[tuple[str, bool], str]) -> dict[str, Any]:
    """Return what became of a command line, in the words of `launch_observed.json`."""
    if answer["kind"] == "output":
        if answer["exitCode"] == 0:
            return {"prints": "help"}
        return {"error": answer["text"].strip().splitlines()[0]}
    if command := answer["command"]["name"]:
        return {"command": command.split()[0]}
    options = answer["rootOptions"]
    if options.get("version"):
        return {"prints": "version"}
    defaults = {"maxAutopilotContinues": 5}
    given = {
        key: value
        for key, value in options.items()
        if defaults.get(key) != value and (value is not True or (key, False) in names)
    }
    return {"options": given_options(given, names)}


# --- both ----------------------------------------------------------------------------------------


def flag_entry(name: str, *, aliases: Iterable[str] = (), hidden: bool = False) -> dict[str, Any]:
    """Return the entry of a flag without a value."""
    return {
        "name": name,
        "aliases": list(aliases),
        "arity": "none",
        "metavar": "",
        "choices": [],
        "number": "",
        "hidden": hidden,
        "conflicts": [],
        "requires": [],
    }


def given_options(given: dict[str, Any], names: dict[tuple[str, bool], str]) -> dict[str, Any]:
    """Return parsed options by the names of their flags."""
    options = {}
    for key, value in given.items():
        if value is False and (key, True) in names:
            options[names[key, True]] = True
        else:
            options[names.get((key, False), key)] = without_folder(value)
    return options


def without_folder(value: Any) -> Any:  # noqa: ANN401
    """Take the folder that this ran in out of paths: commander makes some of them absolute."""
    if isinstance(value, list):
        return [without_folder(part) for part in value]
    return value.removeprefix(f"{Path.cwd()}/") if isinstance(value, str) else value


def run_node(command: Sequence[str], scratch: str, lines: Sequence[Sequence[str]]) -> Any:  # noqa: ANN401
    """Run a Node.js program that reads command lines and writes its findings."""
    given, found = Path(scratch) / "in.json", Path(scratch) / "out.json"
    given.write_text(json.dumps(lines))
    found.unlink(missing_ok=True)
    environment = clean_environment(scratch) | {"RECORD_IN": str(given), "RECORD_OUT": str(found)}
    done = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=RUN_LIMIT_S,
        check=False,
    )
    if not found.exists():
        raise SystemExit(f"{command[:2]}: nothing recorded\n{done.stderr.decode()[-2000:]}")
    return json.loads(found.read_text())


def run_native(program: Path, home: str, *arguments: str) -> str:
    """Run the native program and return what it prints."""
    environment = clean_environment(home) | {"COLUMNS": "400"}
    done = subprocess.run(
        [str(program), *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=RUN_LIMIT_S,
        check=True,
    )
    return done.stdout.decode()


def clean_environment(home: str) -> dict[str, str]:
    """Return an environment of which nothing reaches a result."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": home,
        "COPILOT_HOME": home,
        "COPILOT_AUTO_UPDATE": "false",
    }


def flags_document(tables: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Join the tables: one entry for each run of versions on which a flag was the same."""
    versions = list(tables)
    entries: list[dict[str, Any]] = []
    for name in sorted({f["name"] for t in tables.values() for f in t["flags"]}):
        for flag, since, until in runs(
            versions, [find(tables[v]["flags"], name) for v in versions]
        ):
            entries.append(compact(flag, since, until))
    commands = []
    for name in sorted({c for t in tables.values() for c in t["commands"]}):
        present = [name if name in tables[v]["commands"] else None for v in versions]
        commands += [compact({"name": c}, s, u) for c, s, u in runs(versions, present)]
    clap_since = next((v for v in versions if tables[v]["parser"] == "clap"), None)
    return {"versions": versions, "clap_since": clap_since, "commands": commands, "flags": entries}


def find(flags: Sequence[dict[str, Any]], name: str) -> dict[str, Any] | None:
    """Return what matters of a flag, or None where a version lacks it."""
    flag = next((f for f in flags if f["name"] == name), None)
    kept = (
        *("name", "aliases", "arity", "metavar", "choices", "number", "hidden"),
        *("conflicts", "requires"),
    )
    return None if flag is None else {key: flag.get(key) for key in kept}


def runs(versions: Sequence[str], values: Sequence[Any]) -> Iterator[tuple[Any, str, str]]:
    """Yield each value with the first and the last version of every unbroken run of it."""
    start = 0
    for end in range(1, len(versions) + 1):
        if end == len(versions) or values[end] != values[start]:
            if values[start] is not None:
                yield values[start], versions[start], versions[end - 1]
            start = end


def compact(entry: dict[str, Any], since: str, until: str) -> dict[str, Any]:
    """Leave out what is empty."""
    kept = {key: sorted(v) if key == "conflicts" else v for key, v in entry.items() if v}
    if kept.get("arity") == "none":
        del kept["arity"]
    return kept | {"since": since, "until": until}


def observed_document(
    cases: Sequence[Sequence[str]], tables: dict[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    """Join the outcomes: versions on which a command line came to the same stand together."""
    document = []
    for index, argv in enumerate(cases):
        groups: list[tuple[Any, list[str]]] = []
        for version, table in tables.items():
            outcome = table["outcomes"][index]
            with contextlib.suppress(StopIteration):
                next(group for group in groups if group[0] == outcome)[1].append(version)
                continue
            groups.append((outcome, [version]))
        document.append({"argv": argv, "outcomes": [o | {"versions": v} for o, v in groups]})
    return document


def render(document: Any) -> str:  # noqa: ANN401
    """Return JSON with one entry of a list per line: small, and readable in a diff."""

    def lines(items: Sequence[Any]) -> str:
        return ",\n".join(json.dumps(item, ensure_ascii=False) for item in items)

    if isinstance(document, list):
        return f"[\n{lines(document)}\n]\n"
    parts = [
        f"{json.dumps(key)}: "
        + (
            f"[\n{lines(value)}\n]"
            if isinstance(value, list) and value and isinstance(value[0], dict)
            else json.dumps(value)
        )
        for key, value in document.items()
    ]
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    sys.exit(main())

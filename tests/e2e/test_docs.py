"""The Markdown pages: each command prints what its page says, and whatever a page names exists."""

import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.support import markdown
from tests.support.markdown import blocks, check_python, masked, prose, read, run
from tests.support.processes import ROOT
from tests.support.stack import Stack

# Every file of the repository, relative to its root: those in the index, and new ones that are not ignored.
_LIST = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
_LISTED = subprocess.run(_LIST, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
FILES = [Path(name) for name in _LISTED if (ROOT / name).is_file()]
PAGES = sorted(str(file) for file in FILES if file.suffix == ".md")

# In backquotes: directories, and perhaps a file in the last of them.
_PATH = re.compile(r"`((?:[\w.-]+/)+(?:[\w.-]+\.[a-z]+)?)`")
_PAGE_NAME = re.compile(r"(?<![\w./-])(?:[\w.-]+/)*[\w-]+\.md\b")
# The variables that the settings are read from, by their names in the code.
_VARIABLE = re.compile(r'environment(?:\.get\(|, )"([A-Z_]+)"')
_SETTINGS_FILES = ("server/auth_settings.py", "server/settings.py", "server/stack/settings.py", "storage/migrate.py")
_BINARY = {".binpb", ".gz", ".png"}


def commands(page: str) -> list[tuple[str, str]]:
    """Return the `$` lines of the console blocks of a page, each with the output that follows it."""
    found = []
    for block in blocks(page, "console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            # A command goes on as long as a quote is open or its line ends in a backslash or a pipe.
            lines = part.splitlines()
            end = 1
            while lines[end - 1].endswith(("\\", "|")) or "\n".join(lines[:end]).count("'") % 2:
                end += 1
            found.append(("\n".join(lines[:end]), "\n".join(lines[end:])))
    return found


def adapted(text: str, page: str, stack: Stack) -> str:
    """Return a command or program of a page for `stack`: at its ports, and for customers that no other page has."""
    return markdown.adapted(re.sub(r"\b(acme|globex)\b", rf"\1-{PAGES.index(page)}", text), stack)


# Their commands make keys, so that from then on callers need some.
GUARDED_PAGES = ("docs/access.md", "docs/callers.md")


@pytest.mark.parametrize("page", GUARDED_PAGES)
def test_the_commands_with_keys_print_what_their_page_says(
    guarded: Stack, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    monkeypatch.setenv("OWNER_DATABASE_URL", guarded.database_url)
    # In one shell, which keeps the keys.
    script = "\n".join(command for command, _ in commands(page))
    expected = "\n".join(output for _, output in commands(page) if output)
    printed = run(["bash", "-e", "-o", "pipefail"], adapted(script, page, guarded))
    # A response has no line feed at its end.
    assert masked(printed).replace("\n", "") == masked(adapted(expected, page, guarded)).replace("\n", "")


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page) and page not in GUARDED_PAGES])
def test_every_command_prints_what_its_page_says(stack: Stack, page: str) -> None:
    for command, output in commands(page):
        printed = run(["bash", "-e", "-o", "pipefail"], adapted(command, page, stack))
        assert masked(printed) == masked(adapted(output, page, stack)), command


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python") and page not in GUARDED_PAGES])
def test_every_python_example_prints_what_its_comments_say(stack: Stack, page: str) -> None:
    for program in blocks(page, "python"):
        check_python(adapted(program, page, stack))


def test_no_command_is_outside_of_the_blocks_that_are_run() -> None:
    assert len(commands("README.md")) >= 5
    assert len(commands("docs/api.md")) >= 10
    for page in PAGES:
        assert len(re.findall(r"^\s*\$ ", read(page), re.MULTILINE)) == len(commands(page)), page


def test_the_readme_has_at_most_150_lines() -> None:
    assert len(read("README.md").splitlines()) <= 150


def is_in_repository(path: Path) -> bool:
    """Return whether `path`, relative to the root, is a file of the repository or a directory with one in it."""
    resolved = (ROOT / path).resolve()
    return any(resolved == ROOT / file or resolved in (ROOT / file).parents for file in FILES)


def anchors(page: str) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    found = []
    seen: Counter[str] = Counter()
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        found.append(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return set(found)


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file_and_a_heading(page: str) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match("[a-z]+:", link):  # To another site.
            continue
        name, _, anchor = link.partition("#")
        target = Path(page).parent / name if name else Path(page)
        assert is_in_repository(target), link
        assert not anchor or anchor in anchors(str(target)), link


def test_every_page_that_a_file_mentions_is_in_the_repository() -> None:
    mentions = [(file, name) for file in FILES if file.suffix not in _BINARY for name in _PAGE_NAME.findall(read(file))]
    places = [(file, name, (Path(name), file.parent / name)) for file, name in mentions]
    assert not [f"{file} mentions {name}" for file, name, paths in places if not any(map(is_in_repository, paths))]


@pytest.mark.parametrize("page", PAGES)
def test_every_path_in_backquotes_is_in_the_repository(page: str) -> None:
    paths = [Path(name) for name in _PATH.findall(prose(page)) if not name.startswith(".venv/")]
    assert not [path for path in paths if not is_in_repository(path)]


def test_every_setting_is_documented() -> None:
    settings = {name for file in _SETTINGS_FILES for name in _VARIABLE.findall(read(file))}
    documented = set(re.findall(r"^\| `([A-Z_]+)` \|", read("docs/operations.md"), re.MULTILINE))
    assert settings == documented


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_of_a_page_exists(page: str) -> None:
    quoted = [*re.findall(r"`([^`\n]+)`", prose(page)), *"\n".join(blocks(page, "sh")).splitlines()]
    called = re.findall(r"^make (?:[A-Z]+=\S+ )*([a-z -]+)", "\n".join(quoted), re.MULTILINE)
    existing = re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE)
    assert set(" ".join(called).split()) <= set(existing)

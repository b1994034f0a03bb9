"""How the repository is built: tables of its files."""

from collections.abc import Callable, Mapping, Sequence

from table_cells import Row, plain, results


def house() -> list[Row]:
    figures, rows = results("house"), [("", "before", "now")]
    for name, label in {
        "files": "Python files", "lines": "lines of Python", "readme_lines": "lines of README", "import_circles": "import circles",
        "files_picture_to_action": "files from a picture to an action",
        "files_episode_to_checkpoint": "files from an episode to a checkpoint",
        "duplicate_pairs": "pairs of similar blocks",
    }.items():  # fmt: skip
        if name in figures:
            rows.append((label, plain(figures[f"{name}_before"]) if f"{name}_before" in figures else "", plain(figures[name])))
    return rows


def house_way() -> list[Row]:
    """Where the files from a picture to an action are, most first."""
    stem, named = "files_picture_to_action/", "`{}`".format
    found = {key.removeprefix(stem): value for key, value in results("house").items() if key.startswith(stem)}
    most_first = sorted(found, key=lambda folder: (-found[folder], folder))
    return [("folder", "files from a picture to an action"), *((named(folder), plain(found[folder])) for folder in most_first)]


def house_folders() -> list[Row]:
    """Files and lines of each folder, before and now; a folder that is gone has nothing now."""
    figures = results("house")
    folders = sorted({key.split("/", 1)[1] for key in figures if key.startswith("files/") or key.startswith("files_before/")})
    rows: list[Row] = [("folder", "files before", "files now", "lines before", "lines now")]
    for folder in folders:
        kinds = (f"{kind}{when}/{folder}" for kind in ("files", "lines") for when in ("_before", ""))
        rows.append((folder, *(plain(figures[key]) if key in figures else "" for key in kinds)))
    return rows


TABLES: Mapping[str, Callable[[], Sequence[Row]]] = {
    "house": house,
    "house-way": house_way,
    "house-folders": house_folders,
}

"""Recipes are data, and whole: every file loads, every key is used, every system passes, every document is what was made."""

import json
import re
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import pytest

from steps import check
from steps.core import config
from steps.core.sweeps import read_sweep
from steps.report import read_facts, recipe_markdown

REPOSITORY = Path(__file__).parents[2]
RECIPES = sorted(path for path in (REPOSITORY / "recipes").iterdir() if path.is_dir())
NOT_SYSTEMS = ("recipe", "paper", "fusion", "align")
SECTIONS = {name: kind for stage in check.EVERY_STAGE for name, kind in stage.sections.items()}


def _named(path):
    return path.relative_to(REPOSITORY).as_posix()


def _systems(recipe):
    """Its TOML files but those that are something else: the recipe's own, and fusions and alignments of systems."""
    return sorted(path.stem for path in recipe.glob("*.toml") if not path.stem.startswith(NOT_SYSTEMS))


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr(config, "SITE_FILE", Path("conf/no-site.toml"))  # the machine of whoever runs this stays outside


@pytest.mark.parametrize("recipe", RECIPES, ids=_named)
def test_a_recipe_has_its_documents(recipe):
    for name in ("README.md", "recipe.toml", "paper.toml"):
        assert (recipe / name).is_file(), f"{_named(recipe)} has no {name}"


@pytest.mark.parametrize("recipe", RECIPES, ids=_named)
def test_a_recipe_lists_each_of_its_systems_once(recipe):
    facts = read_facts(recipe)
    assert sorted(facts.systems) == _systems(recipe)
    assert set(facts.not_run) <= set(facts.systems)


@pytest.mark.parametrize(("recipe", "system"), [(recipe, system) for recipe in RECIPES for system in _systems(recipe)], ids=str)
def test_a_system_passes_the_check_of_all_its_stages(recipe, system):
    plans = check.plan_systems(recipe, [system], [])
    assert (plans[-1].system, plans[-1].last) == (system, 8)
    assert {plan.model.partition("/")[0] for plan in plans} <= set(_systems(recipe)), (
        "uses the network of a system that there is not"
    )
    assert [plan.last for plan in plans[:-1]] == [4] * (len(plans) - 1)


@pytest.mark.parametrize("recipe", RECIPES, ids=_named)
def test_all_systems_of_a_recipe_pass_together(recipe, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["check", "--recipe", _named(recipe), "--system", "all"])
    check.main()
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    names = [line[1] for line in lines if line[0] == "system"]
    assert names[: len(_systems(recipe))] == list(read_facts(recipe).systems)
    for kind, name, _, systems in (line for line in lines if line[0] != "system"):
        assert kind in ("fusion", "align")
        assert {folder.partition("/")[0] for folder in systems.split()} <= set(names), f"{name} needs a system that there is not"


@pytest.mark.parametrize("sweep", sorted((REPOSITORY / "recipes").glob("*/sweeps/*.toml")), ids=_named)
def test_every_point_of_a_sweep_passes_the_check_of_all_its_stages(sweep):
    recipe = sweep.parent.parent
    found = read_sweep(sweep)
    plans = check.plan_sweep(recipe, found, [])
    assert [plan.system for plan in plans if plan.last == 8] == [f"{found.name}.{point.name}" for point in found.points]
    assert {point.system for point in found.points} <= set(_systems(recipe))


def test_no_python_in_recipes():
    assert not list((REPOSITORY / "recipes").rglob("*.py"))


@pytest.mark.parametrize("path", sorted((REPOSITORY / "conf").rglob("*.toml")), ids=_named)
def test_a_shared_settings_file_sets_only_what_is_used(path):
    for section, table in config.load_layers([path]).tables.items():
        if section in ("site", "launch"):  # launchers: tests/core/test_core_launchers.py
            continue
        kind = SECTIONS[section]
        kinds = list(kind.values()) if isinstance(kind, Mapping) else [kind]
        if len(kinds) > 1 and "type" in table:
            kinds = [kind[table["type"]]]
        known = {each.name for one in kinds for each in fields(one)}
        assert set(table) <= known, f"[{section}] has no {sorted(set(table) - known)}"


def test_every_section_that_may_be_written_is_read_by_a_stage():
    assert set(SECTIONS) | {"recipe", "site", "launch", "transcode"} >= set(config.SECTIONS)
    assert set(SECTIONS) <= set(config.SECTIONS)


@pytest.mark.parametrize("recipe", RECIPES, ids=_named)
def test_published_figures_are_whole(recipe):
    rows = read_facts(recipe).published  # raises for a row that is not whole
    figures = [(row.system, row.list, row.source, *row.min_dcf) for row in rows]
    assert len(set(figures)) == len(figures), "a figure is published twice by one source"


@pytest.mark.parametrize("recipe", RECIPES, ids=_named)
def test_a_figure_published_of_a_sweep_is_that_of_a_point_it_has(recipe):
    for system in {row.system for row in read_facts(recipe).published if "." in row.system}:
        sweep, _, point = system.partition(".")
        assert point in {each.name for each in read_sweep(recipe / "sweeps" / f"{sweep}.toml").points}, system


@pytest.mark.parametrize("recipe", RECIPES, ids=_named)
def test_paper_toml_holds_known_tables(recipe):
    known = {"published", "counts", "expected", "paper"}
    path = recipe / "paper.toml"
    assert path.is_file()
    assert set(tomllib.loads(path.read_text(encoding="utf-8"))) <= known


@pytest.mark.parametrize("recipe", RECIPES, ids=_named)
def test_results_are_what_their_records_make(recipe):
    if not list((recipe / "results").glob("*.json")) and not (recipe / "RESULTS.md").exists():
        pytest.skip(f"{_named(recipe)} has no records of runs")
    made = recipe_markdown(Path("recipes") / recipe.name)
    assert (recipe / "RESULTS.md").read_text(encoding="utf-8") == made, "run stage 8 with report.publish = true"


@pytest.mark.parametrize("recipe", RECIPES, ids=_named)
def test_the_command_of_a_record_is_one_for_every_machine(recipe):
    for path in (recipe / "results").rglob("*.json"):
        words = shlex.split(json.loads(path.read_text(encoding="utf-8"))["command"])
        assert words[0] == "./run.sh", path
        assert not [word for word in words if re.search(r"(^|=)([/~]|\.\./)", word)], path

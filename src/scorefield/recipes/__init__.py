"""Recipes: the catalog of names, the configuration they travel as, and the presets."""

from scorefield.recipes.budget import Budget
from scorefield.recipes.catalog import CATALOG
from scorefield.recipes.config import from_dict, override, to_dict
from scorefield.recipes.describe import Description, describe
from scorefield.recipes.files import ENDINGS, read_sampling, write_sampling
from scorefield.recipes.presets import RECIPES, find_recipe, overridden
from scorefield.recipes.recipe import Recipe, Sampling
from scorefield.recipes.sources import data_source
from scorefield.recipes.training import Training

__all__ = [
    "CATALOG",
    "ENDINGS",
    "RECIPES",
    "Budget",
    "Description",
    "Recipe",
    "Sampling",
    "Training",
    "data_source",
    "describe",
    "find_recipe",
    "from_dict",
    "overridden",
    "override",
    "read_sampling",
    "to_dict",
    "write_sampling",
]

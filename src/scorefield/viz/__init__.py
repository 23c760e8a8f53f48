"""Pictures: grids of samples, animations, sample paths, schedules, losses."""

from scorefield.viz.animation import save_animation
from scorefield.viz.curves import plot_loss, plot_paths, plot_schedules
from scorefield.viz.figures import check_plots
from scorefield.viz.images import image_grid, save_image, save_images
from scorefield.viz.samples import frames, picture
from scorefield.viz.spread import plot_spread

__all__ = [
    "check_plots",
    "frames",
    "image_grid",
    "picture",
    "plot_loss",
    "plot_paths",
    "plot_schedules",
    "plot_spread",
    "save_animation",
    "save_image",
    "save_images",
]
